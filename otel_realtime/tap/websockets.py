"""The tap on client connections of the `websockets` library, asyncio and threaded, 13 and later.

The handshake of both `ClientConnection` classes is wrapped; after it, a socket whose request path
ends in `/realtime` gets its `recv`, `send` and `close` replaced on the instance. The library's own
iteration and the SDKs call these through the instance, so each message passes here once. Other
sockets pay one look at their path.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any
from urllib.parse import parse_qsl

from otel_realtime.diagnostics import walled
from otel_realtime.tap import agents, sdk
from otel_realtime.tap.interface import Handshake, Observer
from otel_realtime.tap.link import Link, Patches, Tap, joining, later, open_link, tap_of

PATH_END = "/realtime"

#: What may be kept of a query; the rest can hold secrets.
QUERY_KEYS = frozenset({"model", "deployment", "intent", "call_id", "api-version"})

#: Statuses with which the asyncio client follows a `Location` by itself.
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})

#: Whole messages besides `str`; anything else is fragments, which only the library may consume.
_BUFFERS = (bytes, bytearray, memoryview)

_observer: Observer | None = None
_patches: list[Patches] = []


def install(observer: Observer) -> None:
    """Watch every handshake from now on; without the library, or an older one, do nothing."""
    global _observer
    _observer = observer
    if _patches:
        return
    try:
        from websockets.asyncio.client import ClientConnection as AsyncConnection
        from websockets.sync.client import ClientConnection as SyncConnection
    except ImportError:
        return
    watched = (
        (AsyncConnection, _watch_async(AsyncConnection.handshake)),
        (SyncConnection, _watch_sync(SyncConnection.handshake)),
    )
    for owner, handshake in watched:
        patches = Patches(owner)
        patches.put("handshake", handshake)
        _patches.append(patches)


def uninstall() -> None:
    """Watch no handshake any more."""
    global _observer
    _observer = None
    while _patches:
        _patches.pop().undo()


def attach(socket: Any, observer: Observer, *, sdk_owned: bool) -> Tap | None:
    """Tap a connection that is open already; `None` when it is none of this library's."""
    tap_class = _tap_class(socket)
    if tap_class is None:
        return None
    link = open_link(
        observer, _handshake(socket, time.time_ns(), time.monotonic_ns()), sdk=sdk_owned
    )
    return None if link is None else tap_class(socket, link)


class _WebSocketTap(Tap):
    def is_open(self) -> bool:
        return bool(self.socket.protocol.state.name == "OPEN")

    def codes(self) -> tuple[int | None, str, int | None]:
        received, sent = self.socket.protocol.close_rcvd, self.socket.protocol.close_sent
        return (
            None if received is None else int(received.code),
            "" if received is None else str(received.reason),
            None if sent is None else int(sent.code),
        )

    def mute(self) -> None:
        self._mute()

    def _replace(
        self, recv: Callable[..., object], send: Callable[..., object], close: Callable[..., object]
    ) -> None:
        for method, new in (("recv", recv), ("send", send), ("close", close)):
            self.patches.put(method, functools.wraps(getattr(self.socket, method))(new))

    _mute: Callable[[], None]


class AsyncTap(_WebSocketTap):
    """One tapped `websockets.asyncio` connection."""

    asynchronous = True

    def is_deserted(self) -> bool:
        return bool(self.socket.loop.is_closed())

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._wrap()
        # Completed by connection_lost(), after a waiting recv() was woken.
        socket.connection_lost_waiter.add_done_callback(self._lost, context=Context())

    def unread(self) -> int:
        return len(self.socket.recv_messages.frames)

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        return self.socket.loop.call_later(delay_s, call, context=Context()).cancel  # type: ignore[no-any-return]

    def release(self) -> None:
        self.socket.connection_lost_waiter.remove_done_callback(self._lost)
        super().release()

    def _lost(self, _waiter: object) -> None:
        self.lost()

    def _wrap(self) -> None:
        from websockets.exceptions import ConnectionClosed

        tap, sink = self, self.link.sink
        receive, transmit, finish = self.socket.recv, self.socket.send, self.socket.close
        # Cells, not attributes: this is paid per frame, and mute() can still change them.
        before_receive, received, sent = sink.calls()
        undecided: bool | None = True

        async def recv(decode: bool | None = None, *rest: Any, **more: Any) -> Any:
            nonlocal before_receive, received, sent, undecided
            before_receive()
            try:
                frame = await (receive(decode, *rest, **more) if rest or more else receive(decode))
            except ConnectionClosed:
                tap.recv_failed()
                raise
            received(frame)
            if undecided:
                undecided = tap.decide()
                if undecided:
                    before_receive, received, sent = sink.calls()
            return frame

        async def send(message: Any, *rest: Any, **more: Any) -> Any:
            nonlocal undecided
            if isinstance(message, str):
                sent(message)
            elif isinstance(message, _BUFFERS):
                sent(bytes(message))
            if undecided:
                undecided = tap.decide()
            return await transmit(message, *rest, **more)

        async def close(*args: Any, **kwargs: Any) -> Any:
            tap.close_begins()
            try:
                return await finish(*args, **kwargs)
            finally:
                tap.close_ends()

        def mute() -> None:
            nonlocal before_receive, received, sent, undecided
            before_receive, received, sent, undecided = _ignore, _ignore, _ignore, False

        self._mute = mute
        self._replace(recv, send, close)


class SyncTap(_WebSocketTap):
    """One tapped `websockets.sync` connection; its library reads in a thread of its own."""

    asynchronous = False
    #: The app's thread may hold the last frame, or be woken just now to see the end itself.
    grace_s = 0.25

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._wrap()
        if not socket.recv_events_thread.is_alive():
            self.lost()

    def unread(self) -> int:
        # Version 13 hands over one message at a time and holds none back.
        frames = getattr(self.socket.recv_messages, "frames", None)
        return 0 if frames is None else int(frames.qsize())

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        return later(delay_s, call)

    def _wrap(self) -> None:
        from websockets.exceptions import ConnectionClosed

        tap, sink = self, self.link.sink
        receive, transmit, finish = self.socket.recv, self.socket.send, self.socket.close
        close_transport = self.socket.close_socket
        before_receive, received, sent = sink.calls()
        undecided: bool | None = True

        def recv(*args: Any, **kwargs: Any) -> Any:
            nonlocal before_receive, received, sent, undecided
            before_receive()
            try:
                frame = receive(*args, **kwargs)
            except ConnectionClosed:
                tap.recv_failed()
                raise
            received(frame)
            if undecided:
                undecided = tap.decide()
                if undecided:
                    before_receive, received, sent = sink.calls()
            return frame

        def send(message: Any, *rest: Any, **more: Any) -> Any:
            nonlocal undecided
            if isinstance(message, str):
                sent(message)
            elif isinstance(message, _BUFFERS):
                sent(bytes(message))
            if undecided:
                undecided = tap.decide()
            return transmit(message, *rest, **more)

        def close(*args: Any, **kwargs: Any) -> Any:
            tap.close_begins()
            try:
                return finish(*args, **kwargs)
            finally:
                tap.close_ends()

        def close_socket() -> None:
            close_transport()  # the last thing that the reading thread does
            tap.lost()

        def mute() -> None:
            nonlocal before_receive, received, sent, undecided
            before_receive, received, sent, undecided = _ignore, _ignore, _ignore, False

        self._mute = mute
        self._replace(recv, send, close)
        self.patches.put("close_socket", close_socket)


def _watch_async(original: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(original)
    async def handshake(self: Any, *args: Any, **kwargs: Any) -> None:
        started_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        try:
            await original(self, *args, **kwargs)
        except Exception as error:
            if not _is_redirect(error):
                _refused(self, started_ns, mono_ns, error)
            raise
        _accepted(self, started_ns, mono_ns, AsyncTap)

    return handshake


def _watch_sync(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def handshake(self: Any, *args: Any, **kwargs: Any) -> None:
        started_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        try:
            original(self, *args, **kwargs)
        except Exception as error:
            _refused(self, started_ns, mono_ns, error)
            raise
        _accepted(self, started_ns, mono_ns, SyncTap)

    return handshake


@walled
def _accepted(socket: Any, started_ns: int, mono_ns: int, tap_class: type[_WebSocketTap]) -> None:
    if not _is_realtime(socket) or _observer is None or joining.get() or tap_of(socket):
        return
    sdk.watch(_observer)
    agents.watch(_observer)
    link = open_link(_observer, _handshake(socket, started_ns, mono_ns))
    if link is not None:
        tap_class(socket, link)


@walled
def _refused(socket: Any, started_ns: int, mono_ns: int, error: Exception) -> None:
    if _is_realtime(socket) and _observer is not None and not joining.get():
        _observer.refused(_handshake(socket, started_ns, mono_ns, error))


def _is_realtime(socket: Any) -> bool:
    request = socket.request
    return request is not None and request.path.partition("?")[0].endswith(PATH_END)


def _handshake(
    socket: Any, started_ns: int, mono_ns: int, error: Exception | None = None
) -> Handshake:
    path, _, query = socket.request.path.partition("?")
    protocol = socket.protocol
    uri = protocol.wsuri if hasattr(protocol, "wsuri") else protocol.uri  # renamed in version 15
    return Handshake(
        path=path,
        query={key: value for key, value in parse_qsl(query) if key in QUERY_KEYS},
        host=uri.host,
        port=uri.port,
        started_ns=started_ns,
        done_ns=time.time_ns(),
        mono_ns=mono_ns,
        status=_status(error),
        error=error,
    )


def _status(error: Exception | None) -> int | None:
    # Only InvalidStatus carries the response.
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_redirect(error: Exception) -> bool:
    return _status(error) in _REDIRECTS and "Location" in error.response.headers  # type: ignore[attr-defined]


def _tap_class(socket: object) -> type[_WebSocketTap] | None:
    # A socket of a module that was never imported cannot exist.
    for name, tap_class in (("asyncio", AsyncTap), ("sync", SyncTap)):
        module = sys.modules.get(f"websockets.{name}.client")
        if module is not None and isinstance(socket, module.ClientConnection):
            return tap_class
    return None


def _ignore(*_: object) -> None:
    return None
