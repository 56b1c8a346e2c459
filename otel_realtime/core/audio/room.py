"""When the agent sounds, roughly and at once: what a file of the user's must not lie over.

A file has no time of its own: what caused it was heard before, and what answers it comes after. Between
the two there may be room for it. Chunks play one after another from their arrival, until a cut; a tap
tells it better than the wire. That is a simpler model than :mod:`otel_realtime.core.audio.player`, which
goes on learning for as long as the call goes on: the user's audio is placed once.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS

#: Sounds so near to one another are one.
_ADJOINS_NS: Final = 100 * NS_PER_MS
#: More of the past is of no concern.
_MOST_RUNS: Final = 256


class Room:
    """The stretches in which the agent sounds."""

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
            # What the wire brings is queued; what a tap reports is played as it comes.
            queued_t = t if tap else max(self._ends[-1], t)
            self._ends[-1] = max(self._ends[-1], queued_t + duration_ns)
            return False
        self._starts.append(t)
        self._ends.append(t + duration_ns)
        if len(self._starts) > _MOST_RUNS:
            del self._starts[0], self._ends[0]
        return True

    def cut(self, t: int) -> None:
        """Apply that what was queued is not heard."""
        if self._ends:
            self._ends[-1] = max(min(self._ends[-1], t), self._starts[-1])

    def caused(self, t: int) -> int:
        """Return when what began by ``t`` has been heard; 0 if nothing has."""
        index = bisect_right(self._starts, t)
        return self._ends[index - 1] if index else 0

    def answered(self, t: int) -> int | None:
        """Return when the next stretch after ``t`` begins; None as long as there is none."""
        index = bisect_right(self._starts, t)
        return self._starts[index] if index < len(self._starts) else None

    def start(self, t: int, duration_ns: int) -> int:
        """Return where a file begins that was sent at ``t``: from its send on, if there is room."""
        answered = self.answered(t)
        return max(t if answered is None else min(t, answered - duration_ns), self.caused(t), 0)

    def is_taken(self, start: int, end: int) -> bool:
        """Return whether the agent sounds at some time between."""
        index = bisect_right(self._starts, end - _ADJOINS_NS)
        return bool(index) and self._ends[index - 1] > start + _ADJOINS_NS
