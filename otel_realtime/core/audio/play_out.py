"""Models how the client's player plays the audio that arrives.

The model is a queue that plays at 1x. A chunk that arrives while something plays waits for its end. A
chunk that finds the queue empty plays once the player's buffer has filled. So jitter that the buffer
absorbs leaves no hole, but an underrun does. A cut ends what is queued; a claim states how much of a
part was heard by when. The size of the buffer is first assumed, then learned:
:mod:`otel_realtime.core.audio.player_buffer`.

Claims and cuts may come late and may be taken back. So everything is kept in a log and replayed from the
last moment before the part in question at which the queue was empty: nothing later can change audio that
had ended by then. A replay takes time in proportion to what was queued, so it is put off until a query
(``refresh``). The result does not depend on when that is: it is a function of the log and of the claims
that stand.

Three rules move a whole answer, starting from the moment at which the queue was empty before it:

1. A claimed position determines when the answer began, and thereby the buffer of this answer.
2. If the answer would have begun later than that even without a buffer, the audio that was queued before
   it is cut: the client had flushed it. Nothing is heard after the claim that bounds the answer.
3. As long as the buffer is unknown, a chunk that arrives a little after the end of the chunk before it
   shows that the player had held back that much: the answer began that much later.
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

#: A server's cut that names no response confirms an estimated cut within this time before it.
CONFIRMED_NS: Final = 2 * NS_PER_S
#: Maximum number of responses that such a cut confirms.
MOST_CONFIRMED: Final = 8
#: Minimum step by which jitter enlarges the buffer, so that few steps are needed.
STEP_NS: Final = 5 * NS_PER_MS
#: End of the queue before anything was played.
_NEVER: Final = -1


class _Buffered(NamedTuple):
    """What is known of a stretch's buffer; it applies to entries before ``until``."""

    until: int
    ns: int


class _Empty(NamedTuple):
    """A moment at which the queue was empty: everything after it can be replayed from here.

    Attributes:
        entry: The chunk that arrived then.
        placed: Number of segments before it.
        observations: Number of observations of the buffer made before it.
        buffered: What was known of this stretch's buffer.
    """

    entry: int
    placed: int
    observations: int
    buffered: _Buffered


class _Jitter(NamedTuple):
    """The extra buffer that jitter requires for the answer that begins with chunk ``entry``."""

    entry: int
    ns: int


_NO_JITTER: Final = _Jitter(-1, 0)
_START: Final = _Empty(0, 0, 0, _Buffered(0, 0))


class PlayOut:
    """Places chunks as they arrive; segments stay ordered and disjoint.

    Attributes:
        log: What arrived.
        placed: What was heard, in order, each with its part; valid after ``refresh``.
        buffer: What is known of the player's buffer.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.log = Arrivals()
        self.placed: list[tuple[Part, Segment]] = []
        self.buffer = PlayerBuffer()
        self._parts = parts
        self._cut_sources: dict[int, str] = {}  # by entry
        self._cut_names: dict[int, ResponsePlayback] = {}  # by entry, if the cut names a response
        self._begins: dict[int, tuple[Part, int]] = {}  # by entry: part heard to begin, and when
        self._empty: list[_Empty] = []
        self._end_ns = _NEVER  # of the queue
        self._run_ns = 0  # the buffer since the queue was last empty
        self._spare_ns = 0  # how much larger it may become if jitter requires it
        self._absorbed_ns = 0  # how much jitter has required so far
        self._jitter = _NO_JITTER
        self._buffered = _START.buffered
        self._next: _Buffered | None = None  # applies from the next empty queue on
        self._stale_from: int | None = None  # entry from which the log must be replayed
        self._cut_responses: list[tuple[int, ResponsePlayback]] = []  # by entry, ascending
        # How many of ``placed`` a cut has examined, by its source. A later cut does not change them.
        self._looked_at = dict.fromkeys((ESTIMATED, SERVER), 0)

    # --- the log --------------------------------------------------------------------------------

    def add(self, index: int, t: int, offset: int, size: int) -> None:
        """Play a chunk of the part with this index."""
        self._play(self.log.add(index, t, offset, size, self._parts[index].format))

    def cut(self, t: int, source: str, response: ResponsePlayback | None = None) -> None:
        """Cut everything that is queued at ``t``.

        Args:
            t: When, in ns since the start.
            source: ``heard_source`` of the parts that it cuts.
            response: The response that the evidence names, if any.
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
        """Turn marks into cuts."""
        self._cut_sources.update(dict.fromkeys(entries, ESTIMATED))
        self.replay_from(entries[0])

    def replay_from(self, entry: int) -> None:
        """Note that the log must be replayed from an entry on, before the next query."""
        self._stale_from = entry if self._stale_from is None else min(self._stale_from, entry)

    @property
    def stale(self) -> int:
        """Number of entries that the next ``refresh`` has to replay."""
        if self._stale_from is None:
            return 0
        index = self._last_empty(self._stale_from)
        return len(self.log) - (self._empty[index].entry if index >= 0 else 0)

    def refresh(self) -> None:
        """Apply evidence that came late; parts state what was heard of them only after this."""
        if self._stale_from is not None:
            entry, self._stale_from = self._stale_from, None
            self.replay(entry)

    def replay(self, entry: int) -> None:
        """Replay the log from the last empty queue at or before an entry."""
        for replayed in range(self._rewind(self._last_empty(entry)), len(self.log)):
            self._play_entry(replayed)

    def between(self, start: int, end: int) -> list[Segment]:
        """Return the segments that are heard at any time between two times, in ns."""
        first = bisect_right(self.placed, start, key=lambda placed: placed[1].end_ns)
        last = bisect_left(self.placed, end, key=lambda placed: placed[1].start_ns)
        return [segment for _, segment in self.placed[first:last]]

    # --- going back -----------------------------------------------------------------------------

    def _last_empty(self, entry: int) -> int:
        """Return the index of the last empty queue at or before an entry; -1 for the start."""
        return bisect_right(self._empty, entry, key=lambda empty: empty.entry) - 1

    def _rewind(self, index: int) -> int:
        """Undo everything since an empty queue; return the entry to continue with."""
        empty = self._empty[index] if index >= 0 else _START
        del self._empty[max(index, 0) :]  # playing its entry adds it again
        for part, segment in reversed(self.placed[empty.placed :]):
            part.kept -= segment.size
            part.segments.pop()  # parts are placed in order, so that is its last segment
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
        """Replay from an empty queue up to an entry, with a different buffer."""
        first = self._rewind(index)
        # The empty queue itself keeps what was known at it, which applies again if the reason for the
        # different buffer no longer holds.
        self._next = buffered
        for entry in range(first, until):
            self._play_entry(entry)

    def _last_end_ns(self) -> int:
        return self.placed[-1][1].end_ns if self.placed else _NEVER

    # --- going on -------------------------------------------------------------------------------

    def _play(self, entry: int) -> None:
        if self._stale_from is None:  # otherwise it will be replayed anyway
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
            # One ns more, because durations are rounded down.
            size = min(size, part.format.size(max(claim.claimed_t - start + 1, 0)))
        else:
            start = self._start(part, entry)
        if size:
            self._place(part, start, entry, size)

    def _find_empty(self, entry: int) -> None:
        """Note an empty queue: what came before it no longer matters."""
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
        """Enlarge the buffer if that alone avoids a hole; return whether it did."""
        lack_ns, spare_ns = self.log.t[entry] - self._end_ns, self._spare_ns
        last_part = self.placed[-1][0] if self.placed else None
        if lack_ns > spare_ns or last_part is None:
            return False
        if last_part.response is not part.response and (
            # Two answers in a row: only if the gap is too short to be noticed.
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
        """Return when a chunk without a claim plays."""
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
        """Find the buffer with which a part was heard as far as claimed, at the time of the claim."""
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
        """Return the buffer that a claim implies, which may differ from the present one."""
        late_ns = claimed_t - self._reach(part, claim.kept, entry)
        # A part that was heard whole may have ended at any time before the claim.
        return self._run_ns + (late_ns if claim.cuts else min(late_ns, 0))

    def _first_to_move(self, part: Part, entry: int) -> int | None:
        """Return the index of the empty queue before the answer that a part belongs to.

        None if an earlier claim has already moved the answer: that claim's evidence stands.
        """
        if not self._empty or entry < self._buffered.until:
            return None
        first = max(self._last_empty(part.response.parts[0].entry), 0)
        moved = bisect_left(self._empty, self._buffered.until, key=lambda empty: empty.entry)
        first = max(first, moved)
        return first if first < len(self._empty) else None

    def _reach(self, part: Part, kept: int, entry: int) -> int:
        """Return when the player reaches a position of a part that begins to play now."""
        at = self._start(part, entry)
        if at >= part.origin_ns:  # each chunk arrives before it is due
            return at + part.format.duration_ns(kept)
        for t, _, size, _ in self.log.of(self.log.part[entry], entry, kept):
            size, kept = min(size, kept), kept - size
            at = (at if at >= t else t + self._run_ns) + part.format.duration_ns(size)
        return at

    def _make_room(self, part: Part, claim: Claim, claimed_t: int, entry: int) -> None:
        """Cut what is queued before a claimed part as far as the claim requires."""
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
        """Return when a chunk of a claimed part plays: early enough for the claim to hold."""
        latest = claimed_t - part.format.duration_ns(claim.kept - part.kept)
        start = self._start(part, entry)
        return min(start, max(latest, self.log.t[entry], self._end_ns))

    def _learn(self, part: Part, begin_ns: int) -> None:
        """Learn the buffer from when a tap heard a part begin."""
        if part.segments:
            late_ns = begin_ns - part.segments[0].start_ns
            self.buffer.observe(part.buffer_ns + late_ns, tap=True)

    # --- cuts -----------------------------------------------------------------------------------

    def _play_cut(self, entry: int) -> None:
        t, source = self.log.t[entry], self._cut_sources[entry]
        if source != ESTIMATED:
            self._confirm(entry)
        # Segments are ordered, so only the last ones can extend beyond the cut.
        index, first = len(self.placed), self._first_to_cut(source)
        while index > first and self.placed[index - 1][1].end_ns > t:
            index -= 1
        queued, self.placed[index:] = self.placed[index:], []
        for part, segment in queued:
            response = part.response
            if response.cut_entry is None:
                response.cut_entry, response.cut_source = entry, source
                self._cut_responses.append((entry, response))
            elif source == SERVER:  # it confirms an estimated cut
                response.cut_source = source
            if not (response.drained or part.protected()):
                self._shorten(part, segment, t)
            if segment.size:
                self.placed.append((part, segment))
        self._looked_at[source] = len(self.placed)
        self._end_ns = self._last_end_ns()

    def _first_to_cut(self, source: str) -> int:
        """Return the index of the first segment that a cut may change.

        Segments that an earlier cut examined have ended before it, or a claim or the server's statement
        protects them, which holds as long as the log is not replayed. Only a cut by the server can still
        change the source of an estimated one.
        """
        by_server = self._looked_at[SERVER]
        return by_server if source == SERVER else max(by_server, self._looked_at[ESTIMATED])

    def _forget_looks(self) -> None:
        """Note that the last segments were removed."""
        for source, looked_at in self._looked_at.items():
            self._looked_at[source] = min(looked_at, len(self.placed))

    def _confirm(self, entry: int) -> None:
        """Take a server's cut as confirmation of an estimated cut that came before it."""
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
            # Searched by identity from the end, because it is one of the last.
            index = len(part.segments) - 1
            while part.segments[index] is not segment:
                index -= 1
            del part.segments[index]
