"""Segments: stretches of a source, each with its place in the recording.

Placement creates segments, and rendering reads them. Times are ns since the start of the conversation;
offsets and sizes are bytes of the source.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_realtime.core.audio.formats import PCM16, AudioFormat

#: Offset of audio that never reached the source (a hole): it takes up time and is silent.
LOST: Final = -1

#: Later than anything in a recording.
TIME_END_NS: Final = 2**63
#: Start and end in ns since the start of the conversation; the end is exclusive.
Interval = tuple[int, int]


@dataclass(slots=True)
class Segment:
    """Audio without a gap.

    Attributes:
        start_ns: When it is heard in the recording.
        offset: Where it begins in its source, in bytes; ``LOST`` for a hole.
        size: Its size in bytes.
        format: The format of its bytes.
        position_ns: Where it begins in all audio of its source, heard or not.
        tap: Whether its source is the app's tap instead of the wire.
    """

    start_ns: int
    offset: int
    size: int
    format: AudioFormat
    position_ns: int
    tap: bool = False

    @property
    def end_ns(self) -> int:
        """When its last sample has been played.

        It is computed from the total size, because adding up rounded durations of chunks would drift.
        """
        return self.start_ns + self.format.duration_ns(self.size)

    def is_continued_by(self, offset: int, audio_format: AudioFormat) -> bool:
        """Return whether audio at ``offset`` that is placed at the end merely extends the segment."""
        # Identity first: the formats are nearly always the same object, and this runs per frame.
        if audio_format is not self.format and audio_format != self.format:
            return False
        if self.offset == LOST:
            return offset == LOST
        return offset == self.offset + self.size

    def before(self, t: int) -> Segment:
        """Return the samples that have been completely played by ``t``; the size may be 0."""
        size = min(self.format.size(max(t - self.start_ns, 0)), self.size)
        return replace(self, size=size)

    def after(self, t: int) -> Segment:
        """Return the samples that begin at ``t`` or later; the size may be 0."""
        skipped = self.format.size(max(t - self.start_ns, 0))
        # ``size`` rounds down: a sample that began before ``t`` is skipped as well.
        if self.start_ns + self.format.duration_ns(skipped) < t:
            skipped += self.format.width
        skipped = min(skipped, self.size)
        skipped_ns = self.format.duration_ns(skipped)
        return replace(
            self,
            start_ns=self.start_ns + skipped_ns,
            offset=self.offset if self.offset == LOST else self.offset + skipped,
            size=self.size - skipped,
            position_ns=self.position_ns + skipped_ns,
        )


def exclude_intervals(segments: Iterable[Segment], intervals: Sequence[Interval]) -> list[Segment]:
    """Return the segments without the samples that are heard during one of the intervals.

    Args:
        segments: Any segments.
        intervals: Ordered and disjoint.
    """
    kept: list[Segment] = []
    for segment in segments:
        rest = segment
        for start, end in _touching(segment, intervals):
            before, rest = rest.before(start), rest.after(end)
            if before.size:
                kept.append(before)
        if rest.size:
            kept.append(rest)
    return kept


def clip_to_intervals(segments: Iterable[Segment], intervals: Sequence[Interval]) -> list[Segment]:
    """Return the samples of the segments that are heard during one of the intervals.

    Args:
        segments: Any segments.
        intervals: Ordered and disjoint.
    """
    kept = []
    for segment in segments:
        for start, end in _touching(segment, intervals):
            part = segment.after(start) if segment.start_ns < start else segment
            part = part.before(end) if part.end_ns > end else part
            if part.size:
                kept.append(part)
    return kept


def _touching(segment: Segment, intervals: Sequence[Interval]) -> Iterator[Interval]:
    """Yield the intervals during which any of a segment is heard."""
    end_ns = segment.end_ns
    index = bisect_right(intervals, segment.start_ns, key=lambda interval: interval[1])
    while index < len(intervals) and intervals[index][0] < end_ns:
        yield intervals[index]
        index += 1


def order_without_overlap(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments by time; a segment that would begin during another begins at its end."""
    ordered: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: segment.start_ns):
        end = ordered[-1].end_ns if ordered else 0
        ordered.append(replace(segment, start_ns=end) if segment.start_ns < end else segment)
    return ordered


class DurationCounter:
    """Counts the duration of all audio of a source, across changes of its format.

    Bytes are counted and converted as a whole, so that rounding does not accumulate.

    Attributes:
        total_ns: Duration so far.
        format: The format that :meth:`add` counts in.
    """

    __slots__ = ("_base_ns", "_bytes", "format", "total_ns")

    def __init__(self) -> None:
        self.total_ns = 0
        self.format = PCM16
        self._base_ns = 0  # duration in earlier formats
        self._bytes = 0  # size in the current format

    def add(self, size: int) -> int:
        """Add ``size`` bytes; return where they begin, in ns."""
        position = self.total_ns
        self._bytes += size
        self.total_ns = self._base_ns + self.format.duration_ns(self._bytes)
        return position

    def set_format(self, audio_format: AudioFormat) -> None:
        """Count in another format from now on."""
        self.format = audio_format
        self._base_ns = self.total_ns
        self._bytes = 0
