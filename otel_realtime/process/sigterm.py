"""``Settings.end_on_sigterm``: end conversations on SIGTERM, then call the previous handler.

By default SIGTERM kills a Python process without running ``atexit``, so a rolling deployment would
lose the end of each call. Python runs signal handlers on the main thread between two bytecode
instructions (https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers),
possibly while that thread holds one of our locks. A handler that took the lock would deadlock.
Conversations are therefore ended on a separate thread, for which the handler waits a bounded time.

Servers install their own handlers, before or after ours, and behave differently:

| server | handler | after its shutdown |
| --- | --- | --- |
| uvicorn | while it serves | restores the handler it found, and raises the signal once more |
| gunicorn | in a worker, after the fork | as uvicorn, which runs in its worker |
| hypercorn, an ``asyncio`` app | ``loop.add_signal_handler`` | restores the default action, and exits |
| hypercorn's workers | none: the parent tells them to stop | exits, without ``atexit`` |
| Celery, billiard | in a pool process, after the fork | raises ``SystemExit`` in the task |

So each of our handlers is a *link*: it knows the handler before it. If another handler has been installed
by the time a conversation opens, a second link is put on top of it. A handler that calls the one it
replaced calls the lower link, never the higher one, so there is no cycle. Once the signal has arrived and
the app's handler runs, restoring the default action would let the next signal, which uvicorn raises itself,
kill the process; so a link is installed instead, which delivers first.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable
from functools import partial, wraps
from types import FrameType
from typing import Any, Final

from otel_realtime import diagnostics
from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)

#: Longest wait for the end of conversations before the app's own handler is called.
END_S: Final = 1.0
_THREAD: Final = "otel-realtime-sigterm"

# Type of what ``signal.getsignal`` returns.
_Handler = Callable[[int, FrameType | None], object] | int | None


class SigtermWatch:
    """The SIGTERM handling of a process.

    Args:
        end: ends all conversations.
        deliver: delivers what is pending, in bounded time.
    """

    def __init__(self, end: Callable[[], None], deliver: Callable[[], None]) -> None:
        self._end = end
        self._deliver = deliver
        # Weak references: a link lives as long as it is the handler or a later handler refers to it.
        self._links: weakref.WeakSet[_Link] = weakref.WeakSet()
        self._installed = False
        self._guard: Callable[..., Any] | None = None
        self._set_handler = signal.signal

    def install(self) -> None:
        """Install our handler on top, unless it is there; on threads other than the main one, only check.

        This is called again when a conversation opens: a server may have installed its own since.
        """
        current: _Handler = signal.getsignal(signal.SIGTERM)
        if self._is_ours(current) or current is signal.SIG_IGN or current is None:
            return  # our handler, ignored, or a handler in C code that Python cannot call
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._link(current))
            self._installed = True
        elif not self._installed or current is signal.SIG_DFL:
            diagnostics.warn_once(
                "sigterm",
                "ignoring end_on_sigterm: Python installs signal handlers on the main thread only; "
                "call otel_realtime.instrument() there, in each process that holds conversations",
                log=logger,
            )

    def uninstall(self) -> None:
        """Restore the previous handler, unless another one has been installed since."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = False
        if self._guard is not None and signal.signal is self._guard:
            signal.signal, self._guard = self._set_handler, None
        # From now on, a link that another handler still refers to only passes the signal on.
        for link in list(self._links):
            link.passes_on = True
        current: _Handler = signal.getsignal(signal.SIGTERM)
        if isinstance(current, _Link) and current in self._links:
            while isinstance(current, _Link):
                current = current.previous
            signal.signal(signal.SIGTERM, current)
        self._links.clear()

    def _is_ours(self, handler: _Handler) -> bool:
        return isinstance(handler, _Link) and handler in self._links

    def _link(self, previous: _Handler) -> _Link:
        link = _Link(self._arrived, previous)
        self._links.add(link)
        return link

    def _arrived(self, number: int, frame: FrameType | None, previous: _Handler) -> None:
        """Handle the signal on the main thread, for one link."""
        if callable(previous):
            self._guard_default()
            ended = threading.Event()
            if self._start(partial(self._end_and_deliver, ended)):
                ended.wait(END_S)
            previous(number, frame)
            return
        # The app has no handler, so the process must die. A second SIGTERM kills it at once.
        self._set_handler(signal.SIGTERM, signal.SIG_DFL)
        if not self._start(self._end_and_die):
            os.kill(os.getpid(), signal.SIGTERM)

    def _guard_default(self) -> None:
        """From now on, install a link whenever the default action is restored.

        Nothing else could keep the process alive for a delivery: a handler that waited for it would
        block the app's event loop and its server's shutdown.
        """
        if self._guard is not None:
            return
        self._set_handler = original = signal.signal

        @wraps(original)
        def set_handler(signalnum: int, handler: Any) -> Any:
            if signalnum == signal.SIGTERM and handler == signal.SIG_DFL and self._installed:
                handler = self._link(signal.SIG_DFL)
            return original(signalnum, handler)

        signal.signal = self._guard = set_handler

    def _start(self, work: Callable[[], None]) -> bool:
        # Not a daemon thread: when the main function of a ``multiprocessing`` child (such as a hypercorn
        # worker) returns meanwhile, the child waits for non-daemon threads only; it runs no ``atexit``.
        thread = threading.Thread(target=work, name=_THREAD, daemon=False)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down: ``atexit`` ends the conversations
            return False
        return True

    def _end_and_deliver(self, ended: threading.Event) -> None:
        """End the conversations, then deliver while the app's own handler runs."""
        try:
            self._end()
        finally:
            ended.set()
        self._deliver()

    def _end_and_die(self) -> None:
        """End the conversations and deliver, then kill the process as the default action would have."""
        try:
            self._end()
            self._deliver()
        finally:
            if (
                threading.main_thread().is_alive()
            ):  # otherwise the process exits by itself, with its own exit code
                os.kill(os.getpid(), signal.SIGTERM)


class _Link:
    """A handler that knows the one before it.

    Args:
        arrived: called with the signal, the frame, and the handler before this one.
        previous: the handler before this one.

    Attributes:
        previous: as given.
        passes_on: whether it was uninstalled and only does what the handler before it would do.
    """

    def __init__(
        self, arrived: Callable[[int, FrameType | None, _Handler], None], previous: _Handler
    ) -> None:
        self._arrived = arrived
        self.previous = previous
        self.passes_on = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal, on the main thread."""
        if not self.passes_on:
            self._arrived(number, frame, self.previous)
        elif callable(self.previous):
            self.previous(number, frame)
        elif self.previous == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
