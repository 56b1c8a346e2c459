"""Derives what was heard of a part from the positions that the app reports (``played``).

A report at ``t`` that ``p`` ns have been played means that the play-out reached that position before
``t``, so its origin is no later than ``t - p``. The rules:

1. The smallest origin of a report and all later ones is used. So a late report shifts nothing, and a
   pause or an underrun becomes a gap of the right length. For the last reports no later one can tell
   the two cases apart: the device is assumed to have continued, unless they are very late.
2. Reports may be coarse (a telephone provider's marks, one per chunk). After the last report before a
   cut, the play-out is assumed to have continued at 1x until the cut, by at most one step of the
   reports.
3. A truncate states exactly how much was kept, within one step of the last report.
4. Positions more than one second ahead of the clock report what is queued, not what is played: they
   are rejected for the rest of the call, and the player model is used.
5. If nothing is reported for two seconds while audio is due, the reports have ended: the model takes
   over, and the source is ``estimated``.
6. A part without any report was not played if an earlier one is still queued; otherwise at most one
   step of it was.

Input: reports and cuts. Output: a :class:`HeardPart` for each part. Parts that arrived before the
part that was reported first are left to the model, because the tap did not exist yet.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.device_clock import PROOF, UNPROVEN_NS
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.parts import (
    ESTIMATED,
    TAP,
    HeardPart,
    Part,
    heard_part,
    modelled_part,
)
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.segments import LOST, Segment, clip_to_intervals
from otel_realtime.core.audio.user_side import JITTER_NS

#: A tap that is further ahead of the clock than this does not report what is being played.
MAX_AHEAD_NS: Final = NS_PER_S
#: A tap that reports nothing for this long while audio is due has ended.
TAP_TIMEOUT_NS: Final = 2 * NS_PER_S
#: A report of what was played before a cut may arrive this long after the cut.
LATE_REPORT_NS: Final = NS_PER_S

_Times = npt.NDArray[np.int64]


class PartReports:
    """The positions reported for one part, ascending; in arrays, because there may be many.

    Attributes:
        last_t: When the latest position was reported, in ns since the start.
        position_ns: That position.
        step_ns: The largest difference between two successive positions.
        first_origin_ns: The smallest origin of all: when the play-out began.
    """

    __slots__ = ("_positions", "_times", "first_origin_ns", "last_t", "position_ns", "step_ns")

    def __init__(self) -> None:
        self._times = array("q")
        self._positions = array("q")
        self.last_t = 0
        self.position_ns = 0
        self.step_ns = 0
        self.first_origin_ns = 0

    def __len__(self) -> int:
        return len(self._times)

    def add(self, t: int, position_ns: int) -> bool:
        """Add a report; return whether it advances the position. If it does not, it is ignored."""
        if position_ns <= self.position_ns:
            return False
        self.step_ns = max(self.step_ns, position_ns - self.position_ns)
        origin = t - position_ns
        self.first_origin_ns = min(self.first_origin_ns, origin) if self._times else origin
        self._times.append(t)
        self._positions.append(position_ns)
        self.last_t, self.position_ns = t, position_ns
        return True

    def origin_ns(self) -> int:
        """Return when the play-out would have begun by the latest reports if it had never paused."""
        latest = zip(self._times[-PROOF:], self._positions[-PROOF:], strict=True)
        origins = np.array([t - position for t, position in latest], np.int64)
        return int(_least_origins(origins)[-1])

    def runs(self, kept_ns: int) -> Iterator[tuple[int, int, int]]:
        """Yield the runs that were played without a gap, up to ``kept_ns``.

        A difference below 20 ms between two steps is jitter. The cost grows with the number of gaps.

        Yields:
            When the run starts, and its first and last position; in ns.
        """
        positions = np.array(self._positions, np.int64)
        origins = _least_origins(np.array(self._times, np.int64) - positions)
        index = reached = 0
        while index < len(origins) and reached < kept_ns:
            origin = int(origins[index])
            index = int(np.searchsorted(origins, origin + JITTER_NS))
            end = min(int(positions[index - 1]), kept_ns)
            yield origin + reached, reached, end
            reached = end
        if kept_ns > reached:
            yield int(origins[-1]) + reached, reached, kept_ns


def _least_origins(origins: _Times) -> _Times:
    """Return the smallest origin of each report and all later ones, in ns; rule 1 covers the last."""
    least = np.minimum.accumulate(origins[::-1])[::-1]
    for index in range(max(least.size - PROOF + 1, 1), least.size):
        if least[index] - least[index - 1] < UNPROVEN_NS:
            least[index] = least[index - 1]
    return least


class PlayedReports:
    """What was heard of each part according to the app's reports.

    Attributes:
        first_t: When the first report was made, in ns since the start; None before it.
        rejected: Whether the reports run ahead of the clock and are therefore not used.
    """

    def __init__(self, player: Player) -> None:
        self.first_t: int | None = None
        self.rejected = False
        self._player = player
        self._first_part = 0  # index of the part that was reported first
        self._reports: dict[tuple[str, int], PartReports] = {}
        self._reported = array("q")  # indices of the parts with reports, ascending
        # Parts with their latest report, as (index, time), and with their first one, as (index,).
        # Indices and times ascend: a report removes entries of later parts, so the last part that was
        # reported before another is found by bisection.
        self._latest: list[tuple[int, int]] = []
        self._begun: list[tuple[int]] = []
        self._step_ns = 0
        self._cuts = array("q")
        # The latest placements, and what they depend on: between two reports nothing is placed again.
        self._placed: dict[tuple[str, int], tuple[tuple[int, int, int], HeardPart]] = {}

    @property
    def trusted(self) -> bool:
        """Whether there are reports, and they report what is played."""
        return self.first_t is not None and not self.rejected

    def covers(self, part: Part) -> bool:
        """Return whether there are reports about a part."""
        return self.trusted and part.key in self._reports

    def cut(self, t: int) -> None:
        """Note that the play-out was cut at ``t``."""
        self._cuts.append(t)

    def add(self, t: int, item_id: str, content_index: int, position_ns: int) -> None:
        """Add a report made at ``t``: ``position_ns`` of a part have been played."""
        part = self._player.part(item_id, content_index)
        if part is None:
            return
        index = self._player.index_of(part.key)
        if self.first_t is None:
            self.first_t, self._first_part = t, index
        position = min(position_ns, part.received_ns)
        # No more can have been played than the time since the first chunk arrived.
        if position - (t - part.first_t) > MAX_AHEAD_NS:
            self.rejected = True
        reports = self._reports.get(part.key)
        if reports is None:
            reports = self._reports[part.key] = PartReports()
            insort(self._reported, index)
            while self._begun and self._begun[-1][0] >= index:
                self._begun.pop()
            self._begun.append((index,))
        if not reports.add(t, position):
            return
        while self._latest and self._latest[-1][0] >= index:
            self._latest.pop()
        self._latest.append((index, t))
        self._step_ns = max(self._step_ns, reports.step_ns)

    def heard(self, part: Part, now: int, *, placed: bool = True) -> HeardPart:
        """Return what was heard of a part by ``now``; other evidence fills gaps in the reports.

        Args:
            part: The part.
            now: The time of the query.
            placed: Whether the segments are needed. Placing a part takes time in proportion to its
                reports, so a part that is still playing is not placed again after each of them.
        """
        if self.first_t is None or self.rejected:
            return modelled_part(part)
        reports = self._reports.get(part.key)
        if reports is None:
            preceding = self._player.index_of(part.key) < self._first_part
            return modelled_part(part) if preceding else self._unreported(part, now)
        end_t = self.cut_after(reports.last_t - LATE_REPORT_NS)
        kept, source = _kept(part, reports, end_t, now)
        # It may continue to play as long as neither its end nor a cut has been reached.
        plays = kept < part.received_ns and end_t is None
        if plays and not placed and kept:
            from_t = max(reports.first_origin_ns, part.first_t, 0)
            return HeardPart([], kept, source, from_t, max(now, reports.last_t))
        found = self._place(part, reports, kept, source)
        return replace(found, source=source, until_t=max(found.until_t, now if plays else 0))

    def _place(self, part: Part, reports: PartReports, kept: int, source: str) -> HeardPart:
        state = (len(reports), part.received, kept)
        known = self._placed.get(part.key)
        if known is None or known[0] != state:
            segments = _place(part, list(self._player.arrivals(part)), reports, kept)
            known = self._placed[part.key] = (state, heard_part(segments, kept, source, part))
        return known[1]

    def cut_after(self, t: int) -> int | None:
        """Return the first cut at ``t`` or later; None if there is none."""
        index = bisect_left(self._cuts, t)
        return self._cuts[index] if index < len(self._cuts) else None

    def _unreported(self, part: Part, now: int) -> HeardPart:
        """Return what was heard of a part without reports: at most one step, or the model's answer."""
        index = self._player.index_of(part.key)
        due_t, until = part.first_t, now
        begun = bisect_left(self._begun, (index,)) - 1
        preceding = self._player.parts[self._begun[begun][0]].key if begun >= 0 else None
        before = bisect_left(self._latest, (index,)) - 1
        if before >= 0:
            due_t = max(due_t, self._latest[before][1])
        following = bisect_left(self._reported, index)
        if following < len(self._reported):
            key = self._player.parts[self._reported[following]].key
            until = min(until, self._reports[key].origin_ns())
        end_t = self.cut_after(part.first_t)
        model = modelled_part(part)
        if (until if end_t is None else min(end_t, until)) - due_t >= TAP_TIMEOUT_NS:
            return model
        if preceding is not None and self._queues_behind(part, preceding):
            heard = heard_part([], 0, TAP, part)
        else:
            first_step = (0, (model.from_t or 0) + self._step_ns)
            segments = clip_to_intervals(part.segments, [first_step])
            heard_ns = sum(segment.end_ns - segment.start_ns for segment in segments)
            heard = heard_part(segments, heard_ns, TAP, part)
        return heard if end_t is not None else replace(heard, until_t=max(model.until_t, now))

    def _queues_behind(self, part: Part, key: tuple[str, int]) -> bool:
        """Return whether a part arrived while an earlier part was queued that never finished."""
        preceding, reports = self._player.part(*key), self._reports[key]
        if preceding is None or preceding.received_ns - reports.position_ns < JITTER_NS:
            return False
        cut_t = self.cut_after(reports.last_t - LATE_REPORT_NS)
        return cut_t is None or part.first_t < cut_t


def _kept(part: Part, reports: PartReports, end_t: int | None, now: int) -> tuple[int, str]:
    """Return how much of a part was heard (ns), and the evidence."""
    position, limit = min(reports.position_ns, part.received_ns), part.limit()
    if part.received_ns - position < JITTER_NS:
        return part.received_ns, TAP
    if limit is None and (now if end_t is None else end_t) - reports.last_t >= TAP_TIMEOUT_NS:
        rest = part.received_ns if end_t is None else end_t - reports.last_t
        return min(position + rest, part.received_ns), ESTIMATED
    if limit is not None:
        bound = part.format.duration_ns(limit.kept)
    else:
        bound = 0 if end_t is None else end_t - reports.origin_ns()
    return max(position, min(bound, position + reports.step_ns, part.received_ns)), TAP


def _place(
    part: Part, arrivals: Sequence[tuple[int, int, int, int]], reports: PartReports, kept: int
) -> list[Segment]:
    """Place the first ``kept`` ns of a part according to the reports.

    A run can begin within a chunk and span several chunks, so both are walked in parallel.
    """
    placed: list[Segment] = []
    audio_format, index, base = part.format, 0, 0  # base: where arrivals[index] begins, in bytes
    for start, low_ns, high_ns in reports.runs(kept):
        low, high = audio_format.size(low_ns), audio_format.size(high_ns)
        while low < high:
            while low >= base + arrivals[index][2]:
                base += arrivals[index][2]
                index += 1
            t, offset, size, position = arrivals[index]
            skipped = low - base
            taken = min(high, base + size) - low
            start = _adjoin(max(start, t, 0), placed)
            source_offset = offset if offset == LOST else offset + skipped
            last = placed[-1] if placed else None
            if last and start == last.end_ns and last.is_continued_by(source_offset, audio_format):
                last.size += taken
            else:
                begin = position + audio_format.duration_ns(skipped)
                placed.append(Segment(start, source_offset, taken, audio_format, begin))
            start += audio_format.duration_ns(taken)
            low += taken
    return placed


def _adjoin(start: int, placed: Sequence[Segment]) -> int:
    """Return the start, or the end of the last segment if the gap is jitter or negative."""
    if not placed or start - placed[-1].end_ns >= JITTER_NS:
        return start
    return placed[-1].end_ns
