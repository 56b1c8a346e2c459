"""The root run by LangSmith's runs API: posted when a conversation opens, patched once at its end.

A run that has outputs cannot be updated again, so there is no update in between; and the patch
must repeat id, trace id and dotted order exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_realtime.attributes import ATTACHMENT_NAME
from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.ids import dotted_order, iso_time, run_id
from otel_realtime.langsmith.multipart import FilePart, MultipartBody, Part
from otel_realtime.langsmith.payload import encode_json


class RunsClient:
    """Requests to the runs API; safe from any thread."""

    def __init__(self, config: LangSmithConfig, http: Http | None = None) -> None:
        self._config = config
        self._http = http or Http()

    def post(self, opening: Opening) -> Answer:
        """Create the root run; it has no end, so it shows as pending during the call."""
        run: dict[str, Any] = {
            **_place(opening),
            "name": opening.name,
            "run_type": "chain",
            "start_time": iso_time(opening.start_ns),
            "session_name": self._config.project,
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
        metadata: Mapping[str, Any],
        recording: Recording | None = None,
    ) -> Answer:
        """End the root run, with the recording as its attachment.

        Args:
            opening: as it was posted.
            closing: what the end is.
            metadata: all of the run's metadata; the part replaces what was posted.
            recording: a recording with a path, None to attach nothing.

        Raises:
            RecordingError: the recording cannot be read.
        """
        run: dict[str, Any] = {
            **_place(opening),
            "end_time": iso_time(closing.end_ns),
        }
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
        """Return (tenant id, project id) of a project, None when they cannot be had now."""
        url = self._config.api_url + "/sessions"
        params = {"name": name, "limit": "1"}
        found = self._http.get_json(url, self._config.headers(), params)
        for project in found if isinstance(found, list) else ():
            if isinstance(project, dict) and project.get("name", name) == name:
                tenant, own = project.get("tenant_id"), project.get("id")
                if tenant and own:
                    return str(tenant), str(own)
        return None

    def _send(self, body: MultipartBody) -> Answer:
        url = self._config.api_url + "/runs/multipart"
        headers = {
            **self._config.headers(),
            "Accept": "application/json",
            "Content-Type": body.content_type,
        }
        return self._http.post(url, headers, body.open)


def _place(opening: Opening) -> dict[str, str]:
    """The run's ids and dotted order; the patch must repeat them exactly."""
    own = run_id(opening.span_id)
    return {"id": own, "trace_id": own, "dotted_order": dotted_order(opening.start_ns, own)}


def _part(event: str, opening: Opening, value: Any, field_name: str | None = None) -> Part:
    name = f"{event}.{run_id(opening.span_id)}"
    return Part(f"{name}.{field_name}" if field_name else name, encode_json(value))


def _attachment(opening: Opening, recording: Recording | None) -> FilePart | None:
    if recording is None or recording.path is None:
        return None
    name = f"attachment.{run_id(opening.span_id)}.{ATTACHMENT_NAME}"
    return FilePart(name, recording.path, recording.mime)
