"""Puts silence or a beep in place of audio that a recording must not contain.

It works on samples that are already placed, so it can neither move nor lengthen anything. A sample is
replaced if any part of its duration lies in a stretch; all other samples stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.redactions import BEEP, SILENCE, Stretch, intervals_of

#: Samples of one channel, shape ``(n,)``: ``int16``, ``int32`` or a float type.
Channel = npt.NDArray[Any]

#: The tone of a beep, as broadcasters use it: 1 kHz, 20 dB below full scale.
BEEP_HZ: Final = 1_000
BEEP_LEVEL: Final = 0.1
#: The beep fades in and out within its stretch, so that it does not click.
FADE_S: Final = 0.005


class Mask:
    """Silences stretches of one channel, block by block.

    Args:
        stretches: Stretches to silence; those of the other side are ignored.
        side: The channel: ``user`` or ``agent``.
        rate_hz: Its sample rate.
    """

    def __init__(self, stretches: Iterable[Stretch], side: str, rate_hz: int) -> None:
        stretches = list(stretches)
        self._rate_hz = rate_hz
        self._beeps = _Ranges(stretches, side, BEEP, rate_hz)
        self._silences = _Ranges(stretches, side, SILENCE, rate_hz)

    def apply(self, block: Channel, start: int) -> None:
        """Mask the part of a block that is to be silenced; blocks come in ascending order.

        Where a beep and a silence overlap, the result is silent.

        Args:
            block: Samples, changed in place.
            start: Index of the first sample in the channel.
        """
        for first, last in self._beeps.within(start, start + len(block)):
            low, high = max(first, start), min(last, start + len(block))
            block[low - start : high - start] = self._tone(first, last, low, high, block.dtype)
        for first, last in self._silences.within(start, start + len(block)):
            block[max(first - start, 0) : last - start] = 0

    def _tone(self, first: int, last: int, low: int, high: int, dtype: npt.DTypeLike) -> Channel:
        """Return samples ``low`` to ``high`` of a beep from ``first`` to ``last``."""
        index = np.arange(low, high)
        edge = np.minimum(index - first, last - 1 - index) / (FADE_S * self._rate_hz)
        wave = np.sin(2 * np.pi * BEEP_HZ / self._rate_hz * index) * np.minimum(edge, 1.0)
        kind = np.dtype(dtype)
        scale = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1.0
        tone: Channel = (wave * (BEEP_LEVEL * scale)).astype(kind)
        return tone


class _Ranges:
    """The samples of one kind of stretch, as ranges that neither overlap nor touch."""

    def __init__(self, stretches: list[Stretch], side: str, how: str, rate_hz: int) -> None:
        self._ranges = [
            (start * rate_hz // NS_PER_S, -(-end * rate_hz // NS_PER_S))
            for start, end in intervals_of(stretches, side, how)
        ]
        self._next = 0  # earlier ranges end before any block that is still to come

    def within(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        """Return the ranges that overlap samples ``start`` to ``end``."""
        while self._next < len(self._ranges) and self._ranges[self._next][1] <= start:
            self._next += 1
        last = self._next
        while last < len(self._ranges) and self._ranges[last][0] < end:
            last += 1
        return self._ranges[self._next : last]
