"""``Settings.end_on_sigterm``: end conversations on SIGTERM, then do what would have happened.

By default SIGTERM kills a Python process without any ``atexit``. Python runs a signal's handler
between two steps of the main thread, perhaps in the middle of one of ours, so conversations are
ended by a thread of its own: it waits for that step, the handler does not wait for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from otel_realtime import diagnostics

logger = logging.getLogger(__name__)

#: Longest wait for the end of conversations before the app's own handler runs.
END_S: Final = 1.0
_THREAD: Final = "otel-realtime-sigterm"


class SigtermWatch:
    """The handler of one process; installed once, and never over a handler that came later.

    Args:
        end: ends all conversations.
        deliver: gets out what is left, in bounded time; only if nothing else of the app will run.
    """

    def __init__(self, end: Callable[[], None], deliver: Callable[[], None]) -> None:
        self._end = end
        self._deliver = deliver
        self._previous: Any = None
        self._installed = False

    def install(self) -> None:
        """Take SIGTERM over; on another thread than the main one only a warning is logged."""
        if self._installed:
            return
        if threading.current_thread() is not threading.main_thread():
            diagnostics.warn_once(
                "sigterm",
                "end_on_sigterm: a signal handler can only be set in the main thread; "
                "call otel_realtime.instrument() there",
                log=logger,
            )
            return
        previous = signal.getsignal(signal.SIGTERM)
        if previous is signal.SIG_IGN or previous is None:
            return  # the process lives on, or the handler is not Python's to call
        self._previous = previous
        self._installed = True
        signal.signal(signal.SIGTERM, self._handle)

    def uninstall(self) -> None:
        """Put the previous handler back, unless somebody set another one since."""
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
        # Whoever sends a second signal means it.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._start(self._end_and_die) is None:
            os.kill(os.getpid(), signal.SIGTERM)

    def _start(self, work: Callable[[], None]) -> threading.Thread | None:
        thread = threading.Thread(target=work, name=_THREAD, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down: atexit does the rest
            return None
        return thread

    def _end_and_die(self) -> None:
        try:
            self._end()
            self._deliver()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
