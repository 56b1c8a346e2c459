"""Opening handshakes: which sockets are Realtime sockets, and what is reported about their opening.

A transport lists how its library opens sockets. The methods that do so are wrapped. When one of them
returns, the socket is offered to the observer if the observer accepts its request path, and tapped if the
observer returns a sink. For any other socket only the path is checked.

An object that does not look like the library's own socket (most likely a stand-in from an app's tests)
is left alone, without a log line.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from otel_realtime.credentials import QUERY_KEYS
from otel_realtime.diagnostics import walled, warn_once
from otel_realtime.tap.interface import Handshake, Observer
from otel_realtime.tap.link import Tap, joining, open_link, tap_of
from otel_realtime.tap.owners import opening_owner
from otel_realtime.tap.patches import Instrumentation, Method

Started = tuple[int, int]
"""When a handshake began: wall time and monotonic time, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a socket requested from its server.

    Attributes:
        path: Path of the URL.
        query: Query of the URL, encoded.
        host: Host of the server, as the app named it.
        port: Port of the server; ``None`` if unknown.
    """

    path: str
    query: str
    host: str
    port: int | None

    def is_sound(self) -> bool:
        """Return whether the values have the right types; those of a mock do not."""
        texts = (self.path, self.query, self.host)
        return all(isinstance(text, str) for text in texts) and isinstance(self.port, int | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One way in which a library opens sockets.

    Attributes:
        owner: Module and name of the class whose method opens the socket.
        method: Name of the method. It returns the socket, or ``None`` if it is a method of the
            socket itself.
        tap: Class that taps the sockets; the method is a coroutine if the sockets' methods are.
        request: Returns the request of an open socket, or ``None`` if it is not available.
        asked: Returns the request from the arguments of the method (the socket, then the others),
            for a library whose sockets do not store their URL.
        constructs: Whether the method is the socket's constructor, and so not a coroutine.
        started: Returns when the handshake began, if that is before the method is called. If it
            is ``None`` or returns ``None``, the handshake began with the call.
        failed_request: Returns the request of a handshake that failed, from the method's ``self``,
            the exception, and the other arguments. It also returns ``None`` for a failure that the
            app does not see.
        status: Dotted path to the HTTP status of the answer in the exception.
    """

    owner: tuple[str, str]
    method: str
    tap: type[Tap]
    request: Callable[[Any], Request | None]
    failed_request: Callable[..., Request | None]
    status: str
    asked: Callable[..., Request | None] | None = None
    constructs: bool = False
    started: Callable[[], Started | None] | None = None

    def request_of(self, socket: object) -> Request | None:
        """Return the request of a socket; ``None`` unless it is an open socket of this library."""
        request = self.request(socket) if self.tap.fits(socket) else None
        return request if request is not None and request.is_sound() else None

    def request_by(self, socket: object, args: Any, kwargs: Any) -> Request | None:
        """Return the request of a socket of this library's class, even if it cannot be tapped.

        Args:
            socket: The socket.
            args: Positional arguments with which it was opened.
            kwargs: Keyword arguments with which it was opened.
        """
        if not self.tap.is_of_class(socket):
            return None
        try:
            asked = (
                self.request(socket) if self.asked is None else self.asked(socket, *args, **kwargs)
            )
        except Exception:  # noqa: BLE001 - a stand-in, or an unknown version of the library
            return None
        return asked if asked is not None and asked.is_sound() else None


class Transport(Instrumentation):
    """The client sockets of one library.

    Args:
        openings: Every way in which the library opens them.
    """

    def __init__(self, *openings: Opening) -> None:
        super().__init__(
            *(
                Method(*opening.owner, opening.method, functools.partial(self._wrap, opening))
                for opening in openings
            )
        )
        self._openings = openings

    def attach(self, socket: object, observer: Observer, *, sdk_owned: bool) -> Tap | None:
        """Tap a socket that is already open.

        Args:
            socket: Any object.
            observer: Opens the conversation.
            sdk_owned: Whether the socket belongs to a connection object of an SDK.

        Returns:
            The tap; ``None`` if the object is not a socket of this library or the observer declines.
        """
        for opening in self._openings:
            request = opening.request_of(socket)
            if request is not None:
                link = open_link(observer, _handshake(request, now()), sdk=sdk_owned)
                return None if link is None else opening.tap(socket, link)
        return None

    def _wrap(self, opening: Opening, original: Callable[..., Any]) -> Callable[..., Any]:
        is_coroutine = opening.tap.asynchronous and not opening.constructs
        wrap = self._wrap_async if is_coroutine else self._wrap_sync
        return functools.wraps(original)(wrap(opening, original))

    def _wrap_async(
        self, opening: Opening, original: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        async def connect(owner: Any, /, *args: Any, **kwargs: Any) -> Any:
            started = now()
            try:
                socket = await original(owner, *args, **kwargs)
            except Exception as error:
                self._refused(opening, started, error, owner, args, kwargs)
                raise
            self._accepted(opening, started, owner if socket is None else socket, args, kwargs)
            return socket

        return connect

    def _wrap_sync(self, opening: Opening, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(owner: Any, /, *args: Any, **kwargs: Any) -> Any:
            started = now()
            try:
                socket = original(owner, *args, **kwargs)
            except Exception as error:
                self._refused(opening, started, error, owner, args, kwargs)
                raise
            self._accepted(opening, started, owner if socket is None else socket, args, kwargs)
            return socket

        return connect

    @walled
    def _accepted(
        self, opening: Opening, started: Started, socket: object, args: Any, kwargs: Any
    ) -> None:
        if opening.started is not None:
            started = opening.started() or started
        if self.observer is None or joining.get() or tap_of(socket):
            return
        request = opening.request_by(socket, args, kwargs)
        if request is None or not self.observer.is_realtime(request.path):
            return
        if not opening.tap.fits(socket):
            _warn_of_shape(opening, socket)
            return
        link = open_link(self.observer, _handshake(request, started))
        if link is not None:
            opening.tap(socket, link)

    @walled
    def _refused(
        self,
        opening: Opening,
        started: Started,
        error: Exception,
        owner: object,
        args: Any,
        kwargs: Any,
    ) -> None:
        request = opening.failed_request(owner, error, *args, **kwargs)
        self.refuse(request, started, error, _status(error, opening.status))

    def refuse(
        self, request: Request | None, started: Started, error: Exception, status: int | None
    ) -> None:
        """Report a handshake that failed, if it was for a Realtime socket.

        Args:
            request: What was requested; ``None`` if unknown.
            started: When the handshake began.
            error: The exception that the app gets.
            status: HTTP status of the answer; ``None`` if there was no answer.
        """
        if self.observer is None or joining.get():
            return
        if request is None or not request.is_sound():
            return
        if self.observer.is_realtime(request.path):
            self.observer.refused(_handshake(request, started, error, status))


def now() -> Started:
    """Return the wall time and the monotonic time of this moment."""
    return time.time_ns(), time.monotonic_ns()


def _handshake(
    request: Request, started: Started, error: Exception | None = None, status: int | None = None
) -> Handshake:
    started_ns, mono_ns = started
    query = {key: value for key, value in parse_qsl(request.query) if key in QUERY_KEYS}
    return Handshake(
        path=request.path,
        query=query,
        host=request.host,
        port=request.port,
        started_ns=started_ns,
        mono_ns=mono_ns,
        status=status,
        error=error,
        owner=opening_owner.get(),
    )


def _warn_of_shape(opening: Opening, socket: object) -> None:
    """Warn once that a library's own socket cannot be tapped; an app's stand-in is ignored."""
    kind, library = type(socket), opening.owner[0].partition(".")[0]
    if kind.__module__.partition(".")[0] == library:
        warn_once(
            ("shape", kind.__module__, kind.__qualname__),
            "this version of %s has sockets that we do not know: its Realtime conversations are not "
            "traced; report their frames with conversation()'s received() and sent()",
            library,
        )


def _status(error: Exception, path: str) -> int | None:
    """Return the HTTP status of the server's answer; ``None`` if it did not answer."""
    status: object = error
    for name in path.split("."):
        status = getattr(status, name, None)
    return status if isinstance(status, int) else None
