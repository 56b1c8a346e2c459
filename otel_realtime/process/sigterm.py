"""``Settings.end_on_sigterm``: end conversations on SIGTERM, then call the previous handler.

By default SIGTERM kills a Python process without running ``atexit``, so a rolling deployment would
lose the end of each call. Python runs signal handlers on the main thread between two bytecode
instructions (https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers),
possibly while that thread holds one of our locks. A handler that took the lock would deadlock.
Conversations are therefore ended on a separate thread, for which the handler waits a bounded time.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)

#: Longest wait for the end of conversations before the app's own handler is called.
END_S: Final = 1.0
_THREAD: Final = "otel-realtime-sigterm"

# What ``signal.getsignal`` returns.
_Handler = Callable[[int, FrameType | None], object] | int | None


class SigtermWatch:
    """The SIGTERM handler of a process.

    It is installed once, and does not replace a handler that the app installs afterwards.

    Args:
        end: ends all conversations.
        deliver: delivers what is pending, in bounded time; called only if the process would
            otherwise die at once.
    """

    def __init__(self, end: Callable[[], None], deliver: Callable[[], None]) -> None:
        self._end = end
        self._deliver = deliver
        self._previous: _Handler = None
        self._installed = False

    def install(self) -> None:
        """Install the handler; on any thread but the main one, only log a warning."""
        if self._installed:
            return
        if threading.current_thread() is not threading.main_thread():
            diagnostics.warn_once(
                "sigterm",
                "ignoring end_on_sigterm: Python installs signal handlers on the main thread only; "
                "call otel_realtime.instrument() there",
                log=logger,
            )
            return
        previous = signal.getsignal(signal.SIGTERM)
        if previous is signal.SIG_IGN or previous is None:
            return  # SIGTERM is ignored, or handled by C code that Python cannot call
        self._previous = previous
        self._installed = True
        signal.signal(signal.SIGTERM, self._handle)

    def uninstall(self) -> None:
        """Restore the previous handler, unless another one was installed since."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._previous)
        self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous
        if callable(previous):
            thread = self._start(self._end)
            if thread is not None:
                thread.join(END_S)
            previous(number, frame)
            return
        # No handler of the app: the process is to die. A second SIGTERM kills it at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._start(self._end_and_die) is None:
            os.kill(os.getpid(), signal.SIGTERM)

    def _start(self, work: Callable[[], None]) -> threading.Thread | None:
        thread = threading.Thread(target=work, name=_THREAD, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down: ``atexit`` ends the conversations
            return None
        return thread

    def _end_and_die(self) -> None:
        """End and deliver, then kill the process as the default action would have."""
        try:
            self._end()
            self._deliver()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
