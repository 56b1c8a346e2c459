"""Requests of the runs API: a root run is posted when its conversation opens, and patched at its end.

Both use ``POST /runs/multipart``:
https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart

There is no update in between, because LangSmith refuses or ignores a second update of a run that
has outputs. The patch repeats id, trace id and dotted order exactly as they were posted.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_realtime.attributes import ATTACHMENT_NAME
from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.ids import dotted_order, iso_time, run_id
from otel_realtime.langsmith.multipart import FilePart, MultipartBody, Part
from otel_realtime.langsmith.payload import encode_json


class RunsClient:
    """Sends requests to the runs API; thread-safe.

    Args:
        config: address and credentials.
        http: HTTP client.
    """

    def __init__(self, config: LangSmithConfig, http: Http | None = None) -> None:
        self._config = config
        self._http = http or Http()

    def post(self, opening: Opening) -> Answer:
        """Create the root run. Without an end LangSmith shows it as pending during the call."""
        run: dict[str, object] = {
            **_run_ids(opening),
            "name": opening.name,
            "run_type": "chain",
            "start_time": iso_time(opening.start_ns),
            **self._config.run_destination(),
        }
        if opening.tags:
            run["tags"] = list(opening.tags)
        parts = [
            _part("post", opening, run),
            _part("post", opening, {}, "inputs"),
            _part("post", opening, {"metadata": dict(opening.metadata)}, "extra"),
        ]
        return self._send(MultipartBody(parts))

    def patch(
        self,
        opening: Opening,
        closing: Closing,
        metadata: Mapping[str, object],
        recording: Recording | None = None,
    ) -> Answer:
        """End the root run, with the recording as attachment.

        Args:
            opening: the run as it was posted.
            closing: its end.
            metadata: all metadata of the run: this part replaces what was posted.
            recording: file to attach; ``None``: attach nothing.

        Raises:
            RecordingError: the recording cannot be read.
        """
        run: dict[str, object] = {
            **_run_ids(opening),
            "end_time": iso_time(closing.end_ns),
        }
        if closing.name is not None:
            run["name"] = closing.name
        if closing.tags is not None:
            run["tags"] = list(closing.tags)
        parts = [_part("patch", opening, run)]
        if closing.inputs is not None:
            parts.append(_part("patch", opening, closing.inputs, "inputs"))
        parts.append(_part("patch", opening, closing.outputs or {}, "outputs"))
        parts.append(_part("patch", opening, {"metadata": dict(metadata)}, "extra"))
        if closing.error is not None:
            parts.append(_part("patch", opening, closing.error, "error"))
        return self._send(MultipartBody(parts, _attachment(opening, recording)))

    def find_project(self, name: str) -> tuple[str, str] | None:
        """Return the tenant id and the id of a project; ``None`` if they are not available now."""
        url = self._config.api_url + "/sessions"
        params = {"name": name, "limit": "1"}
        answer = self._http.get_json(url, self._config.headers(), params)
        for project in answer if isinstance(answer, list) else ():
            if isinstance(project, dict) and project.get("name", name) == name:
                tenant_id, project_id = project.get("tenant_id"), project.get("id")
                if tenant_id and project_id:
                    return str(tenant_id), str(project_id)
        return None

    def _send(self, body: MultipartBody) -> Answer:
        url = self._config.api_url + "/runs/multipart"
        headers = {
            **self._config.headers(),
            "Accept": "application/json",
            "Content-Type": body.content_type,
        }
        return self._http.post(url, headers, body.open)


def _run_ids(opening: Opening) -> dict[str, str]:
    """Return the run's ids and dotted order; a root's id is also its trace id."""
    root_id = run_id(opening.span_id)
    dotted = dotted_order(opening.start_ns, root_id)
    return {"id": root_id, "trace_id": root_id, "dotted_order": dotted}


def _part(event: str, opening: Opening, value: object, field_name: str | None = None) -> Part:
    """Return a JSON part, named ``<event>.<run id>[.<field>]``."""
    name = f"{event}.{run_id(opening.span_id)}"
    return Part(f"{name}.{field_name}" if field_name else name, encode_json(value))


def _attachment(opening: Opening, recording: Recording | None) -> FilePart | None:
    if recording is None or recording.path is None:
        return None
    name = f"attachment.{run_id(opening.span_id)}.{ATTACHMENT_NAME}"
    return FilePart(name, recording.path, recording.mime)
