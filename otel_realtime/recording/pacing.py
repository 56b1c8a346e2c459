"""Being a polite neighbour of the app's event loop.

A thread that runs Python without a pause keeps the interpreter lock for up to
``sys.getswitchinterval()`` (5 ms) whenever the app's loop wants it. Background work therefore
comes in slices of about a millisecond with a real sleep after each: giving the lock up without
sleeping would mostly take it right back.
"""

from __future__ import annotations

# Bound here: an app's test that replaces ``time.sleep`` means its own calls.
from time import perf_counter, sleep
from typing import Final

SLICE_S: Final = 0.001
REST_S: Final = 0.0005


class Pacer:
    """Rests whenever a slice of work is used up."""

    def __init__(self) -> None:
        self._end = perf_counter() + SLICE_S

    def due(self) -> bool:
        """Whether the slice is used up."""
        return perf_counter() >= self._end

    def rest(self) -> None:
        """Sleep a moment and begin a new slice."""
        sleep(REST_S)
        self._end = perf_counter() + SLICE_S

    def step(self) -> None:
        """Rest if it is time to; to be called between small pieces of work."""
        if perf_counter() >= self._end:
            self.rest()
