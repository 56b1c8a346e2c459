"""Derives what was heard from the audio that the app's speaker plays (``record_agent_audio``).

Input: buffers, each with the time at which the app passed it, and the parts that have arrived by then.
Output: segments in the tap's own source, and how far the speaker got in each part. The rules:

1. Buffers are placed on the clock of the device: :mod:`otel_realtime.core.audio.device_clock`.
2. Zeros are silence. They are not placed; they only show that the speaker runs. Within a part they
   count as the part's own silence, unless it was cut.
3. A buffer belongs to the item that the app names. Without a name, items are assumed to play in order
   of arrival, each for its whole length. Audio in a buffer beyond the end of its part belongs to the
   next part, if that follows at once.
4. A cut flushes what is queued: sound that begins anew after it belongs to the first response that
   arrived later.
5. A buffer that would begin more than one second after it is passed shows that the app passes what it
   queues, not what it plays: the tap is rejected for the rest of the call.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from otel_realtime.core.audio.device_clock import DeviceClock
from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.parts import Part
from otel_realtime.core.audio.played_reports import MAX_AHEAD_NS, TAP_TIMEOUT_NS
from otel_realtime.core.audio.segments import TIME_END_NS, Interval, Segment


@dataclass(frozen=True, slots=True)
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


@dataclass(slots=True)
class _Given:
    """How much of one part was passed.

    Attributes:
        heard_ns: Its duration, including the part's own silence, in ns.
        from_ns: Where it begins in all audio that was passed.
        to_ns: Where its last sound ends.
        silence_ns: How much of its own silence comes after that.
        since_t: When it began, if that was before the tap, in ns since the start.
    """

    heard_ns: int
    from_ns: int
    to_ns: int
    silence_ns: int = 0
    since_t: int | None = None


class PlayedAudio:
    """Places the audio that the speaker plays and attributes it to parts.

    Attributes:
        first_t: From when on the tap decides, in ns since the start; None before its first buffer.
        rejected: Whether the tap runs ahead of the clock and is therefore not used.
    """

    def __init__(self) -> None:
        self.first_t: int | None = None
        self.rejected = False
        self._clock = DeviceClock()
        self._active: list[Interval] = []  # stretches of calls, without pauses of TAP_TIMEOUT_NS
        self._given: dict[int, _Given] = {}  # by index of the part
        self._current: int | None = None  # index of the part that is playing
        self._zeros_ns = 0  # zeros since the part's last sound
        self._beyond_ns = 0  # how much of the latest buffer lies beyond its part
        self._cut_t: int | None = None

    @property
    def segments(self) -> list[Segment]:
        """What was heard, in order and without overlap, in the tap's own source."""
        return self._clock.segments

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of the buffers from now on."""
        self._clock.set_format(audio_format)

    def cut(self, t: int) -> None:
        """Note that the play-out was cut at ``t``: queued audio will not be played."""
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
            t: When it was passed, in ns since the start.
            offset: Where it begins in the tap's source, in bytes.
            size: Its size in bytes.
            item_id: The item that it belongs to, if the app knows.
            parts: The parts that have arrived by now.
            named: Indices of the item's parts.
            zeros: Whether it is silent.
        """
        if self.first_t is None:
            self.first_t = t
            self._begin(t, parts)
        begin, duration = self._clock.add(t, offset, size, zeros=zeros)
        self._mark_active(t, self._clock.end_ns)
        if zeros:
            self._add_silence(duration, parts)
            return
        self.rejected = self.rejected or self._clock.ahead_ns > MAX_AHEAD_NS
        if self._clock.late:
            self._zeros_ns = self._beyond_ns = 0  # they filled the buffer before the gap
        before = self._current
        if item_id is not None:
            unplayed = (index for index in named if self._remaining_ns(index, parts[index]) > 0)
            self._current = next(unplayed, named[-1] if named else None)
        else:
            self._follow(parts, after_silence=self._clock.resumes)
        index = self._current
        if index is not None:
            beyond = 0 if index == before else self._beyond_ns
            self._advance(index, parts[index], begin - beyond, duration + beyond)

    @property
    def latest(self) -> int | None:
        """Index of the part that began last; None before any."""
        return next(reversed(self._given), None)

    def progress(self, index: int) -> Progress | None:
        """Return how far a part was played; None if it was not.

        Args:
            index: Index of the part.
        """
        given = self._given.get(index)
        if given is None:
            return None
        clock, start = self._clock, given.since_t
        if start is None:
            start = clock.start_of(given.from_ns)
        end = clock.end_of(given.to_ns) if given.to_ns else start + given.heard_ns
        return Progress(given.heard_ns, start, max(end, start) + given.silence_ns)

    def inactive(self, until_t: int, between: Interval = (0, TIME_END_NS)) -> list[Interval]:
        """Return the stretches of at least two seconds without a buffer, from the first buffer on.

        Args:
            until_t: When the last stretch ends.
            between: Only stretches that overlap this interval are of interest.
        """
        if self.first_t is None:
            return []
        since_t, before_t = between
        active = self._active
        # The gap before each stretch of calls, and the gap after the last one.
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
        """Start with the part that is due; if it has been due for long, the tap joins in the middle.

        A short part may be over already by the model: then it is heard late, but not twice.
        """
        for index, part in enumerate(parts):
            if not part.segments:
                continue
            due_t = part.segments[0].start_ns
            if part.segments[-1].end_ns > t or t - due_t < TAP_TIMEOUT_NS:
                self._current = index
                if t - due_t >= TAP_TIMEOUT_NS:
                    self._given[index] = _Given(t - due_t, 0, 0, since_t=due_t)
                else:
                    self.first_t = min(t, due_t)
                return
        self._current = len(parts) - 1 if parts and not parts[-1].segments else None

    def _mark_active(self, t: int, end: int) -> None:
        if self._active and t - self._active[-1][1] < TAP_TIMEOUT_NS:
            start, previous_end = self._active[-1]
            self._active[-1] = (start, max(previous_end, end))
        else:
            self._active.append((t, end))

    # --- attribution to parts -------------------------------------------------------------------

    def _follow(self, parts: Sequence[Part], *, after_silence: bool) -> None:
        """Find the part that a buffer with sound belongs to, if the app does not name it."""
        current = None if self._current is None else parts[self._current]
        if self._cut_t is not None and current is not None and current.first_t >= self._cut_t:
            self._cut_t = None  # it arrived after what was cut: the tap began with it
        if self._cut_t is not None:
            # Sound that continues without a pause is the rest of what was cut, still in the device.
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
        given = self._given.get(index)
        return part.received_ns - (given.heard_ns if given else 0)

    def _advance(self, index: int, part: Part, begin: int, duration: int) -> None:
        remaining = self._remaining_ns(index, part)
        self._beyond_ns = 0
        if remaining <= 0:
            return
        given = self._given.get(index)
        if given is None:
            given = self._given[index] = _Given(0, begin, begin)
            self._zeros_ns = 0  # silence before the first sound is not the part's own
        heard_ns = self._zeros_ns + duration
        self._beyond_ns = min(max(heard_ns - remaining, 0), duration)
        given.heard_ns += min(heard_ns, remaining)
        given.to_ns, given.silence_ns = begin + duration - self._beyond_ns, 0
        self._zeros_ns = 0

    def _add_silence(self, duration: int, parts: Sequence[Part]) -> None:
        given = self._given.get(self._current) if self._current is not None else None
        if given is None or self._current is None or self._cut_t is not None:
            return
        self._zeros_ns += duration
        self._beyond_ns = 0
        remaining = self._remaining_ns(self._current, parts[self._current])
        # A part that ends in silence is complete once that much silence has been played.
        if 0 < remaining <= self._zeros_ns:
            given.heard_ns += remaining
            given.silence_ns += remaining
            self._zeros_ns = 0
