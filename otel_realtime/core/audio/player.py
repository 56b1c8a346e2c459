"""The agent's audio as the listener heard it: a model of the client's player.

The service sends audio about five times faster than it plays, so the arrival of a chunk says little
about when, or whether, it was heard. The model is a queue that plays at 1x: a chunk starts at
``max(its arrival, end of the chunk before it)``, so that an underrun opens a gap. The queue is cut
by the best evidence there is:

===================================  =================================================  ===============
evidence                             effect                                             heard_source
===================================  =================================================  ===============
conversation.item.truncate (client)  keep exactly ``audio_end_ms``, at most what had    client_truncate
                                     been received; rolled back if the server refuses
conversation.item.truncated          the same, if no claim of the client stands         server
conversation.item.delete (client)    if the item plays: keep nothing of it              client_truncate
conversation.item.deleted            the same, if no claim of the client stands         server
output_audio_buffer.started          nothing of the response plays before it            -
output_audio_buffer.stopped          the response was played whole: no estimate holds   -
output_audio_buffer.cleared          cut everything that is queued when it arrives      server
input_audio_buffer.speech_started    cut everything that is queued when it arrives,     estimated
                                     unless ``interrupt_response`` is false
output_audio_buffer.clear (client)   cut everything that is queued when it is sent      estimated
response.cancel (client), followed   cut everything that was queued when it was sent    estimated
by new speech or a new response
===================================  =================================================  ===============

Rules:

1. A claim (truncate, delete) beats a cut of the same response: it may shorten what the cut left, or
   restore what the cut removed.
2. Parts of the same response behind a part that a claim cut are not heard: the player was flushed.
3. Chunks of a cut response that arrive after the cut are not heard.
4. A claimed part was heard by the time of its claim: what is queued before it, unless claimed
   itself, is cut as far as that demands.
5. ``response.cancel`` alone proves nothing: it stops generation, not the player. Once the
   conversation goes on without the rest of the answer, the player was flushed with it.

Evidence may arrive late and may be taken back. So the player keeps a log of arrivals and cuts (in
arrays: a long call has many thousands) and replays it from the last moment at which the queue was
empty before the part in question: nothing later can change audio that had ended by then. That takes
time in proportion to what was queued, so it is put off until somebody asks (``refresh``): a thousand
truncates of queued items are one replay. Nothing depends on when that is.

https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, AudioFormat
from otel_realtime.core.audio.parts import (
    CLIENT_TRUNCATE,
    ESTIMATED,
    SERVER,
    Claim,
    ItemAudio,
    Part,
    ResponsePlayback,
    is_whole,
    modelled_item,
)
from otel_realtime.core.audio.segments import LOST, DurationCounter, Segment

#: Claims about one part that are remembered, should the server refuse the latest ones.
MOST_CLAIMS: Final = 16


class Player:
    """Places chunks as they arrive and corrects itself; segments stay ordered and disjoint."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._index_by_key: dict[tuple[str, int], int] = {}
        self._parts_by_item: dict[str, list[Part]] = {}
        self._responses: dict[str, ResponsePlayback] = {}
        self._cut_sources: dict[int, str] = {}  # by log entry
        self._cancels: list[int] = []  # entries of cuts that are not known to be any
        self._log_part = array("i")  # index of the chunk's part; -1 for a cut
        self._log_t = array("q")
        self._log_offset = array("q")
        self._log_size = array("q")
        self._log_position = array("q")
        self._idle: list[tuple[int, int]] = []  # entries at an empty queue, segments before them
        self._placed: list[tuple[Part, Segment]] = []
        self._queue_end_ns = 0
        self._due_ns = 0  # end of the queue, had each item been played as it came
        self._stale_from: int | None = None  # entry from which the log must be played again
        self._cut_responses: list[tuple[int, ResponsePlayback]] = []  # by entry, ascending
        self._received = DurationCounter()
        self._format = self._received.format
        self._last_part: int | None = None

    # --- arrivals -------------------------------------------------------------------------------

    def add_chunk(
        self,
        t: int,
        offset: int,
        size: int,
        item_id: str,
        content_index: int,
        response_id: str | None,
    ) -> None:
        """Add a chunk that arrived at ``t``: ``size`` bytes at ``offset`` of the source."""
        key = (item_id, content_index)
        index = self._index_by_key.get(key)
        if index is None:
            index = self._index_by_key[key] = len(self._parts)
            self._add_part(t, item_id, content_index, response_id)
        self._last_part = index
        self._receive(index, t, offset, size)

    def add_lost(self, t: int, size: int) -> None:
        """Add audio that arrived but was not kept; it is taken to belong to the latest part."""
        if self._last_part is not None:
            self._receive(self._last_part, t, LOST, size)

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of parts that begin from here on; a part never changes its format."""
        self._format = audio_format

    # --- evidence -------------------------------------------------------------------------------

    def cut(self, t: int, source: str = ESTIMATED) -> None:
        """Cut everything that is queued at ``t``."""
        entry = self._log(-1, t, 0, 0)
        self._cut_sources[entry] = source
        self._due_ns = min(self._due_ns, t)
        self._play(entry)

    def cancel(self, t: int) -> None:
        """Note that everything that is queued at ``t`` may have been cut."""
        self._cancels.append(self._log(-1, t, 0, 0))

    def confirm_cancels(self) -> None:
        """Cut at each moment noted by ``cancel``."""
        if self._cancels:
            self._cut_sources.update(dict.fromkeys(self._cancels, ESTIMATED))
            self._due_ns = min(self._due_ns, self._log_t[self._cancels[-1]])
            self._replay_from(self._cancels[0])
            self._cancels.clear()

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

        Args:
            item_id: The item.
            content_index: Index of its content part.
            audio_end_ms: How much of the part was heard, in ms.
            event_id: Id of the client's event, if it has one.
            by_client: Whether the client claims it; else the server reports it.
            t: When it was claimed: what is kept had been heard by then. None if unknown.
        """
        index = self._index_by_key.get((item_id, content_index))
        if index is None:
            return
        part = self._parts[index]
        if not by_client and part.claims:
            # The server confirms the client's claims, in their order; they stay as they are.
            for claim in part.claims:
                if claim.unanswered:
                    claim.unanswered = False
                    break
            return
        kept = min(part.format.size(audio_end_ms * NS_PER_MS), part.received)
        if t is not None:
            self._due_ns = min(self._due_ns, t)  # the client has flushed its player
        self._claim([part], kept, event_id, CLIENT_TRUNCATE if by_client else SERVER, t)

    def delete(self, t: int, item_id: str, event_id: str | None, *, by_client: bool) -> None:
        """Keep nothing of an item if it plays at ``t``; deleting it later changes nothing.

        Clients delete the item instead of truncating it at 0 ms, which the server rejects.
        """
        # A truncate before the delete says more precisely what was heard.
        parts = [part for part in self._parts_by_item.get(item_id, ()) if not part.claims]
        if any(part.due_ns > t for part in parts):
            self._due_ns = min(self._due_ns, t)
            self._claim(parts, 0, event_id, CLIENT_TRUNCATE if by_client else SERVER)

    def refuse(self, event_id: str | None, item_id: str | None) -> None:
        """Roll back a claim that the server refused: what stood before holds again.

        Args:
            event_id: The client event that the server's ``error`` names.
            item_id: The item that the claim is about; None to look at all items.
        """
        touched = []
        for part in self._parts if item_id is None else self._parts_by_item.get(item_id, ()):
            for claim in part.claims:
                # Without ids (None) the oldest open claim is meant: the server answers in order.
                if claim.unanswered and claim.event_id == event_id:
                    part.claims.remove(claim)
                    part.response.claimed()
                    touched.append(part)
                    break
        if touched:
            self._replay_from(min(part.response.parts[0].entry for part in touched))

    def buffer_started(self, t: int, response_id: str) -> None:
        """Apply ``output_audio_buffer.started``: nothing of the response plays before ``t``."""
        response = self._responses.get(response_id)
        if response is not None and not response.not_before:  # a response starts once
            response.not_before = t
            self._replay_from(response.parts[0].entry)

    def buffer_stopped(self, response_id: str) -> None:
        """Apply ``output_audio_buffer.stopped``: the response was played to its end."""
        response = self._responses.get(response_id)
        self.refresh()
        # Only an estimate is taken back: a client's or the server's own word is not.
        if response is not None and response.cut_source == ESTIMATED:
            response.drained = True
            self._replay_from(response.parts[0].entry)

    # --- queries --------------------------------------------------------------------------------

    @property
    def stale(self) -> int:
        """How many log entries the next ``refresh`` has to play."""
        if self._stale_from is None:
            return 0
        return len(self._log_t) - self._restart(self._stale_from)[1]

    def refresh(self) -> None:
        """Take into account what came late; parts tell what was heard of them only after this."""
        if self._stale_from is not None:
            entry, self._stale_from = self._stale_from, None
            self._replay(entry)

    def segments(self) -> list[Segment]:
        """Return what was heard, in order and without overlap."""
        self.refresh()
        return [segment for _, segment in self._placed]

    def segments_between(self, start: int, end: int) -> list[Segment]:
        """Return those of :meth:`segments` that are heard at some time between two times, in ns."""
        self.refresh()
        first = bisect_right(self._placed, start, key=lambda placed: placed[1].end_ns)
        last = bisect_left(self._placed, end, key=lambda placed: placed[1].start_ns)
        return [segment for _, segment in self._placed[first:last]]

    @property
    def parts(self) -> list[Part]:
        """All parts in order of the arrival of their first chunk."""
        return self._parts

    def part(self, item_id: str, content_index: int) -> Part | None:
        """Return a part of an item; None if no audio of it has arrived."""
        index = self._index_by_key.get((item_id, content_index))
        return None if index is None else self._parts[index]

    def parts_of(self, item_id: str) -> list[Part]:
        """Return the parts of an item that have arrived."""
        return self._parts_by_item.get(item_id, [])

    def indices_of(self, item_id: str) -> list[int]:
        """Return the indices of an item's parts among all parts."""
        return [self._index_by_key[part.key] for part in self.parts_of(item_id)]

    def index_of(self, key: tuple[str, int]) -> int:
        """Return the index of a part among all parts."""
        return self._index_by_key[key]

    def arrivals(self, part: Part) -> Iterator[tuple[int, int, int, int]]:
        """Yield the chunks of a part as ``(t, offset, size, position_ns)``, in order."""
        index, entry, pending = self._index_by_key[part.key], part.entry, part.received
        while pending > 0 and entry < len(self._log_part):
            if self._log_part[entry] == index:
                pending -= self._log_size[entry]
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
        self.refresh()
        return self._placed[-1][1].end_ns if self._placed else 0

    def item(self, item_id: str) -> ItemAudio | None:
        """Return the audio facts of an item over all its parts; None if it has no audio."""
        self.refresh()
        parts = self._parts_by_item.get(item_id)
        return modelled_item(item_id, parts) if parts else None

    # --- the model ------------------------------------------------------------------------------

    def _add_part(self, t: int, item_id: str, content_index: int, response_id: str | None) -> None:
        # Without a response id (live and translation sessions) each item is a response of its own.
        response = self._responses.setdefault(response_id or item_id, ResponsePlayback())
        index = len(response.parts)
        part = Part(item_id, content_index, response, self._format, len(self._log_t), t, index)
        response.parts.append(part)
        self._parts.append(part)
        self._parts_by_item.setdefault(item_id, []).append(part)

    def _receive(self, index: int, t: int, offset: int, size: int) -> None:
        part = self._parts[index]
        part.received += size
        entry = self._log(index, t, offset, size)
        start = max(t, self._due_ns, part.response.not_before)
        self._due_ns = part.due_ns = start + part.format.duration_ns(size)
        self._play(entry)

    def _log(self, part: int, t: int, offset: int, size: int) -> int:
        # By identity, because it runs for every chunk: to count on in an equal format is harmless.
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
        claimed_t: int | None = None,
    ) -> None:
        for part in parts:
            # Only a client's claim awaits an answer. Chunks logged from here on came after it.
            cuts = not is_whole(kept, part.received)
            by_client = source == CLIENT_TRUNCATE
            claim = Claim(kept, len(self._log_t), source, event_id, cuts, by_client, claimed_t)
            part.claims.append(claim)
            del part.claims[:-MOST_CLAIMS]
            part.response.claimed()
        self._replay_from(min(part.response.parts[0].entry for part in parts))

    def _replay_from(self, entry: int) -> None:
        """Note that the log must be played again from an entry on, before anybody asks."""
        self._stale_from = entry if self._stale_from is None else min(self._stale_from, entry)

    def _play(self, entry: int) -> None:
        if self._stale_from is None:  # else it is played again anyway
            self._play_entry(entry)

    def _play_entry(self, entry: int) -> None:
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
        if self._queue_end_ns < t:  # the queue is empty: what came before cannot matter any more
            self._idle.append((entry, len(self._placed)))
        if size > 0:
            start = max(t, self._queue_end_ns, response.not_before)
            if part.claims and not part.kept:
                start = self._make_room(part, start, t)
            self._place(part, start, entry, size)

    def _make_room(self, part: Part, start: int, arrived_t: int) -> int:
        """Cut what is queued before a claimed part as far as its claim demands; return its start."""
        claim = part.claims[-1]
        if claim.claimed_t is None:
            return start
        latest = max(claim.claimed_t - part.format.duration_ns(claim.kept), arrived_t)
        while self._placed and start > latest:
            queued_part, segment = self._placed[-1]
            if queued_part.claims or segment.end_ns <= latest:
                break
            self._shorten(queued_part, segment, latest)
            if segment.size:
                break
            self._placed.pop()
        end = self._placed[-1][1].end_ns if self._placed else 0
        return min(start, max(latest, end))

    def _is_cut(self, response: ResponsePlayback, entry: int) -> bool:
        if response.cut_entry is not None and response.cut_entry < entry and not response.drained:
            return True
        first = response.claims.first_entry
        return first is not None and first <= entry

    def _place(self, part: Part, start: int, entry: int, size: int) -> None:
        offset = self._log_offset[entry]
        last_part, segment = self._placed[-1] if self._placed else (None, None)
        adjoins = last_part is part and start == self._queue_end_ns
        if adjoins and segment is not None and segment.is_continued_by(offset, part.format):
            segment.size += size
        else:
            segment = Segment(start, offset, size, part.format, self._log_position[entry])
            part.segments.append(segment)
            self._placed.append((part, segment))
        part.kept += size
        self._queue_end_ns = segment.end_ns

    def _play_cut(self, entry: int) -> None:
        t, source = self._log_t[entry], self._cut_sources.get(entry)
        if source is None:  # only ``response.cancel`` so far
            return
        # Segments are ordered, so only the last ones can reach beyond the cut.
        index = len(self._placed)
        while index > 0 and self._placed[index - 1][1].end_ns > t:
            index -= 1
        queued, self._placed[index:] = self._placed[index:], []
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
                self._placed.append((part, segment))
        self._queue_end_ns = self._placed[-1][1].end_ns if self._placed else 0

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

    def _restart(self, entry: int) -> tuple[int, int, int]:
        """Return the last empty queue at or before an entry: its index, entry, segments before it."""
        index = bisect_right(self._idle, entry, key=lambda idle: idle[0]) - 1
        return (index, *self._idle[index]) if index >= 0 else (0, 0, 0)

    def _replay(self, entry: int) -> None:
        """Play the log again from the last empty queue at or before ``entry``."""
        index, first, placed = self._restart(entry)
        del self._idle[index:]  # replaying its entry adds it again
        for part, segment in reversed(self._placed[placed:]):
            part.kept -= segment.size
            part.segments.pop()  # a part is placed in order, so that is its last one
        del self._placed[placed:]
        self._queue_end_ns = self._placed[-1][1].end_ns if self._placed else 0
        while self._cut_responses and self._cut_responses[-1][0] >= first:
            response = self._cut_responses.pop()[1]
            response.cut_entry = response.cut_source = None
        for replayed in range(first, len(self._log_t)):
            self._play_entry(replayed)
