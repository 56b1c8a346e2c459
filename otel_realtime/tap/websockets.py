"""The tap on client connections of ``websockets``, asyncio and threading, 13 and later.

https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
https://websockets.readthedocs.io/en/stable/reference/sync/client.html

The library's own iteration and the SDKs receive and send through the connection's ``recv`` and ``send``,
so the tap sees each message once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final

from otel_realtime.tap.handshakes import Opening, Request, Transport
from otel_realtime.tap.link import Link, Tap
from otel_realtime.tap.wrappers import AsyncTap, SyncTap

#: Statuses for which the asyncio client itself follows a ``Location`` header; see ``process_redirect``
#: in https://github.com/python-websockets/websockets/blob/main/src/websockets/asyncio/client.py.
_REDIRECTS: Final = frozenset({300, 301, 302, 303, 307, 308})

#: Only ``InvalidStatus`` holds the response.
_STATUS: Final = "response.status_code"


class _ProtocolTap(Tap):
    """Base of the taps on both kinds of connection, which have a ``protocol`` with the state."""

    @property
    def protocol(self) -> Any:
        """The object that has the state and the close codes."""
        return self.socket.protocol

    def is_open(self) -> bool:
        return bool(self.protocol.state.name == "OPEN")

    def codes(self) -> tuple[int | None, str, int | None]:
        received, sent = self.protocol.close_rcvd, self.protocol.close_sent
        return (
            None if received is None else int(received.code),
            "" if received is None else str(received.reason),
            None if sent is None else int(sent.code),
        )

    def closed_errors(self) -> tuple[type[BaseException], ...]:
        from websockets.exceptions import ConnectionClosed

        return (ConnectionClosed,)


class AsyncioTap(_ProtocolTap, AsyncTap):
    """One tapped connection of ``websockets.asyncio``."""

    socket_class = ("websockets.asyncio.client", "ClientConnection")
    reads: ClassVar[tuple[str, ...]] = (
        "protocol", "loop", "connection_lost_waiter", "recv_messages",
    )  # fmt: skip

    def event_loop(self) -> asyncio.AbstractEventLoop:
        return self.socket.loop  # type: ignore[no-any-return]

    def connection_lost(self) -> asyncio.Future[Any] | None:
        # Completed after a waiting recv() has been woken.
        return self.socket.connection_lost_waiter  # type: ignore[no-any-return]

    def unread(self) -> int:
        return len(self.socket.recv_messages.frames)


class ThreadingTap(_ProtocolTap, SyncTap):
    """One tapped connection of ``websockets.sync``; the library reads in its own thread."""

    socket_class = ("websockets.sync.client", "ClientConnection")
    reads = ("protocol", "recv_events_thread", "recv_messages", "close_socket")

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self.patches.put("close_socket", self._closing_socket(socket.close_socket))
        if not socket.recv_events_thread.is_alive():
            self.lost()

    def unread(self) -> int:
        # Version 13 hands over one message at a time and buffers none.
        frames = getattr(self.socket.recv_messages, "frames", None)
        return 0 if frames is None else int(frames.qsize())

    def _closing_socket(self, original: Callable[[], None]) -> Callable[[], None]:
        def close_socket() -> None:
            original()  # the last thing that the reading thread does
            self.lost()

        return close_socket


def _request(socket: Any) -> Request | None:
    path = getattr(getattr(socket, "request", None), "path", None)  # None until the request is sent
    protocol = getattr(socket, "protocol", None)
    uri = getattr(protocol, "wsuri", None) or getattr(protocol, "uri", None)  # renamed in 15
    if not isinstance(path, str) or uri is None:
        return None
    path, _, query = path.partition("?")
    return Request(path, query, uri.host, uri.port)


def _failed_request(socket: Any, _error: Exception, *_args: Any, **_kwargs: Any) -> Request | None:
    return _request(socket)


def _failed_asyncio_request(
    socket: Any, error: Exception, *_args: Any, **_kwargs: Any
) -> Request | None:
    # The app does not see a redirect; the result at the next server counts.
    return None if _is_redirect(error) else _request(socket)


def _is_redirect(error: Exception) -> bool:
    response: Any = getattr(error, "response", None)
    return getattr(response, "status_code", None) in _REDIRECTS and "Location" in response.headers


_transport: Final = Transport(
    Opening(
        owner=AsyncioTap.socket_class,
        method="handshake",
        tap=AsyncioTap,
        request=_request,
        failed_request=_failed_asyncio_request,
        status=_STATUS,
    ),
    Opening(
        owner=ThreadingTap.socket_class,
        method="handshake",
        tap=ThreadingTap,
        request=_request,
        failed_request=_failed_request,
        status=_STATUS,
    ),
)
install, uninstall, attach = _transport.install, _transport.uninstall, _transport.attach
