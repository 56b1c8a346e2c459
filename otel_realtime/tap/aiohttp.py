"""The tap on client websockets of ``aiohttp``, 3.9 and later.

https://docs.aiohttp.org/en/stable/client_reference.html#clientwebsocketresponse

The rest of the library's API (iteration, ``receive_json``, ``send_json``, ...) goes through the methods
that are replaced here.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.callers import is_called_by
from otel_realtime.tap.handshakes import Opening, Request, Transport
from otel_realtime.tap.interface import Frame
from otel_realtime.tap.patches import Patches
from otel_realtime.tap.wrappers import AsyncTap

#: Code that ``close`` sends by default.
NORMAL_CLOSURE: Final = 1000

#: Never sent; means that there was no close frame (https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1).
ABNORMAL_CLOSURE: Final = 1006


class AiohttpTap(AsyncTap):
    """One tapped ``ClientWebSocketResponse``."""

    socket_class = ("aiohttp.client", "ClientWebSocketResponse")
    reads = ("_closed", "_closing", "_loop", "_reader", "_response")
    receive_method = "receive"
    send_methods: ClassVar = {"send_str": "data", "send_bytes": "data"}

    _received_reason = ""
    _sent_code: int | None = None
    _protocol_patches: Patches | None = None

    def release(self) -> None:
        if self._protocol_patches is not None:
            self._protocol_patches.undo()
        super().release()

    def is_open(self) -> bool:
        return not (self.socket._closed or self.socket._closing)

    def codes(self) -> tuple[int | None, str, int | None]:
        code = self.socket.close_code
        received = None if code is None or code == ABNORMAL_CLOSURE else int(code)
        return received, self._received_reason, self._sent_code

    def event_loop(self) -> asyncio.AbstractEventLoop:
        return self.socket._loop  # type: ignore[no-any-return]

    def connection_lost(self) -> asyncio.Future[Any] | None:
        protocol = getattr(getattr(self.socket, "_conn", None), "protocol", None)
        if protocol is None or hasattr(protocol, "closed"):
            return getattr(protocol, "closed", None)
        return self._losing(protocol)  # earlier versions have no such future

    def unread(self) -> int:
        return len(getattr(self.socket._reader, "_buffer", ()))

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        # receive() returns messages: frames, and others that report the state of the connection.
        kinds = sys.modules["aiohttp"].WSMsgType
        text, binary = kinds.TEXT, kinds.BINARY

        @walled
        def listen(message: Any) -> None:
            kind = getattr(message, "type", None)
            if kind is text or kind is binary:
                received(message.data)
            elif isinstance(kind, kinds):
                self._report(kind.name, message)

        return listen

    def note_close(self, args: Any, kwargs: Any) -> None:
        # The library does not store the code.
        code = kwargs.get("code", NORMAL_CLOSURE)
        if not self.socket._closed and self._sent_code is None and isinstance(code, int):
            self._sent_code = int(code)

    def is_internal_close(self) -> bool:
        # receive() itself answers the server's close, and reports the end when it returns.
        return is_called_by(self.receive_method, self.socket)

    def _losing(self, protocol: Any) -> asyncio.Future[Any]:
        original, future = protocol.connection_lost, self.event_loop().create_future()

        @functools.wraps(original)
        def connection_lost(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            finally:
                if not future.done():
                    future.set_result(None)

        self._protocol_patches = Patches(protocol)
        self._protocol_patches.put("connection_lost", connection_lost)
        return future

    def _report(self, kind: str, message: Any) -> None:
        if kind == "CLOSE" and isinstance(message.extra, str):
            self._received_reason = message.extra
        if kind in ("CLOSE", "CLOSED", "CLOSING", "ERROR"):
            self.recv_failed()


def _request(socket: Any) -> Request | None:
    return _request_for(getattr(socket._response, "url", None))


def _failed_request(
    session: Any, _error: Exception, url: Any = None, *_args: Any, **_kwargs: Any
) -> Request | None:
    try:
        return _request_for(session._build_url(url))
    except Exception:  # noqa: BLE001 - the app's URL or session is wrong; the library has reported it
        return None


def _request_for(url: Any) -> Request | None:
    if not hasattr(url, "query_string"):
        return None
    return Request(url.path, url.query_string, url.host or "", url.port)


_transport: Final = Transport(
    Opening(
        owner=("aiohttp.client", "ClientSession"),
        method="_ws_connect",
        tap=AiohttpTap,
        request=_request,
        failed_request=_failed_request,
        status="status",
    )
)
install, uninstall, attach = _transport.install, _transport.uninstall, _transport.attach
