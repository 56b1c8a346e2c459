"""The root run by LangSmith's runs API: posted when a conversation opens, patched once at its end.

A run that has outputs cannot be updated again, so there is no update in between; and the patch
must repeat id, trace id and dotted order exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from otel_realtime.attributes import ATTACHMENT_NAME
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.ids import iso_time
from otel_realtime.langsmith.multipart import FilePart, MultipartBody, Part
from otel_realtime.langsmith.payload import encode_json

WAV: Final = "audio/wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOpening:
    """A root run when its conversation opens.

    Attributes:
        run_id: UUID text; also the trace id.
        dotted_order: the run's place, repeated by the patch.
        name: the run's name.
        start_ns: epoch nanoseconds.
        project: LangSmith's project name.
        metadata: what is known at the start.
        tags: what is known at the start.
    """

    run_id: str
    dotted_order: str
    name: str
    start_ns: int
    project: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClosing:
    """A root run when its conversation has ended.

    Attributes:
        end_ns: the true end, epoch nanoseconds.
        inputs: the run's inputs, None to leave the empty ones of the start.
        outputs: the run's outputs.
        metadata: what came to be known; merged over the opening's.
        tags: all of them, None to leave those of the start.
        error: what went wrong, None when nothing did.
    """

    end_ns: int
    inputs: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A rendered recording, or why there is none.

    Attributes:
        path: the finished file, None when there is nothing to attach.
        mime: exactly ``audio/wav`` for a WAV: LangSmith plays by it.
        status: ``ls_audio_attach_status`` without an attachment (``none``, ``disabled``, ...);
            with one it is replaced by what became of it.
        smaller: makes a smaller file of the same recording when this one is too large.
        metadata: what only rendering told, merged over the run's.
    """

    path: Path | None = None
    mime: str = WAV
    status: str = "none"
    smaller: Callable[[], Recording | None] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class RunsClient:
    """Requests to the runs API; safe from any thread."""

    def __init__(self, config: LangSmithConfig, http: Http | None = None) -> None:
        self._config = config
        self._http = http or Http()

    def post(self, opening: RunOpening) -> Answer:
        """Create the root run; it has no end, so it shows as pending during the call."""
        run: dict[str, Any] = {
            "id": opening.run_id,
            "trace_id": opening.run_id,
            "dotted_order": opening.dotted_order,
            "name": opening.name,
            "run_type": "chain",
            "start_time": iso_time(opening.start_ns),
            "session_name": opening.project,
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
        opening: RunOpening,
        closing: RunClosing,
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
            "id": opening.run_id,
            "trace_id": opening.run_id,
            "dotted_order": opening.dotted_order,
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


def _part(event: str, opening: RunOpening, value: Any, field_name: str | None = None) -> Part:
    name = f"{event}.{opening.run_id}"
    return Part(f"{name}.{field_name}" if field_name else name, encode_json(value))


def _attachment(opening: RunOpening, recording: Recording | None) -> FilePart | None:
    if recording is None or recording.path is None:
        return None
    name = f"attachment.{opening.run_id}.{ATTACHMENT_NAME}"
    return FilePart(name, recording.path, recording.mime)
