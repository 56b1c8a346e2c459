"""Audio that the app itself gives: what its speaker plays, as it plays it.

A buffer given at ``t`` begins then, or where the one before it ends; calls that are less than 20 ms
off are jitter of the audio thread. Zeros are silence: they need no place, they only show that the
speaker runs. Buffers come with the item they belong to or without. Then the items are taken to play
in the order in which they arrived, each as long as it is, until a cut flushes those that queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.parts import Part
from otel_realtime.core.audio.played_reports import AHEAD_NS, SILENT_NS
from otel_realtime.core.audio.segments import Odometer, Segment
from otel_realtime.core.audio.user_side import GLUE_NS


@dataclass(slots=True)
class Progress:
    """How far the speaker got in one part, and when it sounded first and last."""

    heard_ns: int
    start_ns: int
    end_ns: int


class Tapped:
    """Places what the speaker plays and says whose it is.

    Attributes:
        segments: what sounded, in order and without overlap, in the tap's own source.
        first_t: since when it is the truth; None before the first call.
        rejected: it runs ahead of the clock, so it is no playback.
        progress: by index of the part.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.first_t: int | None = None
        self.rejected = False
        self.progress: dict[int, Progress] = {}
        self._calls: list[tuple[int, int]] = []  # stretches without a pause of SILENT_NS
        self._taken = Odometer()
        self._next_ns = 0  # where the next buffer belongs if there is no jitter
        self._at: int | None = None  # the part that plays
        self._zeros_ns = 0  # zeros since its last sound
        self._cut_t: int | None = None

    def set_format(self, audio_format: AudioFormat) -> None:
        """Read what is given from here on in another format."""
        self._taken.set_format(audio_format)

    def cut(self, t: int) -> None:
        """What queues at ``t`` will not be played."""
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
        zeros: bool,
    ) -> None:
        """Take in a buffer of ``size`` bytes; ``parts`` are those that have arrived by now."""
        if self.first_t is None:
            self.first_t = t
            self._begin(t, parts)
        start, position = self._start(t), self._taken.add(size)
        duration = self._taken.total_ns - position
        self._mark_call(t, start + duration)
        self._next_ns = start + duration
        if zeros:
            self._rest(duration, parts)
            return
        self.rejected = self.rejected or start - t > AHEAD_NS
        silent = not self.segments or start - self.segments[-1].end_ns >= GLUE_NS
        self._write(start, offset, size, position)
        at = self._whose(item_id, parts, silent=silent)
        if at is not None:
            self._count(at, parts[at], start, duration)

    def silent(self, until_t: int) -> list[tuple[int, int]]:
        """The stretches of at least two seconds without a call, from the first call on."""
        if self.first_t is None:
            return []
        ends = [self.first_t, *(end for _, end in self._calls)]
        starts = [*(start for start, _ in self._calls), until_t]
        return [
            (end, start)
            for end, start in zip(ends, starts, strict=True)
            if start - end >= SILENT_NS
        ]

    def _begin(self, t: int, parts: Sequence[Part]) -> None:
        """The tap comes with the part that is due; one that has long been due it joins midway."""
        for at, part in enumerate(parts):
            if part.segments and part.segments[-1].end_ns > t:
                self._at = at
                due_t = part.segments[0].start_ns
                if t - due_t >= SILENT_NS:
                    self.progress[at] = Progress(t - due_t, due_t, t)
                else:
                    self.first_t = min(t, due_t)
                return
        self._at = len(parts) - 1 if parts and not parts[-1].segments else None

    def _start(self, t: int) -> int:
        end = self.segments[-1].end_ns if self.segments else 0
        if self._next_ns and abs(t - self._next_ns) < GLUE_NS:
            return max(self._next_ns, end)
        return max(t, end)

    def _mark_call(self, t: int, end: int) -> None:
        if self._calls and t - self._calls[-1][1] < SILENT_NS:
            start, before = self._calls[-1]
            self._calls[-1] = (start, max(before, end))
        else:
            self._calls.append((t, end))

    def _write(self, start: int, offset: int, size: int, position: int) -> None:
        last = self.segments[-1] if self.segments else None
        if last and start == last.end_ns and last.goes_on(offset, self._taken.format):
            last.size += size
        else:
            found = Segment(start, offset, size, self._taken.format, position, tap=True)
            self.segments.append(found)

    # --- whose it is ----------------------------------------------------------------------------

    def _whose(self, item_id: str | None, parts: Sequence[Part], *, silent: bool) -> int | None:
        if item_id is not None:
            named = [at for at, part in enumerate(parts) if part.item_id == item_id]
            unplayed = (at for at in named if self._left(at, parts[at]) > 0)
            self._at = next(unplayed, named[-1] if named else None)
        elif self._cut_t is not None:
            if silent:
                self._skip_flushed(parts)
        elif self._at is None or self._left(self._at, parts[self._at]) <= 0:
            following = 0 if self._at is None else self._at + 1
            if self._at is None:
                following = self._first_after(self.first_t or 0, parts)
            if following < len(parts):
                self._at = following
        return self._at

    def _skip_flushed(self, parts: Sequence[Part]) -> None:
        """After a cut the sound that begins anew is of the first response that came later."""
        flushed = parts[self._at].response if self._at is not None else None
        at = self._first_after(self._cut_t or 0, parts)
        while at < len(parts) and parts[at].response is flushed:
            at += 1
        if at < len(parts):
            self._at, self._cut_t = at, None

    @staticmethod
    def _first_after(t: int, parts: Sequence[Part]) -> int:
        at = len(parts)
        while at and parts[at - 1].first_t >= t:
            at -= 1
        return at

    def _left(self, at: int, part: Part) -> int:
        known = self.progress.get(at)
        return part.format.duration_ns(part.received) - (known.heard_ns if known else 0)

    def _count(self, at: int, part: Part, start: int, duration: int) -> None:
        left = self._left(at, part)
        known = self.progress.get(at)
        if left <= 0:
            return
        if known is None:
            known = self.progress[at] = Progress(0, start, start)
            self._zeros_ns = 0
        known.heard_ns += min(self._zeros_ns + duration, left)
        known.end_ns = start + duration
        self._zeros_ns = 0

    def _rest(self, duration: int, parts: Sequence[Part]) -> None:
        """Zeros within a part are its own silence, unless it was cut."""
        known = self.progress.get(self._at) if self._at is not None else None
        if known is None or self._at is None or self._cut_t is not None:
            return
        self._zeros_ns += duration
        left = self._left(self._at, parts[self._at])
        if 0 < left <= self._zeros_ns:
            known.heard_ns += left
            known.end_ns += left
            self._zeros_ns = 0
