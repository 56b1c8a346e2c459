"""The tap on sockets of ``websocket-client`` (``import websocket``), 1.0 and later.

https://websocket-client.readthedocs.io/en/latest/core.html

The whole library receives through ``WebSocket.recv_data_frame`` and sends through ``send_frame``. A
``WebSocketApp`` creates such a socket for each connection. It asks for the next frame only when one has
arrived, so the end of its callback is when the app has handled an event.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from ssl import SSLEOFError
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from otel_realtime.diagnostics import walled
from otel_realtime.tap.callers import is_called_within
from otel_realtime.tap.handshakes import Opening, Request, Transport
from otel_realtime.tap.interface import Frame, Observer
from otel_realtime.tap.link import Link, Tap, tap_of
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.wrappers import SyncTap

#: Opcodes of https://www.rfc-editor.org/rfc/rfc6455#section-11.8.
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0x0, 0x1, 0x2, 0x8

_URL: Final = "_otel_realtime_url"


class WebSocketTap(SyncTap):
    """One tapped ``WebSocket``."""

    socket_class = ("websocket._core", "WebSocket")
    reads = ("cont_frame", "connected", "sock", "shutdown")
    receive_method = "recv_data_frame"
    send_methods: ClassVar = {"send_frame": "frame"}

    _received: tuple[int | None, str] = (None, "")
    _sent_code: int | None = None

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._parts: list[bytes] = []
        self.patches.put("shutdown", self._shutting_down(socket.shutdown))

    def is_open(self) -> bool:
        # After a missing pong the library itself closes the socket, while it reports to ``on_error``.
        return self.socket.connected and not is_called_within("handleDisconnect", "websocket._app")

    def codes(self) -> tuple[int | None, str, int | None]:
        # ``close_frame`` is the server's answer to a close from this side; only later versions store it.
        frame = getattr(self.socket, "close_frame", None)
        code, reason = self._received if frame is None else _close_of(frame.data)
        return code, reason, self._sent_code

    def unread(self) -> int:
        return 0  # the library reads only what the app asks for

    def closed_errors(self) -> tuple[type[BaseException], ...]:
        lost = sys.modules["websocket._exceptions"].WebSocketConnectionClosedException
        return (lost, ConnectionError, SSLEOFError)

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        # Frames are whole messages unless the app asked for fragments (``on_cont_message``).
        parts_are_told = getattr(self.socket.cont_frame, "fire_cont_frame", False)

        @walled
        def listen(result: Any) -> None:
            opcode, frame = result
            if opcode == _CLOSE:
                self._received = _close_of(frame.data)
                self.recv_failed()
            elif opcode in (_TEXT, _BINARY, _CONTINUATION):
                if parts_are_told and (self._parts or not frame.fin):
                    self._parts.append(_bytes(frame.data))
                    if not frame.fin:
                        return
                    whole, self._parts = b"".join(self._parts), []
                    received(whole)
                else:
                    received(frame.data)

        return listen

    def whole_message(self, message: Any, args: Any, kwargs: Any) -> Frame | None:
        opcode, data = getattr(message, "opcode", None), getattr(message, "data", None)
        if opcode == _CLOSE and self._sent_code is None:
            self._sent_code = _close_of(data)[0]
        if opcode not in (_TEXT, _BINARY) or not getattr(message, "fin", 0):
            return None
        return super().whole_message(data, args, kwargs)

    def _shutting_down(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def shutdown(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            finally:
                self.lost()

        return shutdown


def _bytes(data: Any) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _close_of(data: Any) -> tuple[int | None, str]:
    """Return the code and the reason from a close frame's payload."""
    if not isinstance(data, bytes | bytearray) or len(data) < 2:
        return None, ""
    return int.from_bytes(data[:2], "big"), bytes(data[2:]).decode("utf-8", "replace")


def _request(socket: Any) -> Request | None:
    # The URL is unknown if the app attaches a socket whose handshake was not seen.
    return _request_for(vars(socket).get(_URL, ""))


# Positional-only, because ``connect`` has an option named ``socket``.
def _asked(socket: Any, /, url: Any = None, *_args: Any, **_kwargs: Any) -> Request | None:
    request = _request_for(url)
    if request is not None:
        vars(socket)[_URL] = url  # for an app that attaches the socket after ``uninstrument()``
    return request


def _failed_request(
    _socket: Any, _error: Exception, /, url: Any = None, *_args: Any, **_kwargs: Any
) -> Request | None:
    return _request_for(url)


def _request_for(url: Any) -> Request | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"ws": 80, "wss": 443}.get(parts.scheme)
    except ValueError:  # the library has reported it to the app, or will
        return None
    return Request(parts.path, parts.query, parts.hostname or "", port)


_transport: Final = Transport(
    Opening(
        owner=WebSocketTap.socket_class,
        method="connect",
        tap=WebSocketTap,
        request=_request,
        asked=_asked,
        failed_request=_failed_request,
        status="status_code",
    )
)


def _wrap_callback(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, callback: Any, *args: Any) -> Any:
        tap = tap_of(getattr(self, "sock", None))  # read now: the callback may close the socket
        if tap is None:
            return original(self, callback, *args)
        try:
            return original(self, callback, *args)
        finally:
            _handled(self, tap, callback)

    return call


@walled
def _handled(app: Any, tap: Tap, callback: Any) -> None:
    # For the same frame, the library calls ``on_data`` first.
    last = getattr(app, "on_message", None) or getattr(app, "on_data", None)
    if callback is not None and callback == last and isinstance(tap, SyncTap):
        tap.asked()


_callbacks: Final = Instrumentation(
    Method(
        "websocket._app",
        "WebSocketApp",
        "_callback",
        _wrap_callback,
        "the spans of events last until the next event",
    )
)


def install(observer: Observer) -> None:
    """See ``Transport.install``; also instruments the callbacks of a ``WebSocketApp``."""
    _transport.install(observer)
    _callbacks.install(observer)


def uninstall() -> None:
    """See ``Transport.uninstall``."""
    _callbacks.uninstall()
    _transport.uninstall()


def attach(socket: object, observer: Observer, *, sdk_owned: bool) -> Tap | None:
    """See ``Transport.attach``; for a running ``WebSocketApp``, this taps its socket."""
    inner = getattr(socket, "sock", None)
    if WebSocketTap.fits(inner):
        socket = inner
    return tap_of(socket) or _transport.attach(socket, observer, sdk_owned=sdk_owned)
