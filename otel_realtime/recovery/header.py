"""A journal's first record, read back: who the conversation was and where it was meant to go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_realtime.core.payload import ContentPolicy
from otel_realtime.errors import RecordingError
from otel_realtime.tracing.describe import Provider
from otel_realtime.tracing.root import Identity


@dataclass(slots=True, kw_only=True)
class Header:
    """What the dead process knew of its conversation; see ``tracing.chronicle.header``.

    Attributes:
        trace_id: OTel trace id.
        root_span_id: OTel span id of the root.
        start_ns: the root's start; moved by a ``start`` note.
        ambient: the root is a child of the caller's span.
        by_runs_api: the root run is delivered by the runs API.
        records: sound was wanted.
        recorded: sound was kept, and had somewhere to go.
        name: file name of a kept recording, without extension.
    """

    trace_id: int
    root_span_id: int
    run_id: str
    dotted_order: str
    start_ns: int
    who: Identity
    ambient: bool
    leg: str
    by_runs_api: bool
    project: str
    api_url: str
    policy: ContentPolicy
    records: bool
    recorded: bool
    name: str
    recordings_dir: str | None
    audio_format: str
    max_attachment_mb: float | None
    payload_limit: int
    skip_events: tuple[str, ...]
    resource: dict[str, Any]

    @classmethod
    def read(cls, source: Mapping[str, Any]) -> Header:
        """Read the header of a journal.

        Raises:
            RecordingError: something is missing, or is not what it should be.
        """
        try:
            return _read(source)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"the journal's header cannot be used: {error!r}") from error


def _read(source: Mapping[str, Any]) -> Header:
    name, host, port = source["provider"]
    parent_trace_id, parent_span_id = source["parent"]
    limit = source["max_attachment_mb"]
    return Header(
        trace_id=int(source["trace_id"], 16),
        root_span_id=int(source["root_span_id"], 16),
        run_id=str(source["root_run_id"]),
        dotted_order=str(source["dotted_order"]),
        start_ns=int(source["start_ns"]),
        who=Identity(
            thread_id=str(source["thread_id"]),
            given_thread_id=bool(source["given_thread_id"]),
            provider=Provider(name, host, port),
            call_id=source["call_id"],
            model=source["model"],
            metadata=dict(source["metadata"]),
            tags=[str(tag) for tag in source["tags"]],
            parent_trace_id=parent_trace_id,
            parent_span_id=parent_span_id,
        ),
        ambient=bool(source["ambient"]),
        leg=str(source["leg"]),
        by_runs_api=bool(source["by_runs_api"]),
        project=str(source["project"]),
        api_url=str(source["api_url"]),
        policy=read_policy(source["policy"]),
        records=bool(source["records"]),
        recorded=bool(source["recorded"]),
        name=str(source["name"]),
        recordings_dir=source["recordings_dir"],
        audio_format=str(source["audio_format"]),
        max_attachment_mb=None if limit is None else float(limit),
        payload_limit=int(source["payload_limit"]),
        skip_events=tuple(source["skip_events"]),
        resource=dict(source["resource"]),
    )


def read_policy(source: Mapping[str, Any]) -> ContentPolicy:
    """What of the content may be stored, as a note says it."""
    return ContentPolicy(
        inputs=bool(source["inputs"]), outputs=bool(source["outputs"]), audio=bool(source["audio"])
    )
