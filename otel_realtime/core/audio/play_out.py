"""The play-out of what arrived, in the client's player as it is modelled.

A queue that plays at 1x. A chunk that comes while something plays waits for its end; one that finds
the queue empty plays once the player's buffer has filled: so jitter that the buffer absorbs is no
hole, and an underrun is one. A cut ends what is queued; a claim says how much of a part was heard by
when. How much the player buffers is assumed, then learned: :mod:`otel_realtime.core.audio.player_buffer`.

What is claimed and cut may be said late and taken back. So everything is kept in a log and played
again from the last moment at which the queue was empty before the part in question: nothing later
can change audio that had ended by then. That takes time in proportion to what was queued, so it is
put off until somebody asks (``refresh``). Nothing depends on when that is: what the model says is a
function of the log and of the claims that stand.

Three things move a whole answer, from the moment at which the queue was empty before it:

1. A claim of a position says when the answer began. The buffer of this one is what the claim says.
2. If even without a buffer the answer would have begun later, what was queued before it is cut: the
   client had flushed that. And nothing is heard after the claim that bounds it.
3. As long as nothing is known of the buffer, a chunk that comes a little after the end of the one
   before it says that the player had held so much back: the answer began so much later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_realtime.core.audio.arrivals import MARK, Arrivals
from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S
from otel_realtime.core.audio.parts import (
    CLIENT_TRUNCATE,
    ESTIMATED,
    SERVER,
    Claim,
    Part,
    ResponsePlayback,
)
from otel_realtime.core.audio.player_buffer import MOST_NS, TOLERANCE_NS, PlayerBuffer
from otel_realtime.core.audio.segments import Segment

#: The server's word for a cut comes so soon after it, if it does not name the response.
CONFIRMED_NS: Final = 2 * NS_PER_S
#: And is about no more responses than this.
MOST_CONFIRMED: Final = 8
#: A buffer that jitter asks for grows by no less, so that few steps make it up.
STEP_NS: Final = 5 * NS_PER_MS
#: Before anything was played.
_NEVER: Final = -1


class _Buffered(NamedTuple):
    """What is known of the buffer of a stretch: it holds for what comes before entry ``until``."""

    until: int
    ns: int


class _Empty(NamedTuple):
    """A moment at which the queue was empty: from here on everything can be played again.

    Attributes:
        entry: The chunk that came then.
        placed: How many segments lie before it.
        observations: How many observations of the buffer had been made.
        buffered: What was known of this stretch.
    """

    entry: int
    placed: int
    observations: int
    buffered: _Buffered


class _Jitter(NamedTuple):
    """The buffer that jitter asks for, of what begins with the chunk of an empty queue."""

    entry: int
    ns: int


_NO_JITTER: Final = _Jitter(-1, 0)
_START: Final = _Empty(0, 0, 0, _Buffered(0, 0))


class PlayOut:
    """Places chunks as they arrive; segments stay ordered and disjoint.

    Attributes:
        log: What arrived.
        placed: What was heard, in order, with the part that it belongs to; true after ``refresh``.
        buffer: What is known of the player's buffer.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.log = Arrivals()
        self.placed: list[tuple[Part, Segment]] = []
        self.buffer = PlayerBuffer()
        self._parts = parts
        self._cut_sources: dict[int, str] = {}  # by entry
        self._cut_names: dict[int, ResponsePlayback] = {}  # by entry, if one response is meant
        self._begins: dict[int, tuple[Part, int]] = {}  # by entry: what a tap has heard begin, when
        self._empty: list[_Empty] = []
        self._end_ns = _NEVER  # of the queue
        self._run_ns = 0  # the buffer since the queue was empty
        self._spare_ns = 0  # how much more it may be, if jitter asks for it
        self._absorbed_ns = 0  # and how much jitter has asked for
        self._jitter = _NO_JITTER
        self._buffered = _START.buffered
        self._next: _Buffered | None = None  # holds from the next empty queue on
        self._stale_from: int | None = None  # entry from which the log must be played again
        self._cut_responses: list[tuple[int, ResponsePlayback]] = []  # by entry, ascending
        # How many of ``placed`` a cut has looked at, by its source: a later one leaves them as they are.
        self._looked_at = dict.fromkeys((ESTIMATED, SERVER), 0)

    # --- the log --------------------------------------------------------------------------------

    def add(self, index: int, t: int, offset: int, size: int) -> None:
        """Play a chunk of a part, which is given by its index."""
        self._play(self.log.add(index, t, offset, size, self._parts[index].format))

    def cut(self, t: int, source: str, response: ResponsePlayback | None = None) -> None:
        """Cut everything that is queued at ``t``.

        Args:
            t: When, in ns since the start.
            source: ``heard_source`` of what it cuts.
            response: The response that the evidence names, if it names one.
        """
        entry = self.log.mark(t)
        self._cut_sources[entry] = source
        if response is not None:
            self._cut_names[entry] = response
        self._play(entry)

    def began(self, t: int, part: Part, begin_ns: int) -> None:
        """Note that a tap has heard a part begin."""
        entry = self.log.mark(t)
        self._begins[entry] = (part, begin_ns)
        self._play(entry)

    def confirm(self, entries: Sequence[int]) -> None:
        """Take marks for cuts."""
        self._cut_sources.update(dict.fromkeys(entries, ESTIMATED))
        self.replay_from(entries[0])

    def replay_from(self, entry: int) -> None:
        """Note that the log must be played again from an entry on, before anybody asks."""
        self._stale_from = entry if self._stale_from is None else min(self._stale_from, entry)

    @property
    def stale(self) -> int:
        """How many entries the next ``refresh`` has to play."""
        if self._stale_from is None:
            return 0
        index = self._last_empty(self._stale_from)
        return len(self.log) - (self._empty[index].entry if index >= 0 else 0)

    def refresh(self) -> None:
        """Take into account what came late; parts tell what was heard of them only after this."""
        if self._stale_from is not None:
            entry, self._stale_from = self._stale_from, None
            self.replay(entry)

    def replay(self, entry: int) -> None:
        """Play the log again from the last empty queue at or before an entry."""
        for replayed in range(self._rewind(self._last_empty(entry)), len(self.log)):
            self._play_entry(replayed)

    def between(self, start: int, end: int) -> list[Segment]:
        """Return the segments that are heard at some time between two times, in ns."""
        first = bisect_right(self.placed, start, key=lambda placed: placed[1].end_ns)
        last = bisect_left(self.placed, end, key=lambda placed: placed[1].start_ns)
        return [segment for _, segment in self.placed[first:last]]

    # --- going back -----------------------------------------------------------------------------

    def _last_empty(self, entry: int) -> int:
        """Return the index of the last empty queue at or before an entry; -1 for the start."""
        return bisect_right(self._empty, entry, key=lambda empty: empty.entry) - 1

    def _rewind(self, index: int) -> int:
        """Undo everything since an empty queue; return the entry to go on with."""
        empty = self._empty[index] if index >= 0 else _START
        del self._empty[max(index, 0) :]  # playing its entry adds it again
        for part, segment in reversed(self.placed[empty.placed :]):
            part.kept -= segment.size
            part.segments.pop()  # a part is placed in order, so that is its last one
        del self.placed[empty.placed :]
        self._forget_looks()
        self._end_ns = self._last_end_ns()
        while self._cut_responses and self._cut_responses[-1][0] >= empty.entry:
            response = self._cut_responses.pop()[1]
            response.cut_entry = response.cut_source = None
        self.buffer.forget(empty.observations)
        self._buffered, self._next = empty.buffered, None
        self._jitter = _NO_JITTER
        return empty.entry

    def _play_again(self, index: int, until: int, buffered: _Buffered) -> None:
        """Play from an empty queue on until an entry, with another buffer."""
        first = self._rewind(index)
        # What was known at the empty queue itself stays as it was: it will be played again if the
        # reason for another buffer is gone.
        self._next = buffered
        for entry in range(first, until):
            self._play_entry(entry)

    def _last_end_ns(self) -> int:
        return self.placed[-1][1].end_ns if self.placed else _NEVER

    # --- going on -------------------------------------------------------------------------------

    def _play(self, entry: int) -> None:
        if self._stale_from is None:  # else it is played again anyway
            self._play_entry(entry)

    def _play_entry(self, entry: int) -> None:
        if self.log.part[entry] != MARK:
            self._play_chunk(entry)
        elif entry in self._cut_sources:
            self._play_cut(entry)
        elif entry in self._begins:
            self._learn(*self._begins[entry])

    def _play_chunk(self, entry: int) -> None:
        part, size, t = self._parts[self.log.part[entry]], self.log.size[entry], self.log.t[entry]
        limit = part.limit()
        if limit is not None:
            size = min(size, limit.kept - part.kept) if entry < limit.entry else 0
        elif self._is_cut(part.response, entry):
            size = 0
        if self._end_ns < t and not (size > 0 and self._absorb(part, entry)):
            self._find_empty(entry)
        if size <= 0:
            return
        claim = part.claims[-1] if part.claims else None
        if claim is not None and claim.claimed_t is not None:
            if not part.kept:
                self._fit(part, claim, claim.claimed_t, entry)
                self._make_room(part, claim, claim.claimed_t, entry)
            start = self._claimed_start(part, claim, claim.claimed_t, entry)
            # One ns more: durations are rounded down.
            size = min(size, part.format.size(max(claim.claimed_t - start + 1, 0)))
        else:
            start = self._start(part, entry)
        if size:
            self._place(part, start, entry, size)

    def _find_empty(self, entry: int) -> None:
        """Note an empty queue: what came before cannot matter any more."""
        observations = self.buffer.observations
        self._empty.append(_Empty(entry, len(self.placed), observations, self._buffered))
        if self._next is not None:
            self._buffered, self._next = self._next, None
        told = entry < self._buffered.until
        self._run_ns = self._buffered.ns if told else self.buffer.ns
        self._spare_ns = 0 if told else self.buffer.spare_ns
        self._absorbed_ns = self._jitter.ns if entry == self._jitter.entry and self._spare_ns else 0
        self._run_ns += self._absorbed_ns
        self._spare_ns -= self._absorbed_ns

    def _absorb(self, part: Part, entry: int) -> bool:
        """Take a larger buffer if that alone spares a hole; return whether it did."""
        lack_ns, spare_ns = self.log.t[entry] - self._end_ns, self._spare_ns
        last_part = self.placed[-1][0] if self.placed else None
        if lack_ns > spare_ns or last_part is None:
            return False
        if last_part.response is not part.response and (
            # Two answers in a row: only where nobody would hear the gap.
            lack_ns > TOLERANCE_NS or last_part.response.cut_entry is not None
        ):
            return False
        if part.response.not_before or not self._empty:
            return False
        grown_ns = min(max(lack_ns, STEP_NS), spare_ns)
        ns = self._absorbed_ns + grown_ns
        first = self._rewind(len(self._empty) - 1)
        self._jitter = _Jitter(first, ns)
        for replayed in range(first, entry):
            self._play_entry(replayed)
        return self._end_ns >= self.log.t[entry]

    def _start(self, part: Part, entry: int) -> int:
        """Return when a chunk plays that nothing is claimed of."""
        t, not_before = self.log.t[entry], part.response.not_before
        if self._end_ns >= t:
            return max(self._end_ns, not_before)
        return max(t, not_before) if not_before else t + self._run_ns

    def _is_cut(self, response: ResponsePlayback, entry: int) -> bool:
        if response.cut_entry is not None and response.cut_entry < entry and not response.drained:
            return True
        first = response.claims.first_entry
        return first is not None and first <= entry

    def _place(self, part: Part, start: int, entry: int, size: int) -> None:
        offset = self.log.offset[entry]
        last_part, segment = self.placed[-1] if self.placed else (None, None)
        adjoins = last_part is part and start == self._end_ns
        if adjoins and segment is not None and segment.is_continued_by(offset, part.format):
            segment.size += size
        else:
            segment = Segment(start, offset, size, part.format, self.log.position(entry))
            if not part.kept:
                part.buffer_ns = self._run_ns
            part.segments.append(segment)
            self.placed.append((part, segment))
        part.kept += size
        self._end_ns = segment.end_ns

    # --- claims ---------------------------------------------------------------------------------

    def _fit(self, part: Part, claim: Claim, claimed_t: int, entry: int) -> None:
        """Find the buffer with which a part was heard as far as was claimed, at that time."""
        buffer_ns = self._claimed_buffer(part, claim, claimed_t, entry)
        if part.response.not_before or buffer_ns > MOST_NS or not self.buffer.modelled:
            return
        first = self._first_to_move(part, entry)
        if first is not None:
            buffered = _Buffered(claim.entry, max(buffer_ns, 0))
            if buffered.ns == self._run_ns:
                self._buffered = buffered
            else:
                self._play_again(first, entry, buffered)
                if self._end_ns < self.log.t[entry]:
                    self._find_empty(entry)
        if claim.cuts and claim.source == CLIENT_TRUNCATE:
            learned_ns = self._claimed_buffer(part, claim, claimed_t, entry)
            self.buffer.observe(learned_ns, tap=False)

    def _claimed_buffer(self, part: Part, claim: Claim, claimed_t: int, entry: int) -> int:
        """Return the buffer that a claim says, if the present one is wrong."""
        late_ns = claimed_t - self._reach(part, claim.kept, entry)
        # What was heard whole may have ended at any time before.
        return self._run_ns + (late_ns if claim.cuts else min(late_ns, 0))

    def _first_to_move(self, part: Part, entry: int) -> int | None:
        """Return the empty queue before the answer that a part belongs to, by its index.

        None if the answer has been moved by a claim before: what that says stands.
        """
        if not self._empty or entry < self._buffered.until:
            return None
        first = max(self._last_empty(part.response.parts[0].entry), 0)
        moved = bisect_left(self._empty, self._buffered.until, key=lambda empty: empty.entry)
        first = max(first, moved)
        return first if first < len(self._empty) else None

    def _reach(self, part: Part, kept: int, entry: int) -> int:
        """Return when the player gets to a position of a part that begins to play now."""
        at = self._start(part, entry)
        if at >= part.origin_ns:  # each chunk will have come before it is due
            return at + part.format.duration_ns(kept)
        for t, _, size, _ in self.log.of(self.log.part[entry], entry, kept):
            size, kept = min(size, kept), kept - size
            at = (at if at >= t else t + self._run_ns) + part.format.duration_ns(size)
        return at

    def _make_room(self, part: Part, claim: Claim, claimed_t: int, entry: int) -> None:
        """Cut what is queued before a claimed part as far as its claim demands."""
        latest = max(claimed_t - part.format.duration_ns(claim.kept), self.log.t[entry])
        while self.placed and self._end_ns > latest:
            queued_part, segment = self.placed[-1]
            if queued_part.claims:
                break
            self._shorten(queued_part, segment, latest)
            if segment.size:
                break
            self.placed.pop()
            self._end_ns = self._last_end_ns()
        self._forget_looks()
        self._end_ns = self._last_end_ns()

    def _claimed_start(self, part: Part, claim: Claim, claimed_t: int, entry: int) -> int:
        """Return when a chunk of a claimed part plays: no later than the claim has room for."""
        latest = claimed_t - part.format.duration_ns(claim.kept - part.kept)
        start = self._start(part, entry)
        return min(start, max(latest, self.log.t[entry], self._end_ns))

    def _learn(self, part: Part, begin_ns: int) -> None:
        """Learn from the begin of a part that a tap has heard."""
        if part.segments:
            late_ns = begin_ns - part.segments[0].start_ns
            self.buffer.observe(part.buffer_ns + late_ns, tap=True)

    # --- cuts -----------------------------------------------------------------------------------

    def _play_cut(self, entry: int) -> None:
        t, source = self.log.t[entry], self._cut_sources[entry]
        if source != ESTIMATED:
            self._confirm(entry)
        # Segments are ordered, so only the last ones can reach beyond the cut.
        index, first = len(self.placed), self._first_to_cut(source)
        while index > first and self.placed[index - 1][1].end_ns > t:
            index -= 1
        queued, self.placed[index:] = self.placed[index:], []
        for part, segment in queued:
            response = part.response
            if response.cut_entry is None:
                response.cut_entry, response.cut_source = entry, source
                self._cut_responses.append((entry, response))
            elif source == SERVER:  # it confirms what had been estimated
                response.cut_source = source
            if not (response.drained or part.protected()):
                self._shorten(part, segment, t)
            if segment.size:
                self.placed.append((part, segment))
        self._looked_at[source] = len(self.placed)
        self._end_ns = self._last_end_ns()

    def _first_to_cut(self, source: str) -> int:
        """Return the first segment that a cut may change.

        What an earlier cut found has ended before it, or a claim or the server's word spares it, which
        holds for as long as the log is not played again. Only the server's word changes its source.
        """
        by_server = self._looked_at[SERVER]
        return by_server if source == SERVER else max(by_server, self._looked_at[ESTIMATED])

    def _forget_looks(self) -> None:
        """Note that the last segments are gone."""
        for source, looked_at in self._looked_at.items():
            self._looked_at[source] = min(looked_at, len(self.placed))

    def _confirm(self, entry: int) -> None:
        """Take the server's word for a cut that had been estimated before it came."""
        named = self._cut_names.get(entry)
        if named is not None:
            confirmed = [named] if named.cut_entry is not None else []
        else:
            last = self._cut_responses[-1][0] if self._cut_responses else entry
            recent = self.log.t[entry] - self.log.t[last] <= CONFIRMED_NS
            confirmed = [each for at, each in self._cut_responses[-MOST_CONFIRMED:] if at == last]
            confirmed = confirmed if recent else []
        for response in confirmed:
            response.cut_source = SERVER

    @staticmethod
    def _shorten(part: Part, segment: Segment, t: int) -> None:
        kept = min(segment.format.size(max(t - segment.start_ns, 0)), segment.size)
        part.kept -= segment.size - kept
        segment.size = kept
        if not kept:
            # By identity, from the end: it is one of the last.
            index = len(part.segments) - 1
            while part.segments[index] is not segment:
                index -= 1
            del part.segments[index]
