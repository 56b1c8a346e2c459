"""The tie between a conversation and its socket, whichever library the socket is of.

A ``Link`` is one conversation: its sink, and the socket that carries it now. A ``Tap`` is one tapped
socket. A link outlives a socket only when an SDK connection replaces it (a reconnect).

When a socket is lost, the link ends in the app's own task wherever that is possible, because only
there can the sink restore that task's context (https://peps.python.org/pep-0567/):

- the app is inside ``close()``: at the end of that call, also when it is cancelled;
- the app is inside ``recv()``: as the library's exception leaves it;
- neither, and frames are still buffered: when the app has read them, or ``UNREAD_S`` after it
  stopped reading;
- neither, and nothing is left to read: at once.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.callers import exit_error
from otel_realtime.tap.interface import Calls, Close, Frame, Handshake, Observer, Sink
from otel_realtime.tap.patches import Patches

#: Set while an SDK connection opens the next socket of a conversation that is already open.
joining: ContextVar[bool] = ContextVar("otel_realtime_joining", default=False)

#: A sink is asked this often whether it releases its socket; sinks decide within a few frames.
MAX_ASKS: Final = 64

#: How long unread frames of a lost socket may lie, and an SDK may take to begin its reconnect.
UNREAD_S = 30.0

#: Whole messages besides ``str``; anything else is fragments, which only the library may consume.
BUFFERS: Final = (bytes, bytearray, memoryview)

_MARK = "_otel_realtime_tap"


class Link:
    """One conversation: its sink, the socket that carries it, and its end, which is reported once.

    Attributes:
        sink: Where the frames go.
        socket: The tap of the current socket.
        connection: The SDK connection object that owns the sockets, if any.
        sdk: The sink knows that it belongs to an SDK connection.
        reconnects: The SDK may replace a lost socket, so a lost socket is not the end.
        reconnecting: The SDK is replacing it now.
        ended: The sink is not called any more.
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
        """Report the end of the connection to the sink, the first time only."""
        if self.drop():
            self.sink.closed(close)

    def drop(self) -> bool:
        """End without a report; return whether it had not ended yet."""
        with self._lock:
            first = not self.ended
            self.ended = True
        _links.discard(self)
        return first

    def is_replaced_by_sdk(self) -> bool:
        """Return whether the SDK itself, not the app, handles the current socket."""
        return self.reconnecting and not getattr(self.connection, "_intentionally_closed", True)


class Tap:
    """One tapped socket.

    The attributes below are how a transport describes its library; ``AsyncTap`` and ``SyncTap``
    replace the methods that they name. Adding a transport means filling in this table, and the
    methods that read the state of a socket.

    Args:
        socket: The connection object whose methods are replaced.
        link: The conversation it carries from now on.
    """

    #: Module and name of the class of the sockets.
    socket_class: ClassVar[tuple[str, str]]
    #: Attributes that the tap reads, some of them private: an object without them is not tapped.
    reads: ClassVar[tuple[str, ...]]
    #: The method that returns the next message, and that everything else which receives calls.
    receive_method: ClassVar[str] = "recv"
    #: The methods that send a whole message, with the name of their first parameter.
    send_methods: ClassVar[Mapping[str, str]] = {"send": "message"}
    #: The method that closes the connection.
    close_method: ClassVar[str] = "close"
    #: Whether these methods are coroutines.
    asynchronous: ClassVar[bool]
    #: Top-level packages of the ``with`` blocks around a connection, besides the library itself.
    block_libraries: ClassVar[frozenset[str]] = frozenset({"openai"})
    #: How long a lost socket waits for a reader that may hold its last frame.
    grace_s: ClassVar[float] = 0.0

    #: Where frames go from now on; set when the methods are replaced.
    redirect: Callable[[Calls], None]

    def __init__(self, socket: Any, link: Link) -> None:
        self.socket = socket
        self.link = link
        self.patches = Patches(socket)
        self._asks = MAX_ASKS
        self._closing = 0
        self._failed = False
        self._closed_by_client = False
        self._error: BaseException | None = None
        self._cancel_check: Callable[[], object] = _nothing
        self.patches.put(_MARK, self)
        if link.socket is not None:
            link.socket._cancel_check()
        link.socket = self
        with _taps_lock:
            _taps.add(self)

    @classmethod
    def fits(cls, socket: object) -> bool:
        """Return whether an object is a socket of this library that can be tapped.

        False for what an app's tests put in its place: another object, or a subclass that does not
        call the library's ``__init__``.
        """
        methods = (cls.receive_method, *cls.send_methods, cls.close_method)
        return cls.is_of_class(socket) and all(
            hasattr(socket, name) for name in cls.reads + methods
        )

    @classmethod
    def is_of_class(cls, socket: object) -> bool:
        """Return whether an object is of this library's class of sockets, or of a subclass."""
        module, name = cls.socket_class
        # The module of an existing socket has been imported; it is not imported for this.
        owner = getattr(sys.modules.get(module), name, None)
        return isinstance(owner, type) and isinstance(socket, owner)

    # What a transport provides.

    def is_open(self) -> bool:
        """Return whether neither side has begun to close."""
        raise NotImplementedError

    def codes(self) -> tuple[int | None, str, int | None]:
        """Return the received close code, its reason, and the sent close code."""
        raise NotImplementedError

    def unread(self) -> int:
        """Return how many frames the library holds that the app has not asked for."""
        raise NotImplementedError

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call something later; return what cancels it."""
        raise NotImplementedError

    def is_abandoned(self) -> bool:
        """Return whether nobody can ever use the socket again, although nobody closed it."""
        return False

    def closed_errors(self) -> tuple[type[BaseException], ...]:
        """Return what the receive method raises once the connection is closed."""
        return ()

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        """Return what is called with each result of the receive method.

        Args:
            received: What is to be called with each frame.
        """
        return received

    def whole_message(self, message: Any, args: Any, kwargs: Any) -> Frame | None:
        """Return the frame that a call of a send method sends; ``None`` if it is not a whole one.

        Not asked for a ``str``, which is one in every library. It must not raise for what the
        library accepts.

        Args:
            message: First argument of the call.
            args: Its other positional arguments.
            kwargs: Its keyword arguments.
        """
        if isinstance(message, BUFFERS):
            return bytes(message)
        return message if isinstance(message, str) else None

    def note_close(self, args: Any, kwargs: Any) -> None:
        """Note how the close method is called, by the app or by the library itself.

        Args:
            args: Positional arguments of the call.
            kwargs: Its keyword arguments.
        """

    def is_internal_close(self) -> bool:
        """Return whether the library is calling its own close method, e.g. to answer the server."""
        return False

    # Where frames go. This is paid for each frame, so once the sink has decided, its own calls are
    # the only ones that are left.

    def undecided_calls(self) -> Calls:
        """Return calls that pass frames on and then ask the sink whether it keeps the socket."""
        sink = self.link.sink
        received, sent = self._then_ask(sink.received), self._then_ask(sink.sent)
        return sink.before_receive, self.listener(received), sent

    def mute(self) -> None:
        """Let replaced methods pass through that are still running or referred to."""
        self.redirect((_nothing, _ignore, _ignore))

    def _then_ask(self, call: Callable[[Frame], None]) -> Callable[[Frame], None]:
        def call_and_ask(frame: Frame) -> None:
            call(frame)
            if self._asks > 0:
                self._ask()

        return call_and_ask

    @walled
    def _ask(self) -> None:
        asks, self._asks = self._asks - 1, 0  # a sink that raises is not asked again
        if self.link.sink.released():
            self.release()
        elif asks > 0:
            self._asks = asks
        else:
            before_receive, received, sent = self.link.sink.calls()
            self.redirect((before_receive, self.listener(received), sent))

    # What the replaced methods call.

    @walled
    def close_begins(self, args: Any, kwargs: Any) -> bool:
        """Note a call of the socket's ``close``.

        Args:
            args: Positional arguments of the call.
            kwargs: Its keyword arguments.

        Returns:
            Whether it is the app that closes; ``close_ends`` must be called then.
        """
        self.note_close(args, kwargs)
        if self.is_internal_close() or self.link.is_replaced_by_sdk():
            return False
        if not self._closing and not self.link.ended:
            self._closed_by_client = self._closed_by_client or self.is_open()
            library = self.socket_class[0].partition(".")[0]
            self._error = self._error or exit_error({library, *self.block_libraries})
        self._closing += 1
        return True

    @walled
    def close_ends(self) -> None:
        """Note that the app's call of ``close`` is over, however it went."""
        self._closing -= 1
        self.end()

    @walled
    def recv_failed(self) -> None:
        """Note that ``recv`` tells the app that the connection is closed."""
        self._failed = True
        if self._closing:
            return  # close() ends the conversation, in the task that closes
        if not self.link.reconnects:
            self.end()
        elif not self.link.is_replaced_by_sdk():
            # The SDK's iteration calls its reconnect before anything else can run; when it
            # does not, the exception went to the app or ended the iteration.
            self._check_later(self.grace_s, self.unread())

    @walled
    def lost(self) -> None:
        """Note that the transport is gone, seen by the library and perhaps by nobody else."""
        if self._closing or self._failed or self.link.ended:
            return
        unread = self.unread()
        if unread or self.link.reconnects:
            self._check_later(UNREAD_S, unread)
        elif self.grace_s:
            self._check_later(self.grace_s, unread)
        else:
            self.end()

    @walled
    def abandoned(self) -> None:
        """Note that the app left without closing: that is its way to end it, and not an error."""
        self._closed_by_client = True
        self.end()

    def end(self) -> None:
        """End the conversation with this socket, unless another one carries it by now."""
        self._cancel_check()
        if self.link.socket is not self:
            return
        close = self.close()
        self._error = None  # its traceback holds the app's frames
        self.link.end(close)
        self._hear_no_more()

    def close(self) -> Close:
        """Return how this socket has closed."""
        received_code, received_reason, sent_code = self.codes()
        return Close(
            received_code=received_code,
            received_reason=received_reason,
            sent_code=sent_code,
            by_client=self._closed_by_client,
            error=self._error,
        )

    def _hear_no_more(self) -> None:
        """Ignore frames from now on: what is sent in vain belongs to no conversation any more."""
        self.redirect((self.link.sink.before_receive, self.listener(_ignore), _ignore))

    def release(self) -> None:
        """Remove the tap; the socket is as the library made it."""
        self._cancel_check()
        self.link.drop()
        self.mute()
        self.patches.undo()

    def _check_later(self, delay_s: float, unread: int) -> None:
        self._cancel_check()
        self._cancel_check = self.later(delay_s, functools.partial(self._check, unread))

    @walled
    def _check(self, unread_before: int) -> None:
        if self._closing or self.link.ended or self.link.socket is not self:
            return
        unread = self.unread()
        if self.link.reconnecting or unread != unread_before:
            self._check_later(UNREAD_S, unread)
        else:
            self.end()


def tap_of(socket: object) -> Tap | None:
    """Return the tap on a socket, if it has one."""
    tap = getattr(socket, _MARK, None)
    return tap if isinstance(tap, Tap) else None


def open_link(observer: Observer, handshake: Handshake, *, sdk: bool = False) -> Link | None:
    """Offer an open socket to the observer.

    Args:
        observer: Opens the conversation.
        handshake: The socket's opening handshake.
        sdk: It belongs to a connection object of an SDK.

    Returns:
        The conversation; ``None`` when the observer declines.
    """
    sink = observer.opened(handshake, sdk=sdk)
    return None if sink is None else Link(sink, sdk=sdk)


def end_abandoned() -> None:
    """End the conversations on sockets whose event loop was closed before they were.

    A closed loop runs no callbacks any more, so this has to be called from time to time.
    """
    for link in list(_links):
        tap = link.socket
        if tap is not None and tap.is_abandoned():
            tap.abandoned()


def release_all() -> None:
    """Remove every tap of this process."""
    with _taps_lock:
        taps = list(_taps)
    for tap in taps:
        tap.release()


def forget_after_fork() -> None:
    """Forget the sockets, which are the parent's; called in a fork's child."""
    global _taps_lock
    _taps_lock = threading.Lock()
    _links.clear()


def _nothing() -> None:
    return None


def _ignore(_: object) -> None:
    return None


#: Links that have not ended; strong references, so that none is lost with the app's last one.
_links: set[Link] = set()
_taps: weakref.WeakSet[Tap] = weakref.WeakSet()
_taps_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_after_fork)
