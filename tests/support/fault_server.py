"""A Realtime server that misbehaves: a raw socket on loopback that does exactly what a test says.

It speaks the websocket protocol by hand, so it can also do what no library would: stall in the
handshake, reset the connection, end in the middle of a frame.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.support.waiting import wait_for

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 1, 2, 8
Event = Mapping[str, Any]

HELLO: Event = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
#: A turn that is in the middle of its answer: what came before has been used and counted.
HALF_A_TURN: tuple[Event, ...] = (
    HELLO,
    {"type": "response.created", "response": {"id": "resp_1", "conversation_id": "conv_1"}},
    {
        "type": "response.done",
        "response": {
            "id": "resp_1",
            "conversation_id": "conv_1",
            "status": "completed",
            "output": [],
            "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12},
        },
    },
    {"type": "response.created", "response": {"id": "resp_2", "conversation_id": "conv_1"}},
    {
        "type": "response.output_item.added",
        "response_id": "resp_2",
        "item": {"id": "item_1", "type": "message", "role": "assistant", "content": []},
    },
)


class Peer:
    """The server's end of one connection."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self.request = b""

    def read_request(self) -> str:
        """Read the client's request; returns the path with its query."""
        while b"\r\n\r\n" not in self.request:
            block = self._raw.recv(65_536)
            if not block:
                break
            self.request += block
        return self.request.split(b" ", 2)[1].decode()

    def refuse(self, status: int, body: str = "no", **headers: str) -> None:
        """Answer the handshake with an HTTP status."""
        lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._raw.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def accept(self) -> None:
        """Answer the handshake with a websocket."""
        key = next(
            line.split(b":", 1)[1].strip()
            for line in self.request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        digest = base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode()
        self._raw.sendall(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Accept: {digest}\r\n\r\n"
            ).encode()
        )

    def send(self, *messages: Event | str | bytes) -> None:
        """Send whole messages; a mapping goes as JSON."""
        for message in messages:
            if isinstance(message, bytes):
                self.frame(BINARY, message)
            else:
                text = message if isinstance(message, str) else json.dumps(message)
                self.frame(TEXT, text.encode())

    def frame(self, opcode: int, payload: bytes, *, cut: int | None = None) -> None:
        """Send one frame, or only its first ``cut`` bytes."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 65_536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        self._raw.sendall((head + payload)[:cut])

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, take the client's answer, end."""
        self.frame(CLOSE, struct.pack("!H", code) + reason.encode())
        self._raw.settimeout(1)
        self._raw.recv(65_536)

    def until(self, word: bytes) -> None:
        """Listen until the client has sent this word; its frames are masked."""
        heard = b""
        while word not in heard:
            heard += self._message()

    def _message(self) -> bytes:
        """Read one frame of the client's."""
        head = self._exactly(2)
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        mask, data = self._exactly(4), self._exactly(size)
        return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            block = self._raw.recv(size - len(found))
            if not block:
                raise ConnectionError("the client went away")
            found += block
        return found

    def half_close(self) -> None:
        """Send no more, but go on listening."""
        self._raw.shutdown(socket.SHUT_WR)
        self.silent()

    def reset(self) -> None:
        """Vanish: TCP's reset, no close frame."""
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.close()

    def silent(self) -> None:
        """Say nothing until the client is gone, or for half a minute."""
        self._raw.settimeout(30)
        try:
            while self._raw.recv(65_536):
                pass
        except OSError:
            pass

    def end(self) -> None:
        """Close the socket."""
        try:
            self._raw.close()
        except OSError:
            pass


Script = Callable[[Peer], None]


class FaultServer:
    """Runs a script for each connection: ``with FaultServer(script) as server: server.url``.

    Attributes:
        url: what ``websocket_base_url`` of the SDK takes.
        open: connections that have not ended.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/v1"
        self.open = 0
        self.seen = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        try:  # wakes accept(), which a close alone does not
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            pass

    def wait_until_quiet(self) -> None:
        """Wait until every connection has ended."""
        wait_for(lambda: self.open == 0, "end of the connections", every_s=0.005)

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.open += 1
                self.seen += 1
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(raw)
        try:
            peer.read_request()
            self._script(peer)
        except (OSError, IndexError):
            pass  # the client went away in the middle of the script
        finally:
            peer.end()
            with self._lock:
                self.open -= 1


def refusing(status: int) -> Script:
    """Refuse every handshake."""
    return lambda peer: peer.refuse(status)


def closing(code: int, reason: str, events: Iterable[Event] = ()) -> Script:
    """Accept, send some events, close with a code."""

    def script(peer: Peer) -> None:
        peer.accept()
        peer.send(*events)
        peer.close(code, reason)

    return script


def vanishing(how: Callable[[Peer], None], events: Iterable[Event] = HALF_A_TURN) -> Script:
    """Accept, send some events, vanish."""

    def script(peer: Peer) -> None:
        peer.accept()
        peer.send(*events)
        how(peer)

    return script


def mid_frame(peer: Peer) -> None:
    """End in the middle of a frame."""
    peer.frame(TEXT, b"x" * 1000, cut=300)


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
