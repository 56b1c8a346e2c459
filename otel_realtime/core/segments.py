"""Stretches of a source that sit at one place of the recording.

Placement writes them, render reads them. Times are nanoseconds since the conversation's start;
offsets and sizes are bytes of the side's source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.core.codecs import PCM16, AudioFormat

LOST: Final = -1
"""Offset of audio that never reached the source (a hole): it takes time and is silent."""


@dataclass(slots=True)
class Segment:
    """Audio without a gap: ``size`` bytes of the source from ``offset``, heard from ``start_ns``.

    ``position_ns`` is where it begins in all the audio of its side, heard or not. Ends are
    computed from the whole size, so a long segment does not drift.
    """

    start_ns: int
    offset: int
    size: int
    format: AudioFormat
    position_ns: int

    @property
    def end_ns(self) -> int:
        """When the last sample has been played."""
        return self.start_ns + self.format.duration_ns(self.size)

    def joins(self, start_ns: int, offset: int, audio_format: AudioFormat) -> bool:
        """Whether audio at this place and offset simply continues the segment."""
        if start_ns != self.end_ns or audio_format != self.format:
            return False
        if self.offset == LOST:
            return offset == LOST
        return offset == self.offset + self.size


class Odometer:
    """How much audio a side has produced, in ns, over changes of its format.

    Attributes:
        total_ns: all audio so far.
        format: what :meth:`add` counts in.
    """

    __slots__ = ("_base_ns", "_bytes", "format", "total_ns")

    def __init__(self) -> None:
        self.total_ns = 0
        self.format = PCM16
        self._base_ns = 0
        self._bytes = 0

    def add(self, size: int) -> int:
        """Count ``size`` bytes and return where they begin; rounding does not add up."""
        before = self.total_ns
        self._bytes += size
        self.total_ns = self._base_ns + self.format.duration_ns(self._bytes)
        return before

    def set_format(self, audio_format: AudioFormat) -> None:
        """Count in another format from here on."""
        self.format = audio_format
        self._base_ns = self.total_ns
        self._bytes = 0
