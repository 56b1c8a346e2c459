"""What the listener heard of the agent: a model of the client's player.

The service sends audio about five times faster than it plays, so the arrival of a chunk says
little about when, or whether, it was heard. The model is a queue that plays at 1x::

    chunk starts at max(its arrival, end of the chunk before)      an underrun is a gap

and is cut by the best evidence there is:

=============================  ====================================================  ================
evidence                       effect                                                ``heard_source``
=============================  ====================================================  ================
client ``.truncate``           exactly the claimed length is kept, clamped to what   client_truncate
                               had been received; rolled back if the server refuses
server ``.truncated``          the same, when no claim of the client stands          server
``item.delete`` of an item     nothing of it was heard                               client_truncate
that plays
output buffer ``cleared``      everything queued is cut at its arrival               server
``speech_started`` while       everything queued is cut at its arrival, unless       estimated
audio is queued                ``interrupt_response`` is false
output buffer ``clear``        everything queued is cut when it is sent              estimated
by the client
=============================  ====================================================  ================

A claim beats a cut of the same response, in both directions: it may shorten or restore. What
stands behind a claimed cut in the same response is dropped (the player was flushed), and so are
chunks of a cut response that arrive afterwards. A bare ``response.cancel`` proves nothing.

Evidence may arrive late and may be taken back, so the player keeps a log of arrivals and cuts and
plays it again from the last moment at which it was idle before the part in question: nothing
later can touch audio that had ended by then.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.parts import (
    BY_CLIENT,
    BY_SERVER,
    ESTIMATED,
    Claim,
    ItemAudio,
    Part,
    Response,
)
from otel_realtime.core.audio.segments import LOST, Odometer, Segment


class Player:
    """Places chunks as they arrive and corrects itself; segments stay ordered and disjoint."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._by_key: dict[tuple[str, int], int] = {}
        self._by_item: dict[str, list[Part]] = {}
        self._responses: dict[str, Response] = {}
        self._cuts: dict[int, str] = {}  # log entry of a cut: its source
        self._log_part = array("i")  # index of the chunk's part; -1: a cut
        self._log_t = array("q")
        self._log_offset = array("q")
        self._log_size = array("q")
        self._log_position = array("q")
        self._idle: list[tuple[int, int]] = []  # (entry played on an idle player, placed before)
        self._placed: list[tuple[Part, Segment]] = []
        self._head = 0
        self._received = Odometer()
        self._format = self._received.format
        self._last_part: int | None = None

    # --- what arrives ---------------------------------------------------------------------------

    def chunk(
        self,
        t: int,
        offset: int,
        size: int,
        item_id: str,
        content_index: int,
        response_id: str | None,
    ) -> None:
        """Add ``size`` bytes at ``offset`` of the source that arrived at ``t``."""
        key = (item_id, content_index)
        index = self._by_key.get(key)
        if index is None:
            index = self._by_key[key] = len(self._parts)
            self._new_part(t, item_id, content_index, response_id)
        self._last_part = index
        self._parts[index].received += size
        self._play(self._record(index, t, offset, size))

    def lose(self, t: int, size: int) -> None:
        """Audio that arrived but was not kept; it counts for the item that arrived last."""
        if self._last_part is not None:
            self._parts[self._last_part].received += size
            self._play(self._record(self._last_part, t, LOST, size))

    def set_format(self, audio_format: AudioFormat) -> None:
        """Read the parts that begin from here on in another format; one keeps that it has."""
        self._format = audio_format

    # --- evidence -------------------------------------------------------------------------------

    def cut(self, t: int, source: str = ESTIMATED) -> None:
        """Everything that is queued at ``t`` ends there."""
        entry = self._record(-1, t, 0, 0)
        self._cuts[entry] = source
        self._play(entry)

    def truncate(
        self,
        item_id: str,
        content_index: int,
        audio_end_ms: int,
        event_id: str | None,
        *,
        by_client: bool,
        t: int | None = None,
    ) -> None:
        """Keep exactly ``audio_end_ms`` of a part, at most what has been received.

        It was heard by ``t``, if that is given: what stood in its way was not played to its end.
        """
        index = self._by_key.get((item_id, content_index))
        if index is None:
            return
        part = self._parts[index]
        if not by_client and part.claims:
            for claim in part.claims:
                if claim.open:  # answers come in order
                    claim.open = False
                    break
            return
        kept = min(part.format.size(audio_end_ms * 1_000_000), part.received)
        self._claim([part], kept, event_id, BY_CLIENT if by_client else BY_SERVER, t)

    def delete(self, t: int, item_id: str, event_id: str | None, *, by_client: bool) -> None:
        """An item that is deleted while it plays was not heard; later it changes nothing."""
        parts = [part for part in self._by_item.get(item_id, ()) if not part.claims]
        if any(self._plays(part, t) for part in parts):
            self._claim(parts, 0, event_id, BY_CLIENT if by_client else BY_SERVER)

    def refuse(self, event_id: str | None, item_id: str | None) -> None:
        """The server refused a claim: what stood before holds again."""
        touched = []
        for part in self._parts if item_id is None else self._by_item.get(item_id, ()):
            for claim in part.claims:
                if claim.open and claim.event_id == event_id:
                    part.claims.remove(claim)
                    touched.append(part)
                    break
        if touched:
            self._replay(min(part.response.parts[0].entry for part in touched))

    def buffer_started(self, t: int, response_id: str) -> None:
        """The server says when the play-out of a response began."""
        response = self._responses.get(response_id)
        if response is not None and not response.not_before:
            response.not_before = t
            self._replay(response.parts[0].entry)

    def buffer_stopped(self, response_id: str) -> None:
        """The server says that a response was played to its end."""
        response = self._responses.get(response_id)
        if response is not None and response.cut_source == ESTIMATED:
            response.drained = True
            self._replay(response.parts[0].entry)

    # --- facts ----------------------------------------------------------------------------------

    def segments(self) -> list[Segment]:
        """What was heard, in order and without overlap."""
        return [segment for _, segment in self._placed]

    @property
    def parts(self) -> list[Part]:
        """All parts in the order in which they began to arrive."""
        return self._parts

    def part(self, item_id: str, content_index: int) -> Part | None:
        """One part of an item; None if no audio of it has arrived."""
        index = self._by_key.get((item_id, content_index))
        return None if index is None else self._parts[index]

    def parts_of(self, item_id: str) -> list[Part]:
        """The parts of an item that have arrived."""
        return self._by_item.get(item_id, [])

    def index_of(self, key: tuple[str, int]) -> int:
        """A part's place among all parts."""
        return self._by_key[key]

    def arrivals(self, part: Part) -> Iterator[tuple[int, int, int, int]]:
        """Its chunks as ``(t, offset, size, position_ns)``, in order."""
        index, entry, left = self._by_key[part.key], part.entry, part.received
        while left > 0 and entry < len(self._log_part):
            if self._log_part[entry] == index:
                left -= self._log_size[entry]
                yield (
                    self._log_t[entry],
                    self._log_offset[entry],
                    self._log_size[entry],
                    self._log_position[entry],
                )
            entry += 1

    @property
    def end_ns(self) -> int:
        """When the last audio that is kept has been played; 0 before any."""
        return self._placed[-1][1].end_ns if self._placed else 0

    def item(self, item_id: str) -> ItemAudio | None:
        """The audio of an item over all its content parts; None if it has none."""
        parts = self._by_item.get(item_id)
        if not parts:
            return None
        heard = [segment for part in parts for segment in part.segments]
        first = min(part.first_t for part in parts)
        return ItemAudio(
            item_id=item_id,
            generated_ms=_milliseconds((part.received, part) for part in parts),
            heard_ms=_milliseconds((part.kept, part) for part in parts),
            heard_source=_source(parts),
            interrupted=any(part.kept < part.received for part in parts),
            first_chunk_t=first,
            audible_from_t=min((s.start_ns for s in heard), default=None),
            audible_until_t=max((s.end_ns for s in heard), default=first),
        )

    # --- the model ------------------------------------------------------------------------------

    def _new_part(self, t: int, item_id: str, content_index: int, response_id: str | None) -> None:
        response = self._responses.setdefault(response_id or item_id, Response())
        part = Part(item_id, content_index, response, self._format, len(self._log_t), t)
        response.parts.append(part)
        self._parts.append(part)
        self._by_item.setdefault(item_id, []).append(part)

    def _record(self, part: int, t: int, offset: int, size: int) -> int:
        if part >= 0 and self._parts[part].format is not self._received.format:
            self._received.set_format(self._parts[part].format)
        self._log_part.append(part)
        self._log_t.append(t)
        self._log_offset.append(offset)
        self._log_size.append(size)
        self._log_position.append(self._received.add(size))
        return len(self._log_t) - 1

    def _claim(
        self,
        parts: list[Part],
        kept: int,
        event_id: str | None,
        source: str,
        by_t: int | None = None,
    ) -> None:
        for part in parts:
            cuts, by_client = kept < part.received, source == BY_CLIENT
            claim = Claim(kept, len(self._log_t), source, event_id, cuts, by_client, by_t)
            part.claims.append(claim)
        self._replay(min(part.response.parts[0].entry for part in parts))

    def _plays(self, part: Part, t: int) -> bool:
        """Whether the part, had nothing cut it, would still play at ``t``."""
        start = part.segments[0].start_ns if part.segments else part.first_t
        return start + part.format.duration_ns(part.received) > t

    def _play(self, entry: int) -> None:
        if self._log_part[entry] < 0:
            self._play_cut(entry)
        else:
            self._play_chunk(entry)

    def _play_chunk(self, entry: int) -> None:
        part, size = self._parts[self._log_part[entry]], self._log_size[entry]
        response = part.response
        limit = part.limit()
        if limit is not None:
            size = min(size, limit.kept - part.kept) if entry < limit.entry else 0
        elif self._is_cut(response, entry):
            size = 0
        t = self._log_t[entry]
        if self._head < t:
            self._idle.append((entry, len(self._placed)))
        if size > 0:
            start = max(t, self._head, response.not_before)
            if part.claims and not part.kept:
                start = self._make_way(part, start, t)
            self._place(part, start, entry, size)

    def _make_way(self, part: Part, start: int, arrived_t: int) -> int:
        """A claimed part was heard by the time of its claim, so what queued before it was cut."""
        claim = part.claims[-1]
        if claim.by_t is None:
            return start
        latest = max(claim.by_t - part.format.duration_ns(claim.kept), arrived_t)
        while self._placed and start > latest:
            before, segment = self._placed[-1]
            if before.claims or segment.end_ns <= latest:
                break
            self._shorten(before, segment, latest)
            if segment.size:
                break
            self._placed.pop()
        end = self._placed[-1][1].end_ns if self._placed else 0
        return min(start, max(latest, end))

    def _is_cut(self, response: Response, entry: int) -> bool:
        if response.cut_at is not None and response.cut_at < entry and not response.drained:
            return True
        return any(part.claims and part.claims[-1].entry <= entry for part in response.parts)

    def _place(self, part: Part, start: int, entry: int, size: int) -> None:
        offset = self._log_offset[entry]
        before, segment = self._placed[-1] if self._placed else (None, None)
        goes_on = before is part and start == self._head
        if goes_on and segment is not None and segment.goes_on(offset, part.format):
            segment.size += size
        else:
            segment = Segment(start, offset, size, part.format, self._log_position[entry])
            part.segments.append(segment)
            self._placed.append((part, segment))
        part.kept += size
        self._head = segment.end_ns

    def _play_cut(self, entry: int) -> None:
        t, source = self._log_t[entry], self._cuts[entry]
        at = len(self._placed)
        while at > 0 and self._placed[at - 1][1].end_ns > t:
            at -= 1
        queued, self._placed[at:] = self._placed[at:], []
        for part, segment in queued:
            response = part.response
            if response.cut_at is None:
                response.cut_at, response.cut_source = entry, source
            elif source == BY_SERVER:
                response.cut_source = source
            if not (response.drained or part.protected()):
                self._shorten(part, segment, t)
            if segment.size:
                self._placed.append((part, segment))
        self._head = self._placed[-1][1].end_ns if self._placed else 0

    @staticmethod
    def _shorten(part: Part, segment: Segment, t: int) -> None:
        kept = min(segment.format.size(max(t - segment.start_ns, 0)), segment.size)
        part.kept -= segment.size - kept
        segment.size = kept
        if not kept:
            part.segments.remove(segment)

    def _replay(self, entry: int) -> None:
        """Play the log again from the last idle moment at or before ``entry``."""
        at = bisect_right(self._idle, entry, key=lambda idle: idle[0])
        first, placed = self._idle[at - 1] if at else (0, 0)
        del self._idle[max(at - 1, 0) :]
        for part, segment in self._placed[placed:]:
            part.kept -= segment.size
            part.segments.remove(segment)
        del self._placed[placed:]
        self._head = self._placed[-1][1].end_ns if self._placed else 0
        for response in self._responses.values():
            if response.cut_at is not None and response.cut_at >= first:
                response.cut_at = response.cut_source = None
        for again in range(first, len(self._log_t)):
            self._play(again)


def _milliseconds(sizes: Iterable[tuple[int, Part]]) -> int:
    return sum(part.format.duration_ns(size) for size, part in sizes) // 1_000_000


def _source(parts: list[Part]) -> str:
    for part in parts:
        limit = part.limit()
        if limit is not None:
            return limit.source
    return next((part.response.cut_source for part in parts if part.response.cut_source), ESTIMATED)
