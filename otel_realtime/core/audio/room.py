"""Estimates when the agent is speaking, so that a file from the user is not placed over it.

A file has no time of its own, but what caused it was heard before it, and the answer comes after it.
Between the two there may be room for it. Chunks play one after another from their arrival, until a cut;
a tap gives better times than the wire. This is a simpler model than
:mod:`otel_realtime.core.audio.player`, which keeps learning as long as the call lasts, whereas the user's
audio is placed only once.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS

#: Sounds at most this far apart are one stretch.
_ADJOINS_NS: Final = 100 * NS_PER_MS
#: Number of latest stretches that are kept.
_MOST_RUNS: Final = 256


class Room:
    """The stretches in which the agent is speaking."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._tapped = False

    def add(self, t: int, duration_ns: int, *, tap: bool = False) -> bool:
        """Add audio that arrives, or is played, at ``t``; return whether a new stretch begins."""
        if self._tapped and not tap:
            return False
        self._tapped = tap
        if self._ends and t <= self._ends[-1] + _ADJOINS_NS:
            # Audio from the wire is queued; audio from a tap is played as it comes.
            queued_t = t if tap else max(self._ends[-1], t)
            self._ends[-1] = max(self._ends[-1], queued_t + duration_ns)
            return False
        self._starts.append(t)
        self._ends.append(t + duration_ns)
        if len(self._starts) > _MOST_RUNS:
            del self._starts[0], self._ends[0]
        return True

    def cut(self, t: int) -> None:
        """Note that the audio queued at ``t`` is not heard."""
        if self._ends:
            self._ends[-1] = max(min(self._ends[-1], t), self._starts[-1])

    def caused(self, t: int) -> int:
        """Return when the audio that began by ``t`` has been heard; 0 if there is none."""
        index = bisect_right(self._starts, t)
        return self._ends[index - 1] if index else 0

    def answered(self, t: int) -> int | None:
        """Return when the next stretch after ``t`` begins; None if there is none yet."""
        index = bisect_right(self._starts, t)
        return self._starts[index] if index < len(self._starts) else None

    def start(self, t: int, duration_ns: int) -> int:
        """Return where a file begins that was sent at ``t``: at its send if there is room from there on."""
        answered = self.answered(t)
        return max(t if answered is None else min(t, answered - duration_ns), self.caused(t), 0)

    def is_taken(self, start: int, end: int) -> bool:
        """Return whether the agent speaks between two times, not counting 100 ms at either edge."""
        index = bisect_right(self._starts, end - _ADJOINS_NS)
        return bool(index) and self._ends[index - 1] > start + _ADJOINS_NS
