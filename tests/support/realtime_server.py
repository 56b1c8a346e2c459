"""A real websocket server on loopback that speaks whatever a test wants a Realtime server to say."""

from __future__ import annotations

import http
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

Frame = str | bytes
Handler = Callable[["Peer"], None]


class Peer:
    """The server's end of one connection.

    Attributes:
        path: Request path with its query.
        headers: Request headers.
        received: Every message that the client sent, in order.
    """

    def __init__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.connection = connection
        self.path: str = connection.request.path
        self.headers = connection.request.headers
        self.received: list[Frame] = []

    def send(self, *frames: Frame | Mapping[str, Any]) -> None:
        """Send messages; a mapping goes as JSON."""
        for frame in frames:
            self.connection.send(json.dumps(frame) if isinstance(frame, Mapping) else frame)

    def recv(self, timeout: float | None = 5.0) -> Frame:
        """Wait for the client's next message and record it."""
        frame = self.connection.recv(timeout)
        self.received.append(frame)
        return frame

    def listen(self) -> None:
        """Record messages until the connection is closed."""
        try:
            while True:
                self.recv(None)
        except ConnectionClosed:
            pass

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a code."""
        self.connection.close(code, reason)

    def drop(self) -> None:
        """Reset the TCP connection, with no close frame."""
        raw = self.connection.socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # shutdown() would send a FIN; the reading thread keeps the descriptor alive until then.
        raw.shutdown(socket.SHUT_RD)
        raw.close()


class ReplayServer:
    """A websocket server in threads of its own: `with ReplayServer(frames) as server: server.url`.

    Args:
        script: Messages to send to every client (a mapping goes as JSON), or a function that
            handles one `Peer` at a time in the connection's thread, or one such per connection.
        close: With messages: close with this code and reason after the last one. Without it the
            server listens until the client closes.
        refuse: HTTP status to refuse handshakes with.
        location: `Location` header of such an answer.

    Attributes:
        url: `ws://127.0.0.1:PORT/v1`, what `websocket_base_url` of the SDK takes.
        peers: One `Peer` per connection, in the order they came.
        requests: Request path of every handshake, the refused ones too.
    """

    def __init__(
        self,
        script: Iterable[Frame | Mapping[str, Any]] | Handler | Sequence[Handler] = (),
        *,
        close: tuple[int, str] | None = None,
        refuse: int | None = None,
        location: str | None = None,
    ) -> None:
        self._script: Any = script if callable(script) else list(script)
        self._close = close
        self.refuse = refuse
        self._location = location
        self.peers: list[Peer] = []
        self.requests: list[str] = []
        self._server = serve(self._handle, "127.0.0.1", 0, process_request=self._answer)
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> ReplayServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(5)

    @property
    def received(self) -> list[Frame]:
        """Every message of every client, connection by connection."""
        return [frame for peer in self.peers for frame in peer.received]

    def wait(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Poll until a condition holds; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.005)

    def _answer(self, connection: ServerConnection, request: Any) -> Any:
        self.requests.append(request.path)
        if self.refuse is None:
            return None
        response = connection.respond(http.HTTPStatus(self.refuse), "refused\n")
        if self._location is not None:
            response.headers["Location"] = self._location
        return response

    def _handle(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        index = len(self.peers)
        self.peers.append(peer)
        try:
            self._play(peer, index)
        except (ConnectionClosed, OSError):
            pass  # the client went away in the middle of the script

    def _play(self, peer: Peer, index: int) -> None:
        if callable(self._script):
            self._script(peer)
        elif self._script and callable(self._script[0]):
            self._script[min(index, len(self._script) - 1)](peer)
        else:
            peer.send(*self._script)
            if self._close is None:
                peer.listen()
            else:
                peer.close(*self._close)
