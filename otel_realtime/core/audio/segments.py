"""Stretches of a source that sit at one place of the recording.

Placement writes them, render reads them. Times are nanoseconds since the conversation's start;
offsets and sizes are bytes of the side's source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_realtime.core.audio.formats import PCM16, AudioFormat

LOST: Final = -1
"""Offset of audio that never reached the source (a hole): it takes time and is silent."""


@dataclass(slots=True)
class Segment:
    """Audio without a gap: ``size`` bytes of the source from ``offset``, heard from ``start_ns``.

    ``position_ns`` is where it begins in all the audio of its source, heard or not. Ends are
    computed from the whole size, so a long segment does not drift. With ``tap`` the source is not
    the side's wire but what the app gave.
    """

    start_ns: int
    offset: int
    size: int
    format: AudioFormat
    position_ns: int
    tap: bool = False

    @property
    def end_ns(self) -> int:
        """When the last sample has been played."""
        return self.start_ns + self.format.duration_ns(self.size)

    def goes_on(self, offset: int, audio_format: AudioFormat) -> bool:
        """Whether audio at this offset that starts at the end simply continues the segment."""
        if audio_format is not self.format and audio_format != self.format:
            return False
        if self.offset == LOST:
            return offset == LOST
        return offset == self.offset + self.size

    def before(self, t: int) -> Segment:
        """What of it has been played whole by ``t``; its size may be 0."""
        size = min(self.format.size(max(t - self.start_ns, 0)), self.size)
        return replace(self, size=size)

    def after(self, t: int) -> Segment:
        """What of it begins at ``t`` or later; its size may be 0."""
        skipped = self.format.size(max(t - self.start_ns, 0))
        if self.start_ns + self.format.duration_ns(skipped) < t:
            skipped += self.format.width
        skipped = min(skipped, self.size)
        past = self.format.duration_ns(skipped)
        return replace(
            self,
            start_ns=self.start_ns + past,
            offset=self.offset if self.offset == LOST else self.offset + skipped,
            size=self.size - skipped,
            position_ns=self.position_ns + past,
        )


def without(segments: Iterable[Segment], spans: Sequence[tuple[int, int]]) -> list[Segment]:
    """The segments with everything taken out that sounds within any of the spans (ns)."""
    left = list(segments)
    for start, end in spans:
        kept: list[Segment] = []
        for segment in left:
            if segment.end_ns <= start or segment.start_ns >= end:
                kept.append(segment)
            else:
                kept += [part for part in (segment.before(start), segment.after(end)) if part.size]
        left = kept
    return left


def within(segments: Iterable[Segment], spans: Sequence[tuple[int, int]]) -> list[Segment]:
    """What of the segments sounds within spans (ns) that are in order and disjoint."""
    kept = []
    for segment in segments:
        for start, end in spans:
            if segment.start_ns < end and segment.end_ns > start:
                part = segment.after(start) if segment.start_ns < start else segment
                part = part.before(end) if part.end_ns > end else part
                if part.size:
                    kept.append(part)
    return kept


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Segments by time; one that would begin within another begins at its end."""
    ordered: list[Segment] = []
    for segment in sorted(segments, key=lambda found: found.start_ns):
        end = ordered[-1].end_ns if ordered else 0
        ordered.append(replace(segment, start_ns=end) if segment.start_ns < end else segment)
    return ordered


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
