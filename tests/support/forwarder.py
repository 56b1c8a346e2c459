"""A TCP forwarder that counts bytes, and that can go away and come back."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Forwarder:
    """Listens on a port of the loopback interface and hands every connection on to one target.

    Args:
        target: ``host:port``.
        host: address to listen on.
        port: port to listen on; 0: a free one.

    Attributes:
        sent: bytes that went to the target so far.
        answered: bytes that came back.
    """

    def __init__(self, target: str, host: str = "127.0.0.1", port: int = 0) -> None:
        to, _, its_port = target.rpartition(":")
        self._target = (to, int(its_port))
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.sent = 0
        self.answered = 0

    def __enter__(self) -> Forwarder:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def address(self) -> str:
        """``host:port`` to connect to; the same after it was down."""
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"http://{self.address}"

    def up(self) -> None:
        """Listen."""
        listener = socket.create_server((self._host, self._port), backlog=256)
        self._listener, self._port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections from now on and break those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            sockets = list(self._open)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, sink, name in ((client, server, "sent"), (server, client, "answered")):
                threading.Thread(target=self._pump, args=(source, sink, name), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                with self._lock:
                    setattr(self, name, getattr(self, name) + len(data))
        except OSError:
            pass
        finally:
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open.discard(source)
            source.close()
