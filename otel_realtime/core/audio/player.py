"""Models the client's player: the agent's audio as the listener heard it.

The service sends audio about five times faster than it plays, so the arrival of a chunk says little
about when, or whether, it was heard. :mod:`otel_realtime.core.audio.play_out` models the queue that
plays it. This module handles the evidence that moves and cuts what is in the queue, strongest first:

===================================  =================================================  ===============
evidence                             effect                                             heard_source
===================================  =================================================  ===============
conversation.item.truncate (client)  keep exactly ``audio_end_ms``, at most what had    client_truncate
                                     been received and can have been played by then;
                                     the play-out began correspondingly earlier;
                                     rolled back if the server refuses
conversation.item.truncated          the same, if no claim of the client stands         server
conversation.item.delete (client)    if the item plays: keep nothing of it              client_truncate
conversation.item.deleted            the same, if no claim of the client stands         server
output_audio_buffer.started          nothing of the response plays before it            -
output_audio_buffer.stopped          the response was played whole: estimates are void  -
output_audio_buffer.cleared          cut everything that is queued when it arrives;     server
                                     confirm what the client or the VAD had cut
input_audio_buffer.speech_started    cut everything that is queued when it arrives,     estimated
                                     unless ``interrupt_response`` is false
output_audio_buffer.clear (client)   cut everything that is queued when it is sent      estimated
response.cancel (client), followed   cut everything that was queued when it was sent    estimated
by new speech or a new response
===================================  =================================================  ===============

Rules:

1. A claim (truncate, delete) beats a cut of the same response: it may shorten what the cut left, or
   restore what the cut removed.
2. Parts of the same response after a part that a claim cut are not heard: the player was flushed.
3. Chunks of a cut response that arrive after the cut are not heard.
4. A claimed part was heard by the time of its claim: parts that are queued before it, unless they are
   claimed themselves, are cut as far as that requires.
5. ``response.cancel`` alone proves nothing: it stops generation, not the player. Once the
   conversation continues without the rest of the answer, the player was flushed at the cancel.

Evidence may arrive late and may be taken back; the part of the log that it affects is replayed at the
next query.

https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_realtime.core.audio.arrivals import Arrival
from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S, PCM16, AudioFormat
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
from otel_realtime.core.audio.play_out import PlayOut
from otel_realtime.core.audio.segments import LOST, Segment

#: A client reports its position at once, or asks its player first, which may be far away. A claim later than
#: this after a barge-in counts as the position at the barge-in, if the player can have reached it by then.
PROMPT_NS: Final = NS_PER_S // 2
#: A listener cannot interrupt sooner than this and have heard more than the elapsed time. Such a claim comes
#: from a stream that is replayed faster than real time, and it is the only evidence, so it is accepted.
SOONEST_NS: Final = 300 * NS_PER_MS
#: Number of claims about one part that are remembered, in case the server refuses the latest ones.
MOST_CLAIMS: Final = 16


class Player:
    """Decides what was heard of each part."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._index_by_key: dict[tuple[str, int], int] = {}
        self._parts_by_item: dict[str, list[Part]] = {}
        self._responses: dict[str, ResponsePlayback] = {}
        self._play_out = PlayOut(self._parts)
        self._cancels: list[int] = []  # entries of marks that are not yet known to be cuts
        self._due_ns = 0  # end of the queue if each item had been played as it arrived
        self._cut_t = 0  # when everything was last cut
        self._format = PCM16
        self._last_part: int | None = None

    def assume(self, buffer_ns: int) -> None:
        """Set the assumed buffer of the player until it is known; call this before anything arrives."""
        self._play_out.buffer.assume(buffer_ns)

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
        """Add audio that arrived but was not kept; it counts towards the latest part."""
        if self._last_part is not None:
            self._receive(self._last_part, t, LOST, size)

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of parts that begin from now on; a part never changes its format."""
        self._format = audio_format

    # --- evidence -------------------------------------------------------------------------------

    def cut(self, t: int, source: str = ESTIMATED, response_id: str | None = None) -> None:
        """Cut everything that is queued at ``t``.

        Args:
            t: When, in ns since the start.
            source: ``heard_source`` of what it cuts.
            response_id: The response that the evidence names, if any.
        """
        self._due_ns = min(self._due_ns, t)
        self._cut_t = t
        self._play_out.cut(t, source, self._responses.get(response_id or ""))

    def cancel(self, t: int) -> None:
        """Note that everything that is queued at ``t`` may have been cut."""
        self._cancels.append(self._play_out.log.mark(t))

    def confirm_cancels(self) -> None:
        """Cut at each moment noted by ``cancel``."""
        if self._cancels:
            self._due_ns = min(self._due_ns, self._play_out.log.t[self._cancels[-1]])
            self._play_out.confirm(self._cancels)
            self._cancels.clear()

    def began(self, t: int, index: int, begin_ns: int) -> None:
        """Note when a tap heard a part (given by its index) begin, which shows the player's buffer."""
        self._play_out.began(t, self._parts[index], begin_ns)

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
        """Keep exactly ``audio_end_ms`` of a part, but at most what can have been heard.

        Args:
            item_id: The item.
            content_index: Index of its content part.
            audio_end_ms: How much of the part was heard, in ms.
            event_id: Id of the client's event, if it has one.
            by_client: Whether the client claims it; otherwise the server reports it.
            t: When it was claimed: what is kept had been heard by then. None if unknown.
        """
        index = self._index_by_key.get((item_id, content_index))
        if index is None:
            return
        part = self._parts[index]
        if not by_client and part.claims:
            # The server confirms the client's claims in order; they stay as they are.
            for claim in part.claims:
                if claim.unanswered:
                    claim.unanswered = False
                    break
            return
        kept = min(part.format.size(audio_end_ms * NS_PER_MS), part.received)
        if t is not None:
            self._due_ns = min(self._due_ns, t)  # the client has flushed its player
            possible = self._possible(part, kept, t)
            if possible < kept and t - part.first_t < SOONEST_NS:
                t = part.origin_ns + part.format.duration_ns(kept)  # earliest possible time
            kept = min(kept, self._possible(part, kept, t))
            if t - self._cut_t > PROMPT_NS and self._possible(part, kept, self._cut_t) == kept:
                t = self._cut_t
        self._claim([part], kept, event_id, CLIENT_TRUNCATE if by_client else SERVER, t)

    def delete(self, t: int, item_id: str, event_id: str | None, *, by_client: bool) -> None:
        """Keep nothing of an item if it plays at ``t``; a later delete has no effect.

        Clients delete an item instead of truncating it at 0 ms, which the server rejects.
        """
        # A truncate before the delete states more precisely what was heard.
        parts = [part for part in self._parts_by_item.get(item_id, ()) if not part.claims]
        if any(part.due_ns > t for part in parts):
            self._due_ns = min(self._due_ns, t)
            self._claim(parts, 0, event_id, CLIENT_TRUNCATE if by_client else SERVER)

    def refuse(self, event_id: str | None, item_id: str | None) -> None:
        """Roll back a claim that the server refused; what held before it holds again.

        Args:
            event_id: The client event that the server's ``error`` names.
            item_id: The item that the claim is about; None to search all items.
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
            self._play_out.replay_from(min(part.response.parts[0].entry for part in touched))

    def buffer_started(self, t: int, response_id: str) -> None:
        """Apply ``output_audio_buffer.started``: nothing of the response plays before ``t``."""
        response = self._responses.get(response_id)
        if response is not None and not response.not_before:  # a response starts once
            response.not_before = t
            self._play_out.replay_from(response.parts[0].entry)

    def buffer_stopped(self, response_id: str) -> None:
        """Apply ``output_audio_buffer.stopped``: the response was played to its end."""
        response = self._responses.get(response_id)
        self.refresh()
        # Only an estimate is taken back: a client's or the server's own statement is not.
        if response is not None and response.cut_source == ESTIMATED:
            response.drained = True
            self._play_out.replay_from(response.parts[0].entry)

    # --- queries --------------------------------------------------------------------------------

    @property
    def buffer_ns(self) -> int | None:
        """How much the player buffers, in ns, as the call has shown; None if it has not."""
        self.refresh()
        return self._play_out.buffer.ns if self._play_out.buffer.known else None

    @property
    def due_ns(self) -> int:
        """When everything that has arrived will have been played: a rough value, without a refresh."""
        return self._due_ns

    @property
    def stale(self) -> int:
        """Number of log entries that the next ``refresh`` has to replay."""
        return self._play_out.stale

    def refresh(self) -> None:
        """Apply evidence that came late; parts state what was heard of them only after this."""
        self._play_out.refresh()

    def segments(self) -> list[Segment]:
        """Return what was heard, in order and without overlap."""
        self.refresh()
        return [segment for _, segment in self._play_out.placed]

    def segments_between(self, start: int, end: int) -> list[Segment]:
        """Return those of :meth:`segments` that are heard at any time between two times, in ns."""
        self.refresh()
        return self._play_out.between(start, end)

    @property
    def parts(self) -> list[Part]:
        """All parts in order of the arrival of their first chunk."""
        return self._parts

    def part(self, item_id: str, content_index: int) -> Part | None:
        """Return a part of an item; None if none of its audio has arrived."""
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

    def arrivals(self, part: Part) -> Iterator[Arrival]:
        """Yield the chunks of a part as ``(t, offset, size, position_ns)``, in order."""
        index = self._index_by_key[part.key]
        return self._play_out.log.of(index, part.entry, part.received)

    @property
    def end_ns(self) -> int:
        """When the last kept audio has been played; 0 before any."""
        self.refresh()
        placed = self._play_out.placed
        return placed[-1][1].end_ns if placed else 0

    def item(self, item_id: str) -> ItemAudio | None:
        """Return the audio facts of an item over all its parts; None if it has no audio."""
        self.refresh()
        parts = self._parts_by_item.get(item_id)
        return modelled_item(item_id, parts) if parts else None

    # --- parts and claims -----------------------------------------------------------------------

    def _add_part(self, t: int, item_id: str, content_index: int, response_id: str | None) -> None:
        # Without a response id (live and translation sessions), each item is its own response.
        response = self._responses.setdefault(response_id or item_id, ResponsePlayback())
        index, entry = len(response.parts), len(self._play_out.log)
        part = Part(item_id, content_index, response, self._format, entry, t, index)
        response.parts.append(part)
        self._parts.append(part)
        self._parts_by_item.setdefault(item_id, []).append(part)

    def _receive(self, index: int, t: int, offset: int, size: int) -> None:
        part = self._parts[index]
        part.origin_ns = max(part.origin_ns, t - part.received_ns)
        part.received += size
        start = max(t, self._due_ns, part.response.not_before)
        self._due_ns = part.due_ns = start + part.format.duration_ns(size)
        self._play_out.add(index, t, offset, size)

    def _possible(self, part: Part, kept: int, t: int) -> int:
        """Return how much of a claim can have been played by ``t``, given when the chunks arrived."""
        if t - part.origin_ns >= part.format.duration_ns(kept):
            return kept
        base = 0
        for arrived_t, _, size, _ in self.arrivals(part):
            if base >= kept:
                break
            kept = min(kept, base + part.format.size(max(t - arrived_t, 0)))
            base += size
        return kept

    def _claim(
        self,
        parts: list[Part],
        kept: int,
        event_id: str | None,
        source: str,
        claimed_t: int | None = None,
    ) -> None:
        for part in parts:
            # Only a client's claim awaits an answer. Chunks logged from now on came after it.
            cuts = not is_whole(kept, part.received)
            by_client = source == CLIENT_TRUNCATE
            claim = Claim(
                kept, len(self._play_out.log), source, event_id, cuts, by_client, claimed_t
            )
            part.claims.append(claim)
            del part.claims[:-MOST_CLAIMS]
            part.response.claimed()
        self._play_out.replay_from(min(part.response.parts[0].entry for part in parts))
