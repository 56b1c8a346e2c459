"""The agent's audio as it was received: items, their content parts, and what is known of each."""

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

#: What was heard to this part of a hundred was heard whole. Clients truncate an item after its
#: play-out, too, and their position is a few milliseconds short of its end: no interruption.
WHOLE_PERCENT: Final = 99


def is_whole(heard: int, total: int) -> bool:
    """Return whether an amount that was heard (in bytes or ns) counts as all of it."""
    return heard * 100 >= total * WHOLE_PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAudio:
    """What is known of one item's audio; times in ns since the start of the conversation.

    Attributes:
        item_id: The item.
        generated_ms: Duration of what was received, heard or not; None if its audio did not come
            this way.
        heard_ms: Duration of what was played before its end or its cut.
        heard_source: ``tap``, ``client_truncate``, ``server`` or ``estimated``.
        interrupted: Whether some of it was not heard; see :data:`WHOLE_PERCENT`.
        first_chunk_t: Arrival of its first audio. If none comes this way: when the server began to
            play it (``output_audio_buffer.started``); None if it never did.
        audible_from_t: Start of its play-out; None if it was never audible.
        audible_until_t: End of its play-out, after cuts; its arrival if it was never audible.
        whole_ms: An estimate of how long an interrupted item would have been, by its tokens; None
            if ``generated_ms`` is known, or if there is no estimate.
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
        source: ``heard_source`` of the part because of it.
        event_id: Id of the client event that made it, by which the server refuses it.
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
    """What the claims about the parts of a response say together.

    Attributes:
        first_entry: The earliest log entry of one that stands; None without claims.
        cutting_part: Index of the first part that one cuts; None if none does.
        behind: What holds for the parts behind that one.
        kept_part: Index of the last part of which one keeps something; -1 if none does.
    """

    first_entry: int | None = None
    cutting_part: int | None = None
    behind: Claim | None = None
    kept_part: int = -1

    @classmethod
    def of(cls, parts: list[Part]) -> Claims:
        """Read the claims about these parts; the last one about each counts."""
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
        drained: Whether ``output_audio_buffer.stopped`` says that it was played to its end, against
            which no estimated cut holds.
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
        """What the claims about its parts say together; read once, however often they are asked."""
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
        due_ns: When it would have been played, had each item been played as it came.
        received: Size received so far, in bytes.
        kept: Size that the model plays, in bytes.
        origin_ns: Before this it cannot have begun, if it was played without a gap.
        buffer_ns: What the player was taken to hold back when it began.
        claims: Claims that stand, oldest first; the last one rules.
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
        """Return the strongest evidence behind what the model plays of it."""
        # A claim states an amount, a cut only a moment.
        limit = self.limit()
        return limit.source if limit else self.response.cut_source or ESTIMATED

    def limit(self) -> Claim | None:
        """Return the claim that bounds the part: its own, or one that cut an earlier part.

        The client truncates the item that plays and flushes its player, so the parts of the same
        response that queue behind it are not heard at all.
        """
        if self.claims:
            return self.claims[-1]  # an item may be truncated again; the last word counts
        claims = self.response.claims
        behind = claims.cutting_part is not None and claims.cutting_part < self.index
        return claims.behind if behind else None

    def protected(self) -> bool:
        """Return whether a claim says that the play-out reached this part, or got past it."""
        # Parts play in order, so what was heard of a later one came after all of this one.
        return self.response.claims.kept_part >= self.index


@dataclass(frozen=True, slots=True)
class HeardPart:
    """What was heard of one part.

    Attributes:
        segments: Where it was heard, in order.
        heard_ns: How much of it was heard, in ns.
        source: ``heard_source``: the evidence.
        from_t: When it was first heard, in ns since the start; None if never.
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
    """Return a part that was heard in these segments, or never if there are none."""
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
        # Added up in ns: rounding each part to ms would lose up to 1 ms per part.
        generated_ms=sum(part.received_ns for part in parts) // NS_PER_MS,
        heard_ms=sum(part.kept_ns for part in parts) // NS_PER_MS,
        heard_source=_source(parts),
        interrupted=not all(is_whole(part.kept, part.received) for part in parts),
        first_chunk_t=first_t,
        audible_from_t=min((segments[0].start_ns for segments in heard), default=None),
        audible_until_t=max((segments[-1].end_ns for segments in heard), default=first_t),
    )


def _source(parts: list[Part]) -> str:
    # A claim about any part is exact for the item, so it precedes the cuts of all parts.
    for part in parts:
        limit = part.limit()
        if limit is not None:
            return limit.source
    return next((part.response.cut_source for part in parts if part.response.cut_source), ESTIMATED)
