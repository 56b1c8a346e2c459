"""What the doctor is shown: an environment, and servers that behave in each possible way."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from otel_realtime.doctor.command import surroundings
from otel_realtime.doctor.model import Result, Surroundings

SECRET_KEY = "planted-in-the-environment-7f3a"


def here(timeout_s: float = 5.0) -> Surroundings:
    """What the checks look at in the environment of the test."""
    return surroundings(timeout_s)


def by_id(results: Iterable[Result]) -> dict[str, Result]:
    """Results by their id."""
    return {result.id: result for result in results}


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What it is answered with.

    Attributes:
        wait_s: time before the answer, in seconds.
        reset: no answer, but TCP's reset.
    """

    status: int = 200
    body: bytes | str = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    reset: bool = False


def page(status: int = 200) -> Reply:
    """A web page."""
    return Reply(status, "<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"})


class Web:
    """A server that answers each request as ``answer`` says; with ``tls`` it speaks that."""

    def __init__(
        self, answer: Callable[[Asked], Reply], tls: tuple[Path, Path] | None = None
    ) -> None:
        self.asked: list[Asked] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(size))
                web.asked.append(asked)
                _send(self, answer(asked))

            do_POST = do_PATCH = do_CONNECT = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Web:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    time.sleep(reply.wait_s)
    if reply.reset:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True
        handler.connection.close()
        return
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    if "Date" in reply.headers:
        handler.send_response_only(reply.status)
    else:
        handler.send_response(reply.status)
    for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
