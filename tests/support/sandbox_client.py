"""Requests to the sandbox, built by hand so that each rule can be broken on purpose."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

START_NS = 1_795_000_000_123_456_000
SECOND = 10**9
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"x-api-key": "sandbox", "Langsmith-Project": "calls"}


def run_id(span_id: int) -> str:
    """The run id of an OTLP span."""
    return str(UUID(int=span_id))


def dotted(*steps: tuple[int, str]) -> str:
    """A dotted order of (start in ns, run id) steps."""
    return ".".join(
        datetime.fromtimestamp(ns // SECOND, tz=timezone.utc).strftime("%Y%m%dT%H%M%S")
        + f"{ns % SECOND // 1000:06d}Z{identity}"
        for ns, identity in steps
    )


def any_value(value: Any) -> AnyValue:
    """An OTLP value; None is a value without content."""
    if value is None:
        return AnyValue()
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    return AnyValue(string_value=value)


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


@dataclass
class S:
    """A span that keeps every rule unless told otherwise: offsets in ns from START_NS."""

    span_id: int = 1
    parent: int = 0
    name: str = "session.created"
    start: int = 0
    end: int = SECOND
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()
    error: bool = False
    scope: str = ""

    def message(self) -> SpanMessage:
        attributes = {"langsmith.metadata.thread_id": "t-1", **self.attributes}
        message = SpanMessage(
            name=self.name,
            trace_id=bytes.fromhex(TRACE_ID),
            span_id=self.span_id.to_bytes(8, "big"),
            parent_span_id=self.parent.to_bytes(8, "big") if self.parent else b"",
            start_time_unix_nano=START_NS + self.start,
            end_time_unix_nano=START_NS + self.end,
            attributes=pairs(attributes),
            events=[
                SpanMessage.Event(
                    name=name, time_unix_nano=START_NS + at, attributes=pairs(attributes)
                )
                for name, at, attributes in self.events
            ],
        )
        if self.error:
            message.status.code = Status.STATUS_CODE_ERROR
        return message


def trace_request(*spans: S) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for s in spans:
        made = resource.scope_spans.add()
        made.scope.name = s.scope
        made.spans.append(s.message())
    return request.SerializeToString()


def export(url: str, *spans: S, headers: Mapping[str, str] = HEADERS) -> requests.Response:
    """Send spans as OTLP protobuf."""
    return requests.post(
        f"{url}/otel/v1/traces",
        data=trace_request(*spans),
        headers={**headers, "Content-Type": "application/x-protobuf"},
        timeout=10,
    )


def iso(offset: int) -> str:
    ns = START_NS + offset
    moment = datetime.fromtimestamp(ns // SECOND, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % SECOND // 1000:06d}+00:00"


def post_body(identity: str, **changes: Any) -> dict[str, Any]:
    """A root's post as the contract wants it."""
    return {
        "id": identity,
        "trace_id": identity,
        "dotted_order": dotted((START_NS, identity)),
        "name": "realtime_session",
        "run_type": "chain",
        "start_time": iso(0),
        "session_name": "calls",
        "inputs": {},
        "extra": {"metadata": {"thread_id": "t-1"}},
        **changes,
    }


def patch_body(identity: str, **changes: Any) -> dict[str, Any]:
    """A root's patch as the contract wants it."""
    return {
        "id": identity,
        "trace_id": identity,
        "dotted_order": dotted((START_NS, identity)),
        "end_time": iso(SECOND),
        "outputs": {"messages": []},
        **changes,
    }


Part = tuple[str, bytes, Mapping[str, str]]


def json_part(name: str, data: bytes, **headers: str) -> Part:
    return (
        name,
        data,
        {"Content-Type": "application/json", "Content-Length": str(len(data))} | headers,
    )


def attachment_part(
    identity: str, data: bytes, name: str = "conversation", mime: str = "audio/wav"
) -> Part:
    headers = {"Content-Type": mime, "Content-Length": str(len(data))}
    return f"attachment.{identity}.{name}", data, headers


def send_parts(url: str, *parts: Part, cut: int | None = None) -> requests.Response:
    """Send a multipart request; ``cut`` bytes of its end are left out."""
    pieces = []
    for name, data, headers in parts:
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        disposition = f'Content-Disposition: form-data; name="{name}"'
        pieces.append(f"--edge\r\n{disposition}\r\n{lines}\r\n".encode() + data + b"\r\n")
    body = b"".join(pieces) + b"--edge--\r\n"
    return requests.post(
        f"{url}/runs/multipart",
        data=body[: len(body) - cut] if cut else body,
        headers={**HEADERS, "Content-Type": "multipart/form-data; boundary=edge"},
        timeout=10,
    )


def send_json(url: str, verb: str, body: Any) -> requests.Response:
    """Send one run as JSON: POST for ``post``, PATCH for ``patch``."""
    method, path = ("POST", "/runs") if verb == "post" else ("PATCH", f"/runs/{body['id']}")
    return requests.request(method, url + path, json=body, headers=HEADERS, timeout=10)


def wav(data: bytes = bytes(96), *, size_error: int = 0, channels: int = 2) -> bytes:
    """A stereo PCM16 WAV at 24 kHz; ``size_error`` is added to the size in its header."""
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, 24000, 24000 * 2 * channels, 2 * channels, 16
    )
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body) + size_error) + body
