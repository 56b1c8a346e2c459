"""What the app says it has played of one part: positions, each reported at some moment.

A report at ``t`` that ``p`` ns have been played means that the play-out got there before ``t``. So
its origin can be no later than ``t - p``, and the smallest such origin of this and all later
reports is taken: a late report shifts nothing, and a pause or an underrun opens as the gap it was.
Reports may be coarse (a phone company's marks, one a chunk). Then the last one before a cut leaves
a stretch in the dark, which the cut itself bounds: the play-out goes on at 1x until it, by no more
than one step of the reports.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from otel_realtime.core.audio.formats import NS
from otel_realtime.core.audio.parts import BY_TAP, ESTIMATED, Heard, Part, heard_in, modelled
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.segments import LOST, Segment, within
from otel_realtime.core.audio.user_side import GLUE_NS

AHEAD_NS: Final = NS
"""Who is further ahead of the clock than this does not tell what is being played."""
SILENT_NS: Final = 2 * NS
"""A tap that says nothing for this long while audio is due has ended."""
LATE_NS: Final = NS
"""Reports of what was played before a cut may come this long after it."""


class Reports:
    """The positions reported for one part; they only rise.

    Attributes:
        last_t: when the latest position was reported.
        position_ns: that position.
        step_ns: the largest step between two reports.
    """

    __slots__ = ("_positions", "_times", "last_t", "position_ns", "step_ns")

    def __init__(self) -> None:
        self._times = array("q")
        self._positions = array("q")
        self.last_t = 0
        self.position_ns = 0
        self.step_ns = 0

    def __len__(self) -> int:
        return len(self._times)

    def add(self, t: int, position_ns: int) -> None:
        """Take in a report; one that does not rise says nothing new."""
        if position_ns <= self.position_ns:
            return
        self.step_ns = max(self.step_ns, position_ns - self.position_ns)
        self._times.append(t)
        self._positions.append(position_ns)
        self.last_t, self.position_ns = t, position_ns

    def origin_ns(self) -> int:
        """When the play-out began by the latest report, had it never paused."""
        return self.last_t - self.position_ns

    def steps(self, kept_ns: int) -> Iterator[tuple[int, int, int]]:
        """Each step as ``(starts at, from position, to position)`` in ns, until ``kept_ns``."""
        origins = array("q", bytes(8 * len(self)))
        earliest = None
        for at in range(len(self) - 1, -1, -1):
            origin = self._times[at] - self._positions[at]
            earliest = origin if earliest is None else min(earliest, origin)
            origins[at] = earliest
        before = 0
        for origin, position in zip(origins, self._positions, strict=True):
            yield origin + before, before, min(position, kept_ns)
            before = position
        if kept_ns > before:
            yield self.last_t, before, kept_ns


class Positions:
    """What was heard of each part by the positions the app reported.

    Attributes:
        first_t: the first report; None before it.
        rejected: they run ahead of the clock, so they are no playback.
    """

    def __init__(self, player: Player) -> None:
        self.first_t: int | None = None
        self.rejected = False
        self._player = player
        self._first = 0  # index of the part that was reported first
        self._reports: dict[tuple[str, int], Reports] = {}
        self._step_ns = 0
        self._cuts = array("q")
        self._placed: dict[tuple[str, int], tuple[tuple[int, int, int], Heard]] = {}

    @property
    def believed(self) -> bool:
        """Whether there are reports of what is played."""
        return self.first_t is not None and not self.rejected

    def knows(self, part: Part) -> bool:
        """Whether something was reported of a part."""
        return self.believed and part.key in self._reports

    def cut(self, t: int) -> None:
        """Something says that the play-out was cut at ``t``."""
        self._cuts.append(t)

    def add(self, t: int, item_id: str, content_index: int, position_ns: int) -> None:
        """The app says how much of a part has been played by ``t``."""
        part = self._player.part(item_id, content_index)
        if part is None:
            return
        if self.first_t is None:
            self.first_t, self._first = t, self._player.index_of(part.key)
        position = min(position_ns, part.received_ns)
        if position - (t - part.first_t) > AHEAD_NS:
            self.rejected = True
        reports = self._reports.setdefault(part.key, Reports())
        reports.add(t, position)
        self._step_ns = max(self._step_ns, reports.step_ns)

    def heard(self, part: Part, now: int) -> Heard:
        """A part by its reports; what they leave open is the claim's, the cut's or the model's."""
        if self.first_t is None or self.rejected:
            return modelled(part)
        reports = self._reports.get(part.key)
        if reports is None:
            before = self._player.index_of(part.key) < self._first
            return modelled(part) if before else self._unreported(part, now)
        end_t = self.cut_after(reports.last_t - LATE_NS)
        kept, source = _kept(part, reports, end_t, now)
        state = (len(reports), part.received, kept)
        known = self._placed.get(part.key)
        if known is None or known[0] != state:
            segments = _place(part, list(self._player.arrivals(part)), reports, kept)
            known = self._placed[part.key] = (state, heard_in(segments, kept, source, part))
        open_until = now if kept < part.received_ns and end_t is None else 0
        return replace(known[1], source=source, until_t=max(known[1].until_t, open_until))

    def cut_after(self, t: int) -> int | None:
        """The first cut at ``t`` or later."""
        at = bisect_left(self._cuts, t)
        return self._cuts[at] if at < len(self._cuts) else None

    def _unreported(self, part: Part, now: int) -> Heard:
        """A part that nothing was said of: was nothing played yet, or has the tap ended?"""
        due_t, until = part.first_t, now
        before: tuple[str, int] | None = None
        for key, reports in self._reports.items():
            if self._player.index_of(key) < self._player.index_of(part.key):
                due_t, before = max(due_t, reports.last_t), key
            else:
                until = min(until, reports.origin_ns())
        end_t = self.cut_after(part.first_t)
        model = modelled(part)
        if (until if end_t is None else min(end_t, until)) - due_t >= SILENT_NS:
            return model
        if before is not None and self._queues_behind(part, before):
            found = heard_in([], 0, BY_TAP, part)
            return found if end_t is not None else replace(found, until_t=max(model.until_t, now))
        segments = within(part.segments, [(0, (model.from_t or 0) + self._step_ns)])
        heard_ns = sum(segment.end_ns - segment.start_ns for segment in segments)
        found = heard_in(segments, heard_ns, BY_TAP, part)
        return found if end_t is not None else replace(found, until_t=max(model.until_t, now))

    def _queues_behind(self, part: Part, key: tuple[str, int]) -> bool:
        """Whether a part arrived while an earlier one was queued that was never played out."""
        before, reports = self._player.part(*key), self._reports[key]
        if before is None or before.received_ns - reports.position_ns < GLUE_NS:
            return False
        cut_t = self.cut_after(reports.last_t - LATE_NS)
        return cut_t is None or part.first_t < cut_t


def _kept(part: Part, reports: Reports, end_t: int | None, now: int) -> tuple[int, str]:
    """How much of a part was heard (ns), and by whose word."""
    position, limit = min(reports.position_ns, part.received_ns), part.limit()
    if part.received_ns - position < GLUE_NS:
        return part.received_ns, BY_TAP
    if limit is None and (now if end_t is None else end_t) - reports.last_t >= SILENT_NS:
        rest = part.received_ns if end_t is None else end_t - reports.last_t
        return min(position + rest, part.received_ns), ESTIMATED
    if limit is not None:
        guess = part.format.duration_ns(limit.kept)
    else:
        guess = 0 if end_t is None else end_t - reports.origin_ns()
    return max(position, min(guess, position + reports.step_ns, part.received_ns)), BY_TAP


def _place(
    part: Part, arrivals: Sequence[tuple[int, int, int, int]], reports: Reports, kept: int
) -> list[Segment]:
    """Put the first ``kept`` ns of a part where the reports say; the rest follows at 1x."""
    placed: list[Segment] = []
    audio_format, at, base = part.format, 0, 0
    for start, low_ns, high_ns in reports.steps(kept):
        low, high = audio_format.size(low_ns), audio_format.size(high_ns)
        while low < high:
            while low >= base + arrivals[at][2]:
                base += arrivals[at][2]
                at += 1
            t, offset, size, position = arrivals[at]
            skipped = low - base
            take = min(high, base + size) - low
            start = _start(max(start, t, 0), placed)
            found_at = offset if offset == LOST else offset + skipped
            last = placed[-1] if placed else None
            if last and start == last.end_ns and last.goes_on(found_at, audio_format):
                last.size += take
            else:
                begins = position + audio_format.duration_ns(skipped)
                placed.append(Segment(start, found_at, take, audio_format, begins))
            start += audio_format.duration_ns(take)
            low += take
    return placed


def _start(start: int, placed: Sequence[Segment]) -> int:
    """A gap below 20 ms is jitter; nothing overlaps."""
    if not placed or start - placed[-1].end_ns >= GLUE_NS:
        return start
    return placed[-1].end_ns
