"""Stands where LangSmith is and counts spans by their ids, cheaply enough for hundreds of thousands."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.call_load import span_ids


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A Collector that is killed leaves its connection in mid-request."""


class CountingBackend:
    """Takes OTLP/HTTP by ``/otel/v1/traces``.

    Attributes:
        status: what requests are answered; only with 200 their spans count.
        seen: how often each (trace id, span id) came.
        refused: requests that were answered another status.
    """

    def __init__(self) -> None:
        self.status = 200
        self.seen: Counter[tuple[bytes, bytes]] = Counter()
        self.refused = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))

    def __enter__(self) -> CountingBackend:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The base URL an OTLP exporter appends ``/v1/traces`` to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/otel"

    @property
    def duplicates(self) -> int:
        """How many spans came once more than they had to."""
        return self.seen.total() - len(self.seen)

    def take(self, body: bytes, compressed: bool) -> int:
        """Count a request's spans; the status it is answered with."""
        status = self.status
        if status != 200:
            self.refused += 1
            return status
        ids = span_ids(gzip.decompress(body) if compressed else body)
        with self._lock:
            self.seen.update(ids)
        return 200


def _handler(backend: CountingBackend) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = backend.take(body, self.headers.get("content-encoding") == "gzip")
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output quiet."""

    return Handler
