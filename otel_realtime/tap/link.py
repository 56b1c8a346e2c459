"""The tie between a conversation and the socket it lives on, whatever library the socket is of.

A `Link` is one conversation: its sink, and the socket that carries it now. A `Tap` is one tapped
socket. A link outlives a socket only when an SDK connection replaces it (a reconnect).

When a socket is lost, the link ends in the app's own task wherever that is possible, because only
there can the sink put that task's context back:

- the app is inside `close()`: at the end of that call, also when it is cancelled;
- the app is inside `recv()`: as `ConnectionClosed` leaves it;
- neither, and frames are still buffered: when the app has read them, or `UNREAD_S` after it stopped;
- neither, and nothing is left to read: at once.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from otel_realtime.background import Worker
from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Close, Observer, Sink

#: Set while an SDK connection makes the next socket of a conversation that is already open.
joining: ContextVar[bool] = ContextVar("otel_realtime_joining", default=False)

#: How often a sink is asked whether it lets its socket go; sinks decide within a few frames.
ASKS = 64

#: How long unread frames of a lost socket may lie, and an SDK may take to begin its reconnect.
UNREAD_S = 30.0

_MARK = "_otel_realtime_tap"
_EXITS = frozenset({"__exit__", "__aexit__"})
_LIBRARIES = frozenset({"websockets", "openai", "aiohttp"})
_MISSING = object()


class Patches:
    """Attributes replaced on one object, to be put back."""

    __slots__ = ("_saved", "_target")

    def __init__(self, target: object) -> None:
        self._target = target
        self._saved: list[tuple[str, object, object]] = []

    def put(self, name: str, new: object) -> None:
        """Replace an attribute of the object itself, whatever its class says."""
        self._saved.append((name, vars(self._target).get(name, _MISSING), new))
        setattr(self._target, name, new)

    def undo(self) -> None:
        """Put back what was there, except where somebody wrapped the replacement meanwhile."""
        while self._saved:
            name, old, new = self._saved.pop()
            if vars(self._target).get(name) is not new:
                continue
            if old is _MISSING:
                delattr(self._target, name)
            else:
                setattr(self._target, name, old)


class Link:
    """One conversation: its sink, the socket it lives on, and its end, which is told once.

    Attributes:
        sink: Where the frames go.
        socket: The tap of the current socket.
        connection: The SDK connection object that owns the sockets, if any.
        sdk: The sink knows that it belongs to an SDK connection.
        reconnects: The SDK may replace a lost socket, so a lost socket is not the end.
        reconnecting: It is doing that now.
    """

    __slots__ = (
        "_lock",
        "connection",
        "ended",
        "reconnecting",
        "reconnects",
        "sdk",
        "sink",
        "socket",
    )

    def __init__(self, sink: Sink, *, sdk: bool = False) -> None:
        self.sink = sink
        self.socket: Tap | None = None
        self.connection: Any = None
        self.sdk = sdk
        self.reconnects = False
        self.reconnecting = False
        self.ended = False
        self._lock = threading.Lock()
        _links.add(self)

    def end(self, close: Close) -> None:
        """Tell the sink that its connection ended, the first time only."""
        if self.drop():
            self.sink.closed(close)

    def drop(self) -> bool:
        """Call the sink no more; return whether it was still to be called."""
        with self._lock:
            first = not self.ended
            self.ended = True
        _links.discard(self)
        return first

    def replacing(self) -> bool:
        """Whether the SDK itself, not the app, handles the current socket."""
        return self.reconnecting and not getattr(self.connection, "_intentionally_closed", True)


class Tap:
    """One tapped socket; a transport says how to read its state and how to wait.

    Args:
        socket: The connection object whose methods are replaced.
        link: The conversation it carries from now on.
    """

    #: Whether the socket's methods are coroutines.
    asynchronous: ClassVar[bool]
    #: How long a lost socket waits for a reader that may hold its last frame.
    grace_s: ClassVar[float] = 0.0

    def __init__(self, socket: Any, link: Link) -> None:
        self.socket = socket
        self.link = link
        self.patches = Patches(socket)
        self._asks = ASKS
        self._closing = 0
        self._failed = False
        self._closed_by_client = False
        self._error: BaseException | None = None
        self._cancel_watch: Callable[[], object] = _nothing
        self.patches.put(_MARK, self)
        if link.socket is not None:
            link.socket._cancel_watch()
        link.socket = self
        with _taps_lock:
            _taps.add(self)

    # What a transport provides.

    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        raise NotImplementedError

    def codes(self) -> tuple[int | None, str, int | None]:
        """Received close code, its reason, and sent close code."""
        raise NotImplementedError

    def is_deserted(self) -> bool:
        """Whether nobody can ever use the socket again, although nobody closed it."""
        return False

    def unread(self) -> int:
        """How many frames the library holds that the app has not asked for."""
        raise NotImplementedError

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call something later; return what cancels it."""
        raise NotImplementedError

    def mute(self) -> None:
        """Make replaced methods pass through that are still running or referred to."""
        raise NotImplementedError

    # What the replaced methods call.

    @walled
    def decide(self) -> bool:
        """Ask the sink whether it keeps the socket; return whether to ask again."""
        if self.link.sink.released():
            self.release()
            return False
        self._asks -= 1
        return self._asks > 0

    @walled
    def close_begins(self) -> None:
        """The app calls the socket's `close`."""
        if self.link.replacing():
            return
        if not self._closing and not self.link.ended:
            self._closed_by_client = self._closed_by_client or self.is_open()
            self._error = self._error or exit_error()
        self._closing += 1

    @walled
    def close_ends(self) -> None:
        """The app's call of `close` is over, however it went."""
        if self._closing:
            self._closing -= 1
            self.end()

    @walled
    def recv_failed(self) -> None:
        """`recv` raises in the app that the connection is closed."""
        self._failed = True
        if self._closing:
            return  # close() ends the conversation, in the task that closes
        if not self.link.reconnects:
            self.end()
        elif not self.link.replacing():
            # The SDK's iteration calls its reconnect before anything else can run; when it
            # does not, the exception went to the app or ended the iteration.
            self._watch(self.grace_s, self.unread())

    @walled
    def lost(self) -> None:
        """The transport is gone, seen by the library and perhaps by nobody else."""
        if self._closing or self._failed or self.link.ended:
            return
        unread = self.unread()
        if unread or self.link.reconnects:
            self._watch(UNREAD_S, unread)
        elif self.grace_s:
            self._watch(self.grace_s, unread)
        else:
            self.end()

    def end(self) -> None:
        """End the conversation with this socket, unless it lives on another one by now."""
        self._cancel_watch()
        if self.link.socket is not self:
            return
        received_code, received_reason, sent_code = self.codes()
        close = Close(
            received_code=received_code,
            received_reason=received_reason,
            sent_code=sent_code,
            by_client=self._closed_by_client,
            error=self._error,
        )
        self._error = None  # its traceback holds the app's frames
        self.link.end(close)

    @walled
    def desert(self) -> None:
        """The app left without closing: that is its way to end it, and no error."""
        self._closed_by_client = True
        self.end()

    def release(self) -> None:
        """Take the tap off; the socket is as the library made it."""
        self._cancel_watch()
        self.link.drop()
        self.mute()
        self.patches.undo()

    def _watch(self, delay_s: float, unread: int) -> None:
        self._cancel_watch()
        self._cancel_watch = self.later(delay_s, functools.partial(self._look, unread))

    @walled
    def _look(self, unread_before: int) -> None:
        if self._closing or self.link.ended or self.link.socket is not self:
            return
        unread = self.unread()
        if self.link.reconnecting or unread != unread_before:
            self._watch(UNREAD_S, unread)
        else:
            self.end()


def tap_of(socket: object) -> Tap | None:
    """The tap on a socket, if it has one."""
    tap = getattr(socket, _MARK, None)
    return tap if isinstance(tap, Tap) else None


def end_deserted() -> None:
    """End the conversations on sockets that an event loop left behind when it was closed.

    A closed loop calls nobody any more, so this is asked from time to time.
    """
    for link in list(_links):
        tap = link.socket
        if tap is not None and tap.is_deserted():
            tap.desert()


def forget_after_fork() -> None:
    """In a fork's child: the sockets are the parent's."""
    global _taps_lock
    _taps_lock = threading.Lock()
    _links.clear()


def release_all() -> None:
    """Take every tap of this process off."""
    with _taps_lock:
        taps = list(_taps)
    for tap in taps:
        tap.release()


def open_link(observer: Observer, handshake: Any, *, sdk: bool = False) -> Link | None:
    """Offer an open socket to the observer; `None` when it is not interested."""
    sink = observer.opened(handshake, sdk=sdk)
    return None if sink is None else Link(sink, sdk=sdk)


def exit_error() -> Exception | None:
    """The exception that a connection's own `__exit__` was given, found among the callers.

    `sys.exc_info()` would also show an exception that the app has handled and closes after, or
    one in whose handler the whole call runs.
    """
    frame = sys._getframe(1)
    for _ in range(12):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        code = frame.f_code
        library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if code.co_name in _EXITS and library in _LIBRARIES and code.co_argcount > 2:
            error = frame.f_locals.get(code.co_varnames[2])
            return error if isinstance(error, Exception) else None
    return None


def later(delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
    """Call something later, off the app's threads; return what cancels it."""

    def job() -> None:
        call()

    _timers.resume()
    ticket = _timers.submit(job, after_s=delay_s)
    return _nothing if ticket is None else ticket.cancel


def stop_timers(timeout_s: float) -> bool:
    """End the thread that waits for lost sockets; a later one starts it again."""
    return _timers.stop(timeout_s)


def _nothing() -> None:
    return None


#: One thread for every socket that is read in threads.
_timers: Final = Worker("otel-realtime-sockets")


#: Links that have not ended; strong, so that none is lost with the last reference of the app's.
_links: set[Link] = set()
_taps: weakref.WeakSet[Tap] = weakref.WeakSet()
_taps_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_after_fork)
