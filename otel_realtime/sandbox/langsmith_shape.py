"""Builds responses in the shape that LangSmith's clients expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_realtime.sandbox.media import is_recording
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.times import iso_time

#: ``GET /info``. The client uploads by multipart only if this enables it, and compresses with zstd if
#: the flag is true; the sandbox decodes only gzip. The size limits are the client's defaults.
INFO: Final[Mapping[str, object]] = {
    "version": "otel-realtime-sandbox",
    "instance_flags": {"zstd_compression_enabled": False},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}


def run_as_langsmith(run: Mapping[str, Any], project_id: str, tenant_id: str) -> JsonObject:
    """Return a stored run in the shape of LangSmith's ``GET /runs/{id}``.

    Fields: https://docs.langchain.com/langsmith/run-data-format
    """
    usage = run["usage"] if isinstance(run["usage"], Mapping) else {}
    return {
        "id": run["id"],
        "name": run["name"],
        "run_type": run["run_type"],
        "trace_id": run["trace_id"],
        "parent_run_id": run["parent_id"],
        "dotted_order": run["dotted_order"],
        "session_id": project_id,
        "start_time": iso_time(run["start_ns"]),
        "end_time": iso_time(run["end_ns"]),
        "status": run["status"],
        "error": run["error"],
        "inputs": run["inputs"] or {},
        "outputs": run["outputs"],
        "extra": {**run["extra"], "metadata": run["metadata"]},
        "tags": run["tags"],
        "events": run["events"],
        "prompt_tokens": usage.get("input_tokens", 0),
        "completion_tokens": usage.get("output_tokens", 0),
        "total_tokens": usage.get("total_tokens", 0),
        "app_path": f"/o/{tenant_id}/projects/p/{project_id}/r/{run['id']}",
    }


def recording_as_langsmith(run: Mapping[str, Any], url: str) -> JsonObject:
    """Return a run's recording in the shape of ``s3_urls``, which LangSmith's client reads.

    Args:
        run: a stored run.
        url: URL of the recording.
    """
    return {
        f"attachment.{one['name']}": {"presigned_url": url, "mime_type": one["mime"]}
        for one in run["attachments"]
        if is_recording(one["name"], one["mime"])
    }
