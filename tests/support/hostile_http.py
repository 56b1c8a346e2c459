"""A loopback HTTP server that is slow, silent or rude on purpose: a raw socket, no library between.

It counts what it is sent, byte by byte, so that a test can say what an outage costs the network.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Answers of a server that is well.
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


class Gone(Exception):
    """The client closed its connection."""


@dataclass
class Exchange:
    """One request on its connection.

    Attributes:
        head: request line and headers.
        body: start of the body, as far as it has arrived.
        at: ``monotonic`` when its head had arrived.
    """

    connection: socket.socket
    ended: threading.Event
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    at: float = 0.0
    received: int = 0

    @property
    def path(self) -> str:
        """Path of the request."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def length(self) -> int:
        """``Content-Length``; 0 without one."""
        for line in self.head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return int(line.split(b":")[1])
        return 0

    @property
    def is_spans(self) -> bool:
        """An OTLP request."""
        return self.path.endswith("/traces")

    @property
    def has_recording(self) -> bool:
        """The end of a root run with its attachment."""
        return b'name="attachment.' in self.body

    @property
    def is_patch(self) -> bool:
        """The end of a root run."""
        return b'name="patch.' in self.body

    def read(self, size: int = 1 << 16) -> bytes:
        """Read what has come; raises ``Gone`` at the end."""
        try:
            block = self.connection.recv(size)
        except OSError as error:
            raise Gone from error
        if not block:
            raise Gone
        self.received += len(block)
        if len(self.body) < 1 << 20:
            self.body += block
        return block

    def read_all(self) -> None:
        """Read the whole body."""
        while self.received < self.length:
            self.read(min(1 << 16, self.length - self.received))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Gone from error

    def drip(self, data: bytes, every_s: float) -> None:
        """Send byte by byte."""
        for byte in data:
            self.send(bytes([byte]))
            self.pause(every_s)

    def pause(self, seconds: float) -> None:
        """Do nothing; raises ``Gone`` when the server is closed."""
        if self.ended.wait(seconds):
            raise Gone


Behaviour = Callable[[Exchange], None]


def accept(exchange: Exchange) -> None:
    """Behave."""
    exchange.read_all()
    exchange.send(ACCEPTED)


def refuse(status: int, **headers: str) -> Behaviour:
    """Read everything, and answer with a status and headers."""
    lines = [f"HTTP/1.1 {status} No", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    answer = ("\r\n".join(lines) + "\r\n\r\n").encode()

    def behave(exchange: Exchange) -> None:
        exchange.read_all()
        exchange.send(answer)

    return behave


def silent(exchange: Exchange) -> None:
    """Read everything and never answer."""
    exchange.read_all()
    while True:
        exchange.pause(60)


def drip_head(exchange: Exchange) -> None:
    """Answer byte by byte, from the first one on."""
    exchange.read_all()
    exchange.drip(ACCEPTED[:-2], 0.05)
    exchange.drip(b"x" * 10_000, 0.05)


def drip_headers_forever(exchange: Exchange) -> None:
    """Headers that do not end."""
    exchange.read_all()
    exchange.send(b"HTTP/1.1 202 Accepted\r\n")
    while True:
        exchange.drip(b"X-Wait: a little\r\n", 0.05)


def drip_body(exchange: Exchange) -> None:
    """A body that does not end, byte by byte."""
    exchange.read_all()
    exchange.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        exchange.drip(b" ", 0.05)


def drip_chunks(exchange: Exchange) -> None:
    """Chunks that do not end."""
    exchange.read_all()
    exchange.send(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        exchange.send(b"1\r\n \r\n")
        exchange.pause(0.05)


def continue_forever(exchange: Exchange) -> None:
    """Interim answers that do not end: https://www.rfc-editor.org/rfc/rfc9110#section-15.2"""
    exchange.read_all()
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.pause(0.05)


def sip(exchange: Exchange) -> None:
    """Read the body a byte at a time."""
    while exchange.received < exchange.length:
        exchange.read(1)
        exchange.pause(0.05)
    exchange.send(ACCEPTED)


class HostileServer:
    """Behaves as ``choose`` says for each request.

    Attributes:
        choose: returns how to behave, once the head and the start of the body are there.
        exchanges: requests in the order they came.
    """

    def __init__(self, choose: Callable[[Exchange], Behaviour]) -> None:
        self.choose = choose
        self.exchanges: list[Exchange] = []
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End every connection."""
        self._ended.set()
        self._listener.close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def received(self) -> int:
        """Bytes of all bodies so far."""
        return sum(exchange.received for exchange in list(self.exchanges))

    def count(self, which: Callable[[Exchange], bool]) -> int:
        """Count the requests of a kind."""
        return sum(which(exchange) for exchange in list(self.exchanges))

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        try:
            while True:
                exchange = Exchange(connection, self._ended)
                while b"\r\n\r\n" not in rest:
                    block = connection.recv(1 << 12)
                    if not block:
                        return
                    rest += block
                exchange.head, _, body = rest.partition(b"\r\n\r\n")
                rest = b""
                exchange.body += body
                exchange.received = len(body)
                exchange.at = time.monotonic()
                while exchange.received < min(exchange.length, 600):  # names of the first parts
                    exchange.read(256)
                self.exchanges.append(exchange)
                self.choose(exchange)(exchange)
        except (Gone, OSError):
            pass
        finally:
            self._connections.discard(connection)
            connection.close()


@contextmanager
def hostile(choose: Callable[[Exchange], Behaviour]) -> Iterator[HostileServer]:
    """Run a server within a block."""
    server = HostileServer(choose)
    try:
        yield server
    finally:
        server.close()
