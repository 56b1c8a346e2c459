"""The agent's audio as it was received, item by item, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.segments import Segment

ESTIMATED: Final = "estimated"
BY_CLIENT: Final = "client_truncate"
BY_SERVER: Final = "server"
BY_TAP: Final = "tap"
"""What is known of an item, and by whose word: ``heard_source``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAudio:
    """What is known of one item's audio; times in ns since the conversation's start.

    Attributes:
        generated_ms: received for it, heard or not.
        heard_ms: played until its end or its cut.
        heard_source: ``tap``, ``client_truncate``, ``server`` or ``estimated``.
        interrupted: some of it was not heard.
        first_chunk_t: arrival of its first audio.
        audible_from_t: modelled start of its play-out; None if it was never audible.
        audible_until_t: modelled end of its play-out, after cuts; its arrival if never audible.
    """

    item_id: str
    generated_ms: int
    heard_ms: int
    heard_source: str
    interrupted: bool
    first_chunk_t: int
    audible_from_t: int | None
    audible_until_t: int


@dataclass(slots=True)
class Claim:
    """An exact kept length: ``kept`` bytes of what stood in the log before ``entry``."""

    kept: int
    entry: int
    source: str
    event_id: str | None
    cuts: bool  # it keeps less than had been received
    open: bool  # the server has not answered it yet
    by_t: int | None = None  # when it was made: what it claims had been heard by then


@dataclass(slots=True)
class Response:
    parts: list[Part] = field(default_factory=list)
    cut_at: int | None = None  # log entry of the cut; what arrives later is not heard
    cut_source: str | None = None
    not_before: int = 0  # output_audio_buffer.started
    drained: bool = False  # output_audio_buffer.stopped: no estimate holds against it


@dataclass(slots=True)
class Part:
    """The audio of one content part of one item, in one format."""

    item_id: str
    content_index: int
    response: Response
    format: AudioFormat
    entry: int  # log entry of its first chunk
    first_t: int
    received: int = 0
    kept: int = 0
    claims: list[Claim] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        """Which part of which item."""
        return self.item_id, self.content_index

    @property
    def received_ns(self) -> int:
        """How much audio has arrived for it."""
        return self.format.duration_ns(self.received)

    def source(self) -> str:
        """The best word for what the model says of it."""
        limit = self.limit()
        return limit.source if limit else self.response.cut_source or ESTIMATED

    def limit(self) -> Claim | None:
        """The claim that bounds this part: its own, or a cut before it in its response."""
        if self.claims:
            return self.claims[-1]
        for part in self.response.parts:
            if part is self:
                break
            if part.claims and part.claims[-1].cuts:
                return replace(part.claims[-1], kept=0)
        return None

    def protected(self) -> bool:
        """Whether a claim says that the play-out got as far as this part, or through it."""
        for part in reversed(self.response.parts):
            if part.claims and part.claims[-1].kept:
                return True
            if part is self:
                break
        return False


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of one part.

    Attributes:
        segments: where it sounded, in order.
        heard_ns: how much of it.
        source: by whose word.
        from_t: when it first sounded; None if it never did.
        until_t: when it ended, or will have ended as far as can be told.
    """

    segments: list[Segment]
    heard_ns: int
    source: str
    from_t: int | None
    until_t: int


def modelled(part: Part) -> Heard:
    """What the player model says of a part."""
    return heard_in(part.segments, part.format.duration_ns(part.kept), part.source(), part)


def heard_in(segments: list[Segment], heard_ns: int, source: str, part: Part) -> Heard:
    """A part that sounded in these segments."""
    if not segments:
        return Heard(segments, heard_ns, source, None, part.first_t)
    return Heard(segments, heard_ns, source, segments[0].start_ns, segments[-1].end_ns)
