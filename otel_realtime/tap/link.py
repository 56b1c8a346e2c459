"""The link between a conversation and its socket, for sockets of all libraries.

A ``Link`` is one conversation: its sink, and the socket that carries it now. A ``Tap`` is one tapped
socket. A link outlives a socket only if an SDK connection replaces the socket (a reconnect).

When a socket is lost, the link ends in the app's own task if possible, because only there can the sink
restore that task's context (https://peps.python.org/pep-0567/):

- the app is inside ``close()``: the link ends at the end of that call, even if it is cancelled;
- the app is inside ``recv()``: it ends when the library's exception leaves that call;
- neither, but frames are still buffered: it ends when the app has read them, or ``UNREAD_S`` after
  the app stopped reading;
- neither, and nothing is left to read: it ends at once.
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

#: How many times a sink is asked whether it releases its socket; sinks decide within a few frames.
MAX_ASKS: Final = 64

#: How long frames of a lost socket may stay unread, and how long an SDK may take to begin its reconnect.
UNREAD_S = 30.0

#: Types of whole messages besides ``str``; others are fragments, which only the library may consume.
BUFFERS: Final = (bytes, bytearray, memoryview)

_MARK = "_otel_realtime_tap"


class Link:
    """One conversation: its sink, the socket that carries it, and its end, which is reported once.

    Attributes:
        sink: Receives the frames.
        socket: The tap of the current socket.
        connection: The SDK connection object that owns the sockets, if any.
        sdk: Whether the sink knows that it belongs to an SDK connection.
        reconnects: Whether the SDK may replace a lost socket, so that its loss is not the end.
        reconnecting: Whether the SDK is replacing the socket now.
        ended: Whether the link has ended and no longer calls the sink.
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
        """Report the end of the connection to the sink, on the first call only."""
        if self.drop():
            self.sink.closed(close)

    def drop(self) -> bool:
        """End without a report; return whether this call ended the link."""
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

    A transport describes its library with the attributes below; ``AsyncTap`` and ``SyncTap`` replace
    the methods that they name. To add a transport, set these attributes and implement the methods
    that read the state of a socket.

    Args:
        socket: The connection object whose methods are replaced.
        link: The conversation that the socket carries from now on.
    """

    #: Module and name of the sockets' class.
    socket_class: ClassVar[tuple[str, str]]
    #: Attributes that the tap reads, some of them private; an object without them is not tapped.
    reads: ClassVar[tuple[str, ...]]
    #: The method that returns the next message; all other receiving methods call it.
    receive_method: ClassVar[str] = "recv"
    #: The methods that send a whole message, with the name of their first parameter.
    send_methods: ClassVar[Mapping[str, str]] = {"send": "message"}
    #: The method that closes the connection.
    close_method: ClassVar[str] = "close"
    #: Whether these methods are coroutines.
    asynchronous: ClassVar[bool]
    #: Top-level packages that have ``with`` blocks around a connection, besides the library itself.
    block_libraries: ClassVar[frozenset[str]] = frozenset({"openai"})
    #: How long a lost socket waits for a reader that may hold its last frame.
    grace_s: ClassVar[float] = 0.0

    #: Sets the functions that get frames from now on; defined when the methods are replaced.
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

        It is not if it is a stand-in from an app's tests: another object, or a subclass that does
        not call the library's ``__init__``.
        """
        methods = (cls.receive_method, *cls.send_methods, cls.close_method)
        return cls.is_of_class(socket) and all(
            hasattr(socket, name) for name in cls.reads + methods
        )

    @classmethod
    def is_of_class(cls, socket: object) -> bool:
        """Return whether an object is an instance of this library's socket class."""
        module, name = cls.socket_class
        # If the socket exists, its module has been imported; this check must not import it.
        owner = getattr(sys.modules.get(module), name, None)
        return isinstance(owner, type) and isinstance(socket, owner)

    # Methods that a transport provides.

    def is_open(self) -> bool:
        """Return whether neither side has begun to close."""
        raise NotImplementedError

    def codes(self) -> tuple[int | None, str, int | None]:
        """Return the received close code, its reason, and the sent close code."""
        raise NotImplementedError

    def unread(self) -> int:
        """Return how many frames the library holds that the app has not yet received."""
        raise NotImplementedError

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        """Call a function later; return a function that cancels it."""
        raise NotImplementedError

    def is_abandoned(self) -> bool:
        """Return whether the socket was never closed but can no longer be used."""
        return False

    def closed_errors(self) -> tuple[type[BaseException], ...]:
        """Return the exceptions that the receive method raises once the connection is closed."""
        return ()

    def listener(self, received: Callable[[Frame], None]) -> Callable[[Any], None]:
        """Return the function to call with each result of the receive method.

        Args:
            received: Function to call with each frame.
        """
        return received

    def whole_message(self, message: Any, args: Any, kwargs: Any) -> Frame | None:
        """Return the message that a call of a send method sends; ``None`` if it is not a whole one.

        It is not called for a ``str``, which is a whole message in every library. It must not raise
        for arguments that the library accepts.

        Args:
            message: First argument of the call.
            args: The other positional arguments of the call.
            kwargs: The keyword arguments of the call.
        """
        if isinstance(message, BUFFERS):
            return bytes(message)
        return message if isinstance(message, str) else None

    def note_close(self, args: Any, kwargs: Any) -> None:
        """Note how the close method is called, by the app or by the library itself.

        Args:
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.
        """

    def is_internal_close(self) -> bool:
        """Return whether the library itself calls the close method, e.g. to answer the server."""
        return False

    # The path of frames. It costs time for every frame, so once the sink has decided, only the sink's
    # own methods are called.

    def undecided_calls(self) -> Calls:
        """Return functions that pass frames on and then ask the sink whether it keeps the socket."""
        sink = self.link.sink
        received, sent = self._then_ask(sink.received), self._then_ask(sink.sent)
        return sink.before_receive, self.listener(received), sent

    def mute(self) -> None:
        """Make replaced methods that still run or are still referenced report nothing."""
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

    # Methods that the replaced methods call.

    @walled
    def close_begins(self, args: Any, kwargs: Any) -> bool:
        """Note a call of the socket's ``close``.

        Args:
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.

        Returns:
            Whether the app closes the socket; if so, ``close_ends`` must be called afterwards.
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
        """Note that the app's call of ``close`` has ended, with or without an exception."""
        self._closing -= 1
        self.end()

    @walled
    def recv_failed(self) -> None:
        """Note that ``recv`` reports to the app that the connection is closed."""
        self._failed = True
        if self._closing:
            return  # close() ends the conversation, in the task that closes
        if not self.link.reconnects:
            self.end()
        elif not self.link.is_replaced_by_sdk():
            # The SDK's iteration calls its reconnect before anything else can run. If it does not,
            # the exception reached the app or ended the iteration.
            self._check_later(self.grace_s, self.unread())

    @walled
    def lost(self) -> None:
        """Note that the transport is lost, which perhaps only the library has noticed."""
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
        """Note that the app left the socket unclosed; this counts as a close by the app, not as an error."""
        self._closed_by_client = True
        self.end()

    def end(self) -> None:
        """End the conversation with this socket, unless another socket carries it by now."""
        self._cancel_check()
        if self.link.socket is not self:
            return
        close = self.close()
        self._error = None  # its traceback keeps the app's stack frames alive
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
        """Ignore frames from now on: frames sent on a closed socket belong to no conversation."""
        self.redirect((self.link.sink.before_receive, self.listener(_ignore), _ignore))

    def release(self) -> None:
        """Remove the tap and restore the socket as the library made it."""
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
    """Return the tap on a socket, or ``None`` if it has none."""
    tap = getattr(socket, _MARK, None)
    return tap if isinstance(tap, Tap) else None


def open_link(observer: Observer, handshake: Handshake, *, sdk: bool = False) -> Link | None:
    """Offer an open socket to the observer.

    Args:
        observer: Opens the conversation.
        handshake: The socket's opening handshake.
        sdk: Whether the socket belongs to a connection object of an SDK.

    Returns:
        The conversation; ``None`` if the observer declines.
    """
    sink = observer.opened(handshake, sdk=sdk)
    return None if sink is None else Link(sink, sdk=sdk)


def end_abandoned() -> None:
    """End the conversations on sockets whose event loop was closed before the sockets were.

    A closed loop runs no more callbacks, so this function must be called from time to time.
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
    """Forget the sockets, which belong to the parent process; called in a forked child."""
    global _taps_lock
    _taps_lock = threading.Lock()
    _links.clear()


def _nothing() -> None:
    return None


def _ignore(_: object) -> None:
    return None


#: Links that have not ended. These are strong references, so a link survives the app's last reference.
_links: set[Link] = set()
_taps: weakref.WeakSet[Tap] = weakref.WeakSet()
_taps_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_after_fork)
