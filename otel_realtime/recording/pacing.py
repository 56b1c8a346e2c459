"""Limits how long background work delays the app's event loop.

A thread that runs Python without a pause keeps the GIL for up to ``sys.getswitchinterval()`` (5 ms)
whenever another thread wants it (https://docs.python.org/3/library/sys.html#sys.setswitchinterval).
Background work is therefore done in slices of about a millisecond, with a real sleep after each slice:
after merely releasing the GIL, the thread would mostly acquire it again at once.
"""

from __future__ import annotations

# Bound at import: a test of the app that patches ``time.sleep`` must not affect our threads.
from time import perf_counter, sleep
from typing import Final

#: Duration of a slice, and of the sleep after it.
SLICE_S: Final = 0.001
REST_S: Final = 0.0005


class Pacer:
    """Sleeps whenever a slice of work is used up; used by one thread."""

    def __init__(self) -> None:
        self._end = perf_counter() + SLICE_S

    def due(self) -> bool:
        """Return whether the slice is used up."""
        return perf_counter() >= self._end

    def rest(self) -> None:
        """Sleep and begin a new slice."""
        sleep(REST_S)
        self._end = perf_counter() + SLICE_S

    def step(self) -> None:
        """Rest if the slice is used up; call it between small pieces of work."""
        if perf_counter() >= self._end:
            self.rest()
