"""The tap on connections of the legacy ``websockets`` client.

https://websockets.readthedocs.io/en/stable/reference/legacy/client.html

``websockets.connect`` is this client up to version 13; later it is ``websockets.legacy.client.connect``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.handshakes import Opening, Request, Transport
from otel_realtime.tap.interface import Frame
from otel_realtime.tap.websockets import AsyncioTap


class LegacyTap(AsyncioTap):
    """One tapped ``WebSocketClientProtocol``."""

    socket_class = ("websockets.legacy.client", "WebSocketClientProtocol")
    reads = ("close_rcvd", "close_sent", "connection_lost_waiter", "loop", "messages", "state")
    #: A waiting ``recv()`` raises only after the connection has been lost.
    grace_s: ClassVar[float] = 0.05

    @property
    def protocol(self) -> Any:
        """The object that has the state and the close codes: the connection itself."""
        return self.socket

    def unread(self) -> int:
        return len(self.socket.messages)

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        if not getattr(self.socket, "legacy_recv", False):
            return received

        @walled
        def listen(message: Any) -> None:
            if message is None:  # with ``legacy_recv=True``, ``recv()`` reports the end like this
                self.recv_failed()
            else:
                received(message)

        return listen


def _request(socket: Any) -> Request | None:
    resource = getattr(socket, "path", None)  # not set until the request is sent
    if not isinstance(resource, str):
        return None
    path, _, query = resource.partition("?")
    return Request(path, query, getattr(socket, "_host", None) or "", socket._port)


def _failed_request(socket: Any, error: Exception, *_args: Any, **_kwargs: Any) -> Request | None:
    # The client itself follows a redirect; the result at the next server counts.
    return None if type(error).__name__ == "RedirectHandshake" else _request(socket)


_transport: Final = Transport(
    Opening(
        owner=LegacyTap.socket_class,
        method="handshake",
        tap=LegacyTap,
        request=_request,
        failed_request=_failed_request,
        status="status_code",
    )
)
install, uninstall, attach = _transport.install, _transport.uninstall, _transport.attach
