"""What was heard by the audio that the app gives (``record_agent_audio``): what its speaker plays.

Input: buffers with the time at which they were given, and the parts that have arrived by then.
Output: segments in the tap's own source, and how far the speaker got in each part. The rules:

1. A buffer begins when it is given, or where the one before it ends: a difference below 20 ms is
   jitter of the audio thread.
2. Zeros are silence. They are not placed, they only show that the speaker runs; within a part they
   count as its own silence, unless it was cut.
3. A buffer belongs to the item that the app names. Without a name, items are taken to play in order
   of arrival, each for its whole length.
4. A cut flushes what is queued: sound that begins anew after it belongs to the first response that
   arrived later.
5. A buffer that would begin more than one second after it is given shows that the app gives what it
   queues, not what it plays: the tap is rejected for the rest of the call.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.parts import Part
from otel_realtime.core.audio.played_reports import MAX_AHEAD_NS, TAP_TIMEOUT_NS
from otel_realtime.core.audio.segments import TIME_END_NS, DurationCounter, Interval, Segment
from otel_realtime.core.audio.user_side import JITTER_NS


@dataclass(slots=True)
class Progress:
    """How far the speaker got in one part.

    Attributes:
        heard_ns: How much of the part was played, in ns.
        start_ns: When it was first heard, in ns since the start.
        end_ns: When it was last heard.
    """

    heard_ns: int
    start_ns: int
    end_ns: int


class PlayedAudio:
    """Places what the speaker plays and attributes it to parts.

    Attributes:
        segments: What was heard, in order and without overlap, in the tap's own source.
        first_t: Since when the tap rules, in ns since the start; None before its first buffer.
        rejected: Whether it runs ahead of the clock, so that it is not used.
        progress: How far each part was played, by index of the part.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.first_t: int | None = None
        self.rejected = False
        self.progress: dict[int, Progress] = {}
        self._active: list[Interval] = []  # stretches of calls, without pauses of TAP_TIMEOUT_NS
        self._given = DurationCounter()
        self._next_ns = 0  # where the next buffer belongs if there is no jitter
        self._current: int | None = None  # index of the part that plays
        self._zeros_ns = 0  # zeros since its last sound
        self._cut_t: int | None = None

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of the buffers from here on."""
        self._given.set_format(audio_format)

    def cut(self, t: int) -> None:
        """Note that the play-out was cut at ``t``: what is queued will not be played."""
        self._cut_t = t
        self._zeros_ns = 0

    def add(
        self,
        t: int,
        offset: int,
        size: int,
        item_id: str | None,
        parts: Sequence[Part],
        *,
        named: Sequence[int] = (),
        zeros: bool,
    ) -> None:
        """Add a buffer.

        Args:
            t: When it was given, in ns since the start.
            offset: Where it begins in the tap's source, in bytes.
            size: Its size in bytes.
            item_id: The item it belongs to, if the app knows.
            parts: The parts that have arrived by now.
            named: Indices of those of the item.
            zeros: Whether it is silent.
        """
        if self.first_t is None:
            self.first_t = t
            self._begin(t, parts)
        start, position = self._start(t), self._given.add(size)
        duration = self._given.total_ns - position
        self._mark_active(t, start + duration)
        self._next_ns = start + duration
        if zeros:
            self._add_silence(duration, parts)
            return
        self.rejected = self.rejected or start - t > MAX_AHEAD_NS
        after_silence = not self.segments or start - self.segments[-1].end_ns >= JITTER_NS
        self._write(start, offset, size, position)
        if item_id is not None:
            unplayed = (index for index in named if self._remaining_ns(index, parts[index]) > 0)
            self._current = next(unplayed, named[-1] if named else None)
        else:
            self._follow(parts, after_silence=after_silence)
        index = self._current
        if index is not None:
            self._advance(index, parts[index], start, duration)

    def inactive(self, until_t: int, between: Interval = (0, TIME_END_NS)) -> list[Interval]:
        """Return the stretches of at least two seconds without a buffer, from the first one on.

        Args:
            until_t: When the last one ends.
            between: Only those that reach into this interval are of interest.
        """
        if self.first_t is None:
            return []
        since_t, before_t = between
        active = self._active
        # The gap before each stretch of calls, and the one after the last.
        first = bisect_left(active, since_t, key=lambda interval: interval[0])
        last = bisect_right(active, before_t, key=lambda interval: interval[1])
        gaps = (
            (
                active[index - 1][1] if index else self.first_t,
                active[index][0] if index < len(active) else until_t,
            )
            for index in range(first, last + 1)
        )
        return [(start, end) for start, end in gaps if end - start >= TAP_TIMEOUT_NS]

    def _begin(self, t: int, parts: Sequence[Part]) -> None:
        """Start with the part that is due; if it has long been due, the tap joins in the middle."""
        for index, part in enumerate(parts):
            if part.segments and part.segments[-1].end_ns > t:
                self._current = index
                due_t = part.segments[0].start_ns
                if t - due_t >= TAP_TIMEOUT_NS:
                    self.progress[index] = Progress(t - due_t, due_t, t)
                else:
                    self.first_t = min(t, due_t)
                return
        self._current = len(parts) - 1 if parts and not parts[-1].segments else None

    def _start(self, t: int) -> int:
        end = self.segments[-1].end_ns if self.segments else 0
        if self._next_ns and abs(t - self._next_ns) < JITTER_NS:
            return max(self._next_ns, end)
        return max(t, end)

    def _mark_active(self, t: int, end: int) -> None:
        if self._active and t - self._active[-1][1] < TAP_TIMEOUT_NS:
            start, previous_end = self._active[-1]
            self._active[-1] = (start, max(previous_end, end))
        else:
            self._active.append((t, end))

    def _write(self, start: int, offset: int, size: int, position: int) -> None:
        audio_format = self._given.format
        last = self.segments[-1] if self.segments else None
        if last and start == last.end_ns and last.is_continued_by(offset, audio_format):
            last.size += size
        else:
            segment = Segment(start, offset, size, audio_format, position, tap=True)
            self.segments.append(segment)

    # --- attribution to parts -------------------------------------------------------------------

    def _follow(self, parts: Sequence[Part], *, after_silence: bool) -> None:
        """Find the part that a buffer with sound belongs to, if the app does not say."""
        if self._cut_t is not None:
            # What sounds on without a pause is the rest of what was cut, still in the device.
            if after_silence:
                self._skip_flushed(parts)
        elif self._current is None or self._remaining_ns(self._current, parts[self._current]) <= 0:
            following = 0 if self._current is None else self._current + 1
            if self._current is None:
                following = self._first_after(self.first_t or 0, parts)
            if following < len(parts):
                self._current = following

    def _skip_flushed(self, parts: Sequence[Part]) -> None:
        """Continue with the first response that arrived after the cut."""
        flushed = parts[self._current].response if self._current is not None else None
        index = self._first_after(self._cut_t or 0, parts)
        while index < len(parts) and parts[index].response is flushed:
            index += 1
        if index < len(parts):
            self._current, self._cut_t = index, None

    @staticmethod
    def _first_after(t: int, parts: Sequence[Part]) -> int:
        return bisect_left(parts, t, key=lambda part: part.first_t)

    def _remaining_ns(self, index: int, part: Part) -> int:
        progress = self.progress.get(index)
        return part.format.duration_ns(part.received) - (progress.heard_ns if progress else 0)

    def _advance(self, index: int, part: Part, start: int, duration: int) -> None:
        remaining = self._remaining_ns(index, part)
        progress = self.progress.get(index)
        if remaining <= 0:
            return
        if progress is None:
            progress = self.progress[index] = Progress(0, start, start)
            self._zeros_ns = 0  # silence before its first sound is not its own
        progress.heard_ns += min(self._zeros_ns + duration, remaining)
        progress.end_ns = start + duration
        self._zeros_ns = 0

    def _add_silence(self, duration: int, parts: Sequence[Part]) -> None:
        progress = self.progress.get(self._current) if self._current is not None else None
        if progress is None or self._current is None or self._cut_t is not None:
            return
        self._zeros_ns += duration
        remaining = self._remaining_ns(self._current, parts[self._current])
        # A part that ends in silence is complete once as much silence has been played.
        if 0 < remaining <= self._zeros_ns:
            progress.heard_ns += remaining
            progress.end_ns += remaining
            self._zeros_ns = 0
