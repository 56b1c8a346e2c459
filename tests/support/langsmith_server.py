"""A loopback HTTP server in LangSmith's place: records raw requests, answers what it is told."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TENANT = "11111111-1111-4111-8111-111111111111"
PROJECT = "22222222-2222-4222-8222-222222222222"


@dataclass(frozen=True)
class Reply:
    """One scripted answer.

    Attributes:
        cut_after: close the connection without an answer after this many bytes of the body.
        hold: wait for this event before answering.
        discard: read the body block by block and keep none of it.
    """

    status: int = 202
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    hold: threading.Event | None = None
    discard: bool = False


@dataclass(frozen=True)
class Part:
    name: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_traces(self) -> bool:
        return self.path.endswith("/otel/v1/traces")

    def parts(self) -> list[Part]:
        """Return the parts of a multipart body, checking every byte between them."""
        boundary = self.headers["content-type"].split("boundary=")[1].encode()
        rest, parts = self.body, []
        while rest != b"--" + boundary + b"--\r\n":
            opening = b"--" + boundary + b"\r\n"
            assert rest.startswith(opening), rest[:200]
            head, rest = rest[len(opening) :].split(b"\r\n\r\n", 1)
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            size = int(headers["Content-Length"])
            body, rest = rest[:size], rest[size:]
            assert rest[:2] == b"\r\n"
            rest = rest[2:]
            name = headers["Content-Disposition"].removeprefix('form-data; name="')
            parts.append(Part(name.removesuffix('"'), headers, body))
        return parts

    def spans(self) -> list[Any]:
        """Return the protobuf spans of an OTLP request."""
        message = ExportTraceServiceRequest.FromString(gzip.decompress(self.body))
        return [
            span
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def attributes(span: Any) -> dict[str, Any]:
    """Return a protobuf span's attributes as Python values."""
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


class LangSmithServer:
    """Answers 202 to runs, 200 to spans and one project, unless ``script`` says otherwise."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.judge: Callable[[Request], Reply | None] = lambda _: None
        self._script: list[Reply] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server._serve(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that goes away is part of the tests

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, *replies: Reply | int) -> None:
        """Answer the next POSTs like this."""
        with self._lock:
            self._script += [r if isinstance(r, Reply) else Reply(r) for r in replies]

    def posts(self) -> list[Request]:
        """Return what arrived whole at the runs API."""
        return [r for r in list(self.requests) if r.path.endswith("/runs/multipart")]

    def traces(self) -> list[Request]:
        """Return what arrived whole at the OTLP endpoint."""
        return [r for r in list(self.requests) if r.is_traces]

    def spans(self) -> list[Any]:
        """Return all spans that arrived, in order."""
        return [span for request in self.traces() for span in request.spans()]

    def wait(self, check: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until something holds, failing after a while."""
        deadline = time.monotonic() + timeout_s
        while not check():
            assert time.monotonic() < deadline, [(r.method, r.path) for r in self.requests]
            time.sleep(0.005)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LangSmithServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length", 0))
        reply = self._next() if handler.command == "POST" else None
        if reply is not None and reply.cut_after is not None:
            handler.rfile.read(min(size, reply.cut_after))
            handler.close_connection = True
            return
        if reply is not None and reply.discard:
            while size:
                size -= len(handler.rfile.read(min(size, 65_536)))
        headers = {key.lower(): value for key, value in handler.headers.items()}
        request = Request(handler.command, handler.path, headers, handler.rfile.read(size))
        self.requests.append(request)
        reply = reply or self.judge(request) or _default(request)
        if reply.hold is not None:
            reply.hold.wait(10)
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body.encode())

    def _next(self) -> Reply | None:
        with self._lock:
            return self._script.pop(0) if self._script else None


def _default(request: Request) -> Reply:
    if urlsplit(request.path).path == "/sessions":
        name = urlsplit(request.path).query.split("name=")[1].split("&")[0]
        found = [{"id": PROJECT, "tenant_id": TENANT, "name": name}]
        return Reply(200, json.dumps(found))
    return Reply(200 if request.is_traces else 202)


def serving() -> Iterator[LangSmithServer]:
    """Body of a fixture."""
    with LangSmithServer() as server:
        yield server
