"""The tap on client websockets of `aiohttp`, 3.9 and later.

The handshake is `ClientSession._ws_connect`; after it, a socket whose path ends in `/realtime` gets
`receive`, `send_str`, `send_bytes` and `close` replaced on the instance. Everything else of the
library (iteration, `receive_json`, `send_json`, ...) goes through these.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any
from urllib.parse import parse_qsl

import wrapt

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Handshake, Observer
from otel_realtime.tap.link import Link, Patches, Tap, joining, open_link, tap_of
from otel_realtime.tap.websockets import PATH_END, QUERY_KEYS

#: What aiohttp says when no close frame came.
ABNORMAL = 1006

_observer: Observer | None = None
_patches: list[Patches] = []
_waits = False
"""An import hook stands; it cannot be taken back, but without an observer it does nothing."""


def install(observer: Observer) -> None:
    """Watch every handshake from now on; the library is patched when the app imports it."""
    global _observer, _waits
    _observer = observer
    if "aiohttp.client" in sys.modules:
        _patch(sys.modules["aiohttp.client"])
    elif not _waits:
        _waits = True
        wrapt.register_post_import_hook(_patch, "aiohttp.client")


@walled
def _patch(module: Any) -> None:
    connect = getattr(module.ClientSession, "_ws_connect", None)
    if _observer is not None and not _patches and connect is not None:
        patches = Patches(module.ClientSession)
        patches.put("_ws_connect", _watch(connect))
        _patches.append(patches)


def uninstall() -> None:
    """Watch no handshake any more."""
    global _observer
    _observer = None
    while _patches:
        _patches.pop().undo()


def attach(socket: Any, observer: Observer, *, sdk_owned: bool) -> Tap | None:
    """Tap a websocket that is open already; `None` when it is none of this library's."""
    module = sys.modules.get("aiohttp")
    if module is None or not isinstance(socket, module.ClientWebSocketResponse):
        return None
    handshake = _handshake(socket._response.url, time.time_ns(), time.monotonic_ns())
    link = open_link(observer, handshake, sdk=sdk_owned)
    return None if link is None else AiohttpTap(socket, link)


class AiohttpTap(Tap):
    """One tapped `ClientWebSocketResponse`."""

    asynchronous = True

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._received_reason = ""
        self._sent_code: int | None = None
        self._receiver: asyncio.Task[Any] | None = None
        self._wrap()
        # Completed when the transport is lost, also while nobody receives.
        protocol = getattr(getattr(socket, "_conn", None), "protocol", None)
        self._gone = getattr(protocol, "closed", None)
        if self._gone is not None:
            self._gone.add_done_callback(self._lost, context=Context())

    def is_open(self) -> bool:
        return not (self.socket._closed or self.socket._closing)

    def codes(self) -> tuple[int | None, str, int | None]:
        code = self.socket.close_code
        received = None if code is None or code == ABNORMAL else int(code)
        return received, self._received_reason, self._sent_code

    def unread(self) -> int:
        return len(getattr(self.socket._reader, "_buffer", ()))

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        return self.socket._loop.call_later(delay_s, call, context=Context()).cancel  # type: ignore[no-any-return]

    def mute(self) -> None:
        self._mute()

    def release(self) -> None:
        if self._gone is not None:
            self._gone.remove_done_callback(self._lost)
        super().release()

    @walled
    def message(self, message: Any) -> str | bytes | None:
        """The frame in what `receive` returns; `None` when it speaks of the connection instead."""
        kind = message.type.name
        if kind in ("TEXT", "BINARY"):
            frame: str | bytes = message.data
            return frame
        if kind == "CLOSE" and isinstance(message.extra, str):
            self._received_reason = message.extra
        if kind in ("CLOSE", "CLOSED", "CLOSING", "ERROR"):
            self.recv_failed()
        return None

    def _lost(self, gone: Any) -> None:
        if not gone.cancelled():
            gone.exception()  # else asyncio would complain that nobody asked
        self.lost()

    def _wrap(self) -> None:
        tap, sink = self, self.link.sink
        receive, finish = self.socket.receive, self.socket.close
        before_receive, received, sent = sink.calls()
        undecided: bool | None = True

        async def receiving(*args: Any, **kwargs: Any) -> Any:
            nonlocal before_receive, received, sent, undecided
            before_receive()
            tap._receiver = asyncio.current_task()
            try:
                message = await receive(*args, **kwargs)
            finally:
                tap._receiver = None
            frame = tap.message(message)
            if frame is None:
                return message
            received(frame)
            if undecided:
                undecided = tap.decide()
                if undecided:
                    before_receive, received, sent = sink.calls()
            return message

        def sending(transmit: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def send(data: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal undecided
                if isinstance(data, (str, bytes, bytearray, memoryview)):
                    sent(data if isinstance(data, str) else bytes(data))
                if undecided:
                    undecided = tap.decide()
                return await transmit(data, *args, **kwargs)

            return send

        async def close(*args: Any, **kwargs: Any) -> Any:
            if not tap.socket._closed and tap._sent_code is None:
                tap._sent_code = int(kwargs.get("code", 1000))
            if tap._receiver is not None and tap._receiver is asyncio.current_task():
                return await finish(*args, **kwargs)  # receive() answers the server's close itself
            tap.close_begins()
            try:
                return await finish(*args, **kwargs)
            finally:
                tap.close_ends()

        def mute() -> None:
            nonlocal before_receive, received, sent, undecided
            before_receive, received, sent, undecided = _ignore, _ignore, _ignore, False

        self._mute = mute
        for name in ("send_str", "send_bytes"):
            original = getattr(self.socket, name)
            self.patches.put(name, functools.wraps(original)(sending(original)))
        self.patches.put("receive", functools.wraps(receive)(receiving))
        self.patches.put("close", functools.wraps(finish)(close))

    _mute: Callable[[], None]


def _watch(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def connect(self: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        started_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        try:
            socket = await original(self, url, *args, **kwargs)
        except Exception as error:
            _refused(self, url, started_ns, mono_ns, error)
            raise
        _accepted(socket, started_ns, mono_ns)
        return socket

    return connect


@walled
def _accepted(socket: Any, started_ns: int, mono_ns: int) -> None:
    url = socket._response.url
    if not url.path.endswith(PATH_END) or _observer is None or joining.get() or tap_of(socket):
        return
    link = open_link(_observer, _handshake(url, started_ns, mono_ns))
    if link is not None:
        AiohttpTap(socket, link)


@walled
def _refused(session: Any, url: Any, started_ns: int, mono_ns: int, error: Exception) -> None:
    full = session._build_url(url)
    if full.path.endswith(PATH_END) and _observer is not None and not joining.get():
        _observer.refused(_handshake(full, started_ns, mono_ns, error))


def _handshake(
    url: Any, started_ns: int, mono_ns: int, error: Exception | None = None
) -> Handshake:
    status = getattr(error, "status", None)
    return Handshake(
        path=url.path,
        query={key: value for key, value in parse_qsl(url.query_string) if key in QUERY_KEYS},
        host=url.host or "",
        port=url.port,
        started_ns=started_ns,
        done_ns=time.time_ns(),
        mono_ns=mono_ns,
        status=status if isinstance(status, int) else None,
        error=error,
    )


def _ignore(*_: object) -> None:
    return None
