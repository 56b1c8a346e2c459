"""A company's proxy that opens TLS: whatever host a client asks for, a server of ours answers."""

from __future__ import annotations

import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OpeningProxy:
    """Answers ``CONNECT`` and hands the tunnel on to one server.

    Args:
        target: port on 127.0.0.1 of a server that speaks TLS, with certificates for the hosts.

    Attributes:
        asked: the hosts that were asked for, ``host:port``.
    """

    def __init__(self, target: int) -> None:
        self.asked: list[str] = []
        self._target = target
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> OpeningProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                with socket.create_connection(("127.0.0.1", proxy._target), 5) as server:
                    self.send_response(200)
                    self.end_headers()
                    _pump(self.connection, server)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output quiet."""

        return Handler


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Hand bytes on in both directions until either side is done."""
    while True:
        ready, _, _ = select.select([one, other], [], [], 10)
        if not ready:
            return
        for source in ready:
            data = source.recv(65_536)
            if not data:
                return
            (other if source is one else one).sendall(data)
