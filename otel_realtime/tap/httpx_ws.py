"""The tap on sessions of ``httpx-ws``, for threads and for coroutines.

https://frankie567.github.io/httpx-ws/reference/httpx_ws/

A session is created from an upgraded response, so the handshake has succeeded when its constructor runs.
The call that opens both tells when the handshake began. A refused handshake is seen in the constructor of
the exception that the library creates from the response.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.callers import is_called_by
from otel_realtime.tap.handshakes import Opening, Request, Started, Transport, now
from otel_realtime.tap.interface import Frame, Observer
from otel_realtime.tap.link import Link, Tap
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.wrappers import AsyncTap, SyncTap

#: Code that ``close`` sends by default.
NORMAL_CLOSURE: Final = 1000
#: Never sent; means that there was no close frame (https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1).
ABNORMAL_CLOSURE: Final = 1006

#: The library's own methods that close a faulty session.
_CLOSE_BY_THEMSELVES: Final = ("_background_receive", "_background_keepalive_ping", "send")

_API: Final = "httpx_ws._api"
_opening: ContextVar[Started | None] = ContextVar("otel_realtime_httpx_ws_opening", default=None)


class _SessionTap(Tap):
    """Base of the taps on both kinds of session, which have a ``connection`` of ``wsproto``."""

    receive_method = "receive"
    send_methods: ClassVar = {"send": "event"}
    block_libraries = frozenset({"openai", "anyio"})

    _received: tuple[int | None, str] = (None, "")
    _sent_code: int | None = None

    def is_open(self) -> bool:
        return bool(self.socket.connection.state.name == "OPEN")

    def codes(self) -> tuple[int | None, str, int | None]:
        return (*self._received, self._sent_code)

    def closed_errors(self) -> tuple[type[BaseException], ...]:
        errors = sys.modules["httpx_ws._exceptions"]
        return (errors.WebSocketDisconnect, errors.WebSocketNetworkError)

    @walled
    def recv_failed(self) -> None:
        self._note(sys.exc_info()[1])  # called while the exception of ``receive`` is handled
        super().recv_failed()

    def _note(self, end: object) -> None:
        """Note the code and reason of a close event or of an exception raised by ``receive``."""
        code, reason = getattr(end, "code", None), getattr(end, "reason", None)
        if isinstance(code, int) and code != ABNORMAL_CLOSURE:
            self._received = int(code), reason if isinstance(reason, str) else ""

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        # receive() returns events; messages are one kind of them.
        text, binary = _events().TextMessage, _events().BytesMessage

        @walled
        def listen(event: Any) -> None:
            if isinstance(event, text):
                received(event.data)
            elif isinstance(event, binary):
                received(bytes(event.data))

        return listen

    def whole_message(self, message: Any, args: Any, kwargs: Any) -> Frame | None:
        if not isinstance(message, _events().Message) or not message.message_finished:
            return None
        return super().whole_message(message.data, args, kwargs)

    def note_close(self, args: Any, kwargs: Any) -> None:
        code = kwargs.get("code", args[0] if args else NORMAL_CLOSURE)
        if self.is_open() and isinstance(code, int):
            self._sent_code = int(code)

    def is_internal_close(self) -> bool:
        return any(is_called_by(method, self.socket) for method in _CLOSE_BY_THEMSELVES)


class SessionTap(_SessionTap, SyncTap):
    """One tapped ``WebSocketSession``; the library reads in its own thread."""

    socket_class = (_API, "WebSocketSession")
    reads = ("connection", "response", "_events", "_background_receive")

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self.patches.put("_background_receive", self._reading(socket._background_receive))

    def unread(self) -> int:
        return sum(isinstance(event, _events().Message) for event in self._queued())

    def codes(self) -> tuple[int | None, str, int | None]:
        for event in self._queued():  # a close event that the app has not read
            if isinstance(event, _events().CloseConnection):
                self._note(event)
        return super().codes()

    def _queued(self) -> list[Any]:
        return list(self.socket._events.queue)

    def _reading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def background_receive(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            finally:
                self.lost()

        return background_receive


class AsyncSessionTap(_SessionTap, AsyncTap):
    """One tapped ``AsyncWebSocketSession``; it reads only as fast as the app asks for messages."""

    socket_class = (_API, "AsyncWebSocketSession")
    reads = ("connection", "response")

    @classmethod
    def fits(cls, socket: object) -> bool:
        # The library also runs on Trio, which has no asyncio event loop.
        return asyncio._get_running_loop() is not None and super().fits(socket)

    def __init__(self, socket: Any, link: Link) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(socket, link)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def unread(self) -> int:
        return 0


def _events() -> Any:
    return sys.modules["wsproto.events"]  # imported by the library


def _request(session: Any) -> Request | None:
    return _request_for(session.response)


def _request_for(response: Any) -> Request | None:
    url: Any = getattr(getattr(response, "request", None), "url", None)
    query = getattr(url, "query", None)
    if not isinstance(query, bytes):
        return None
    return Request(url.path, query.decode("ascii", "replace"), url.host, url.port or _port(url))


def _port(url: Any) -> int | None:
    return {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(url.scheme)


def _no_request(*_args: Any, **_kwargs: Any) -> None:
    return None  # a failing constructor is not a refused handshake


def _started() -> Started | None:
    started = _opening.get()
    _opening.set(None)
    return started


def _wrap_connect(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        if _api.observer is not None:
            _opening.set(now())
        return original(*args, **kwargs)

    return connect


def _wrap_refusal(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        _refuse(self)
        return result

    return init


@walled
def _refuse(error: Any) -> None:
    response = getattr(error, "response", None)
    _transport.refuse(
        _request_for(response), _started() or now(), error, getattr(response, "status_code", None)
    )


_transport: Final = Transport(
    *(
        Opening(
            owner=tap.socket_class,
            method="__init__",
            tap=tap,
            request=_request,
            failed_request=_no_request,
            status="",
            constructs=True,
            started=_started,
        )
        for tap in (SessionTap, AsyncSessionTap)
    )
)
_api: Final = Instrumentation(
    Method("httpx_ws._exceptions", "WebSocketUpgradeError", "__init__", _wrap_refusal),
    # A version has one pair or the other: the classes were added in 0.8.
    Method(_API, "WebSocketClient", "connect", _wrap_connect),
    Method(_API, "AsyncWebSocketClient", "connect", _wrap_connect),
    Method(_API, "", "_connect_ws", _wrap_connect),
    Method(_API, "", "_aconnect_ws", _wrap_connect),
)


def install(observer: Observer) -> None:
    """See ``Transport.install``."""
    _transport.install(observer)
    _api.install(observer)


def uninstall() -> None:
    """See ``Transport.uninstall``."""
    _api.uninstall()
    _transport.uninstall()


attach = _transport.attach
