"""The agent's audio as it was received: items, their content parts, and what is known about each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, AudioFormat
from otel_realtime.core.audio.segments import Segment

#: Values of ``heard_source``: the evidence for what was heard.
ESTIMATED: Final = "estimated"
CLIENT_TRUNCATE: Final = "client_truncate"
SERVER: Final = "server"
TAP: Final = "tap"

#: An item counts as heard whole from this percentage on. Clients also truncate an item after its play-out,
#: at a position a few milliseconds short of its end, and that is not an interruption.
WHOLE_PERCENT: Final = 99


def is_whole(heard: int, total: int) -> bool:
    """Return whether an amount that was heard (in bytes or ns) counts as all of it."""
    return heard * 100 >= total * WHOLE_PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAudio:
    """What is known about one item's audio; times in ns since the start of the conversation.

    Attributes:
        item_id: The item.
        generated_ms: Duration of what was received, heard or not; None if its audio did not pass
            through this connection.
        heard_ms: Duration of what was played before its end or its cut.
        heard_source: ``tap``, ``client_truncate``, ``server`` or ``estimated``.
        interrupted: Whether some of it was not heard; see :data:`WHOLE_PERCENT`.
        first_chunk_t: Arrival of its first audio. If none passes through this connection: when the server
            began to play it (``output_audio_buffer.started``); None if it never did.
        audible_from_t: Start of its play-out; None if it was never audible.
        audible_until_t: End of its play-out, after cuts; its arrival if it was never audible.
        whole_ms: Estimate, by its tokens, of how long an interrupted item would have been; None if
            ``generated_ms`` is known, or if there is no estimate.
    """

    item_id: str
    generated_ms: int | None
    heard_ms: int
    heard_source: str
    interrupted: bool
    first_chunk_t: int | None
    audible_from_t: int | None
    audible_until_t: int
    whole_ms: int | None = None


@dataclass(slots=True)
class Claim:
    """Evidence that states exactly how much of a part was heard (a truncate or a delete).

    Attributes:
        kept: How much, in bytes from the start of the part.
        entry: Log entry before which it was made; chunks that arrive later are not heard.
        source: ``heard_source`` that it gives the part.
        event_id: Id of the client event that made it, which the server names to refuse it.
        cuts: Whether it keeps less than had been received.
        unanswered: Whether the server has neither confirmed nor refused it.
        claimed_t: When it was made: what it keeps had been heard by then. None if unknown.
    """

    kept: int
    entry: int
    source: str
    event_id: str | None
    cuts: bool
    unanswered: bool
    claimed_t: int | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """The combined effect of the claims about the parts of a response.

    Attributes:
        first_entry: Earliest log entry of a claim that stands; None without claims.
        cutting_part: Index of the first part that a claim cuts; None if none does.
        behind: The claim that applies to the parts after that one.
        kept_part: Index of the last part of which a claim keeps something; -1 if none does.
    """

    first_entry: int | None = None
    cutting_part: int | None = None
    behind: Claim | None = None
    kept_part: int = -1

    @classmethod
    def of(cls, parts: list[Part]) -> Claims:
        """Combine the claims about these parts; the last one about each part counts."""
        claims = [(index, part.claims[-1]) for index, part in enumerate(parts) if part.claims]
        cutting = next(((index, claim) for index, claim in claims if claim.cuts), None)
        return cls(
            min((claim.entry for _, claim in claims), default=None),
            cutting[0] if cutting else None,
            replace(cutting[1], kept=0) if cutting else None,
            max((index for index, claim in claims if claim.kept), default=-1),
        )


_NO_CLAIMS: Final = Claims()


@dataclass(slots=True)
class ResponsePlayback:
    """The play-out of one response.

    Attributes:
        parts: Its parts in order of arrival.
        cut_entry: Log entry of the cut that ended it; chunks that arrive later are not heard.
        cut_source: ``heard_source`` of that cut.
        not_before: Time of ``output_audio_buffer.started``; 0 without one.
        drained: Whether ``output_audio_buffer.stopped`` says that it was played to its end, which
            overrides estimated cuts.
    """

    parts: list[Part] = field(default_factory=list)
    cut_entry: int | None = None
    cut_source: str | None = None
    not_before: int = 0
    drained: bool = False
    _claims: Claims | None = _NO_CLAIMS

    def claimed(self) -> None:
        """Note that a claim about one of its parts was made or taken back."""
        self._claims = None

    @property
    def claims(self) -> Claims:
        """The combined effect of the claims about its parts; cached until a claim changes."""
        if self._claims is None:
            self._claims = Claims.of(self.parts)
        return self._claims


@dataclass(slots=True)
class Part:
    """The audio of one content part of one item, in one format.

    Attributes:
        item_id: The item.
        content_index: Index of the content part.
        response: The response that generated it.
        format: Its format.
        entry: Log entry of its first chunk.
        first_t: Arrival of its first chunk, in ns since the start.
        index: Its index among the parts of its response.
        due_ns: When it would have ended, had each item been played as it arrived.
        received: Size received so far, in bytes.
        kept: Size that the model plays, in bytes.
        origin_ns: The earliest time at which it can have begun, if it was played without a gap.
        buffer_ns: The player's buffer that was assumed when it began.
        claims: Claims that stand, oldest first; the last one decides.
        segments: Where the model plays it.
    """

    item_id: str
    content_index: int
    response: ResponsePlayback
    format: AudioFormat
    entry: int
    first_t: int
    index: int = 0
    due_ns: int = 0
    received: int = 0
    kept: int = 0
    origin_ns: int = 0
    buffer_ns: int = 0
    claims: list[Claim] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        """Item id and content index, which identify the part."""
        return self.item_id, self.content_index

    @property
    def received_ns(self) -> int:
        """Duration of the audio received so far, in ns."""
        return self.format.duration_ns(self.received)

    @property
    def kept_ns(self) -> int:
        """Duration of the audio that the model plays, in ns."""
        return self.format.duration_ns(self.kept)

    def source(self) -> str:
        """Return the strongest evidence behind what the model plays of the part."""
        # A claim states an amount, a cut only a moment.
        limit = self.limit()
        return limit.source if limit else self.response.cut_source or ESTIMATED

    def limit(self) -> Claim | None:
        """Return the claim that bounds the part: its own, or one that cut an earlier part.

        A client truncates the item that plays and flushes its player, so later parts of the same
        response that are still queued are not heard at all.
        """
        if self.claims:
            return self.claims[-1]  # an item may be truncated again; the last claim counts
        claims = self.response.claims
        behind = claims.cutting_part is not None and claims.cutting_part < self.index
        return claims.behind if behind else None

    def protected(self) -> bool:
        """Return whether a claim says that the play-out reached or passed this part."""
        # Parts play in order, so anything heard of a later part was heard after all of this one.
        return self.response.claims.kept_part >= self.index


@dataclass(frozen=True, slots=True)
class HeardPart:
    """What was heard of one part.

    Attributes:
        segments: Where it was heard, in order.
        heard_ns: How much of it was heard, in ns.
        source: ``heard_source``: the evidence.
        from_t: When it was first heard, in ns since the start; None if it never was.
        until_t: When it ended, or will end as far as is known.
    """

    segments: list[Segment]
    heard_ns: int
    source: str
    from_t: int | None
    until_t: int


def modelled_part(part: Part) -> HeardPart:
    """Return what the player model says of a part."""
    return heard_part(part.segments, part.kept_ns, part.source(), part)


def heard_part(segments: list[Segment], heard_ns: int, source: str, part: Part) -> HeardPart:
    """Return a part that was heard in these segments, or not at all if there are none."""
    if not segments:
        return HeardPart(segments, heard_ns, source, None, part.first_t)
    return HeardPart(segments, heard_ns, source, segments[0].start_ns, segments[-1].end_ns)


def modelled_item(item_id: str, parts: list[Part]) -> ItemAudio:
    """Return what the player model says of an item.

    Args:
        item_id: The item.
        parts: Its parts, at least one.
    """
    heard = [part.segments for part in parts if part.segments]
    first_t = min(part.first_t for part in parts)
    return ItemAudio(
        item_id=item_id,
        # Summed in ns, because rounding each part to ms would lose up to 1 ms per part.
        generated_ms=sum(part.received_ns for part in parts) // NS_PER_MS,
        heard_ms=sum(part.kept_ns for part in parts) // NS_PER_MS,
        heard_source=_source(parts),
        interrupted=not all(is_whole(part.kept, part.received) for part in parts),
        first_chunk_t=first_t,
        audible_from_t=min((segments[0].start_ns for segments in heard), default=None),
        audible_until_t=max((segments[-1].end_ns for segments in heard), default=first_t),
    )


def _source(parts: list[Part]) -> str:
    # A claim about any part is exact for the item, so it has priority over the cuts of all parts.
    for part in parts:
        limit = part.limit()
        if limit is not None:
            return limit.source
    return next((part.response.cut_source for part in parts if part.response.cut_source), ESTIMATED)
