"""A small OTLP/HTTP server that stands where LangSmith is and writes down what reaches it."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.support.waiting import wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span as it arrived: ids in hex, attributes as Python values."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One accepted request: its headers (lower case), its size on the wire and its spans."""

    headers: Mapping[str, str]
    wire_bytes: int
    decoded_bytes: int
    spans: tuple[Span, ...]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


@dataclass
class OtlpRecorder:
    """Accepts ``POST /otel/v1/traces`` with an ``x-api-key``; can refuse, go away and come back.

    Attributes:
        base: the path before ``/v1/traces``.
        key: the header without which nothing is taken.
        status: what the next requests are answered; only 200 records their spans.
        requests: the accepted ones, in order of arrival.
        refused: how many requests were answered another status than 200.
        tls: certificates to serve HTTPS with; plain HTTP without.
    """

    base: str = "/otel"
    key: str = "x-api-key"
    status: int = 200
    requests: list[Request] = field(default_factory=list)
    refused: int = 0
    tls: ssl.SSLContext | None = None
    _server: _Server | None = None
    _port: int = 0

    def __enter__(self) -> OtlpRecorder:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def endpoint(self) -> str:
        """The base URL an OTLP exporter appends ``/v1/traces`` to."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._port}{self.base}"

    def up(self) -> None:
        """Listen; on the same port as before when it was down in between."""
        server = _Server(("127.0.0.1", self._port), _handler(self))
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        self._server, self._port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Stop listening: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def spans(self) -> list[Span]:
        """Every span that was accepted so far, one that came twice twice."""
        return [span for request in list(self.requests) for span in request.spans]

    def wait(self, count: int, *, timeout_s: float = 20) -> list[Span]:
        """Wait until at least ``count`` spans were accepted and return them all."""
        wait_for(lambda: len(self.spans()) >= count, f"{count} spans", timeout_s=timeout_s)
        return self.spans()

    def named(self, name: str) -> Span:
        """The one span of this name."""
        (span,) = (span for span in self.spans() if span.name == name)
        return span

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take one request and return the HTTP status it is answered with."""
        status = 404 if path != f"{self.base}/v1/traces" else self.status
        if status == 200 and not headers.get(self.key):
            status = 401
        if status != 200:
            self.refused += 1
            return status
        data = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.requests.append(
            Request(
                headers=headers,
                wire_bytes=len(body),
                decoded_bytes=len(data),
                spans=tuple(spans_of(ExportTraceServiceRequest.FromString(data))),
            )
        )
        return 200


def _handler(recorder: OtlpRecorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            status = recorder.answer(self.path, headers, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")  # so that going down is felt at once
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output quiet."""

    return Handler


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    """The spans of one request."""
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_attributes(span.attributes),
            resource=_attributes(group.resource.attributes),
            events=tuple(_attributes(event.attributes) for event in span.events),
            status=span.status.message,
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in list[KeyValue](pairs)}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)
