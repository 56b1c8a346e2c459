"""The replacements of a socket's receive, send and close methods, for coroutines and for threads.

Every transport uses one of the two classes here. Their wrappers run for each frame on the app's own task.
They therefore hold the sink's functions in closure cells, which are cheaper to read than attributes and can
still be redirected, and in the common cases they pass arguments on without packing them.

The app gets exactly what the library returns and raises; frames are reported in between.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextvars import Context
from typing import Any, ClassVar

from otel_realtime.tap import timers
from otel_realtime.tap.interface import Calls
from otel_realtime.tap.link import Link, Tap


class AsyncTap(Tap):
    """One tapped socket whose methods are coroutines."""

    asynchronous = True

    _connection_lost: asyncio.Future[Any] | None = None

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._wrap()
        self._connection_lost = self.connection_lost()
        if self._connection_lost is not None:
            # An empty context: the app's context would be kept alive and be current while the sink closes.
            self._connection_lost.add_done_callback(self._on_connection_lost, context=Context())

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the socket uses."""
        raise NotImplementedError

    def connection_lost(self) -> asyncio.Future[Any] | None:
        """Return a future that completes when the transport is lost, even if the app is not receiving."""
        return None

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        return self.event_loop().call_later(delay_s, call, context=Context()).cancel

    def is_abandoned(self) -> bool:
        return self.event_loop().is_closed()

    def release(self) -> None:
        if self._connection_lost is not None:
            self._connection_lost.remove_done_callback(self._on_connection_lost)
        super().release()

    def _on_connection_lost(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()  # otherwise asyncio logs that the exception was never retrieved
        self.lost()

    def _wrap(self) -> None:
        tap = self
        receive = getattr(self.socket, self.receive_method)
        close_socket = getattr(self.socket, self.close_method)
        closed, whole_message = self.closed_errors(), self.whole_message
        before_receive, received, sent = self.undecided_calls()

        # Receive methods have one optional parameter. It has the name here that websockets uses,
        # because the openai SDK passes it by that name for each frame, and binding it is 0.1 us
        # cheaper than packing it into ``more``. The default ``...`` means that it was not given.
        async def recv(decode: Any = ..., *rest: Any, **more: Any) -> Any:
            before_receive()
            try:
                if rest or more:
                    given = rest if decode is ... else (decode, *rest)
                    result = await receive(*given, **more)
                elif decode is ...:
                    result = await receive()
                else:
                    result = await receive(decode)
            except closed:
                tap.recv_failed()
                raise
            received(result)
            return result

        def sending(transmit: Callable[..., Any], first: str) -> Callable[..., Any]:
            async def send(message: Any = ..., /, *rest: Any, **more: Any) -> Any:
                if isinstance(message, str):
                    sent(message)
                else:
                    given = more.get(first) if message is ... else message
                    frame = whole_message(given, rest, more)
                    if frame is not None:
                        sent(frame)
                if message is ...:
                    return await transmit(**more)
                if rest or more:
                    return await transmit(message, *rest, **more)
                return await transmit(message)

            return send

        async def close(*args: Any, **kwargs: Any) -> Any:
            if not tap.close_begins(args, kwargs):
                return await close_socket(*args, **kwargs)
            try:
                return await close_socket(*args, **kwargs)
            finally:
                tap.close_ends()

        def redirect(calls: Calls) -> None:
            nonlocal before_receive, received, sent
            before_receive, received, sent = calls

        self.redirect = redirect
        _put(self, recv, sending, close)


class SyncTap(Tap):
    """One tapped socket whose methods block the thread that calls them."""

    asynchronous = False
    #: The app's thread may hold the last frame, or may just have been woken to see the end itself.
    grace_s: ClassVar[float] = 0.25

    #: Reports that the app has handled a frame, if that is earlier than its request for the next one.
    asked: Callable[[], None]

    def __init__(self, socket: Any, link: Link) -> None:
        super().__init__(socket, link)
        self._wrap()

    def later(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        return timers.later(delay_s, call)

    def _wrap(self) -> None:
        tap = self
        receive = getattr(self.socket, self.receive_method)
        close_socket = getattr(self.socket, self.close_method)
        closed, whole_message = self.closed_errors(), self.whole_message
        before_receive, received, sent = self.undecided_calls()

        def recv(*args: Any, **kwargs: Any) -> Any:
            before_receive()
            try:
                result = receive(*args, **kwargs)
            except closed:
                tap.recv_failed()
                raise
            received(result)
            return result

        def sending(transmit: Callable[..., Any], first: str) -> Callable[..., Any]:
            def send(message: Any = ..., /, *rest: Any, **more: Any) -> Any:
                if isinstance(message, str):
                    sent(message)
                else:
                    given = more.get(first) if message is ... else message
                    frame = whole_message(given, rest, more)
                    if frame is not None:
                        sent(frame)
                if message is ...:
                    return transmit(**more)
                if rest or more:
                    return transmit(message, *rest, **more)
                return transmit(message)

            return send

        def close(*args: Any, **kwargs: Any) -> Any:
            if not tap.close_begins(args, kwargs):
                return close_socket(*args, **kwargs)
            try:
                return close_socket(*args, **kwargs)
            finally:
                tap.close_ends()

        def redirect(calls: Calls) -> None:
            nonlocal before_receive, received, sent
            before_receive, received, sent = calls

        self.redirect = redirect
        # A lambda, because ``redirect`` may replace the function.
        self.asked = lambda: before_receive()
        _put(self, recv, sending, close)


def _put(
    tap: Tap,
    recv: Callable[..., Any],
    sending: Callable[[Callable[..., Any], str], Callable[..., Any]],
    close: Callable[..., Any],
) -> None:
    """Set the replacements on the socket."""
    replacements = {
        tap.receive_method: recv,
        **{
            name: sending(getattr(tap.socket, name), first)
            for name, first in tap.send_methods.items()
        },
        tap.close_method: close,
    }
    for name, new in replacements.items():
        tap.patches.put(name, functools.wraps(getattr(tap.socket, name))(new))
