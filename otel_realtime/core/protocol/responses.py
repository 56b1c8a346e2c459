"""Model responses and tool calls as the conversation knows them, and the audio facts they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_values import table, text_or_none

if TYPE_CHECKING:
    from otel_realtime.core.audio.timeline import ItemAudio

#: A client's truncate may come this long after the modelled end of play-out.
LATE_TRUNCATE_NS: Final = 1_000_000_000
#: No response waits longer than this past its play-out for anything.
MAX_WAIT_NS: Final = 30_000_000_000

#: ``response.status`` (and its reason) -> the convention's finish reason.
FINISH_REASONS: Final[Mapping[str, str]] = {
    "completed": "stop",
    "cancelled": "stop",
    "incomplete": "length",
    "failed": "error",
}


class AudioFacts(Protocol):
    """What the recording's timeline can say about sound; times are ns since the start."""

    def item(self, item_id: str) -> ItemAudio | None:
        """What was generated and heard of an item; None if no sound of it was seen."""

    def user_time(self, audio_ms: int) -> int | None:
        """When the user spoke this millisecond of appended audio."""

    def last_voice(self, before_t: int) -> int | None:
        """End of the last loud user audio before a moment."""


@dataclass(slots=True)
class Moment:
    """When an event was seen: ``t`` on the recording's clock, ``at_ns`` on the wall."""

    t: int
    at_ns: int


@dataclass(slots=True)
class ToolCall:
    """A function call of the model, and the client's answer."""

    id: str
    name: str = ""
    arguments: str = ""
    response_id: str | None = None
    turn: int = 0
    announced: Moment | None = None
    answered: Moment | None = None
    output: str | None = None

    def absorb(self, item: Item) -> None:
        """Take over name and arguments from the call's item."""
        self.name = item.name or self.name
        self.arguments = item.arguments or self.arguments
        self.response_id = item.response_id or self.response_id


@dataclass(slots=True)
class McpCall:
    """A tool call that the server itself made."""

    item_id: str
    started: Moment
    ended: Moment | None = None
    failed: bool = False


@dataclass(slots=True)
class Response:
    """One model response, from ``response.created`` to the last fact known about it."""

    id: str
    created: Moment
    done: Moment | None = None
    status: str = "in_progress"
    details: Mapping[str, Any] = field(default_factory=dict)
    out_of_band: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    context_items: int = 0
    turn: int = 0
    usage: object = None
    mcp: dict[str, McpCall] = field(default_factory=dict)

    def absorb(self, source: Mapping[str, Any]) -> None:
        """Take over what a ``response`` object of the wire says."""
        self.status = text_or_none(source.get("status")) or self.status
        self.details = table(source.get("status_details")) or self.details
        if "conversation_id" in source:
            self.out_of_band = source["conversation_id"] is None
        for key in ("output_modalities", "modalities", "max_output_tokens", "temperature", "model"):
            if source.get(key) is not None:
                self.config[key] = source[key]

    def note_mcp(self, item_id: str, kind: str, moment: Moment) -> None:
        """``response.mcp_call.*``: a server-side tool call began or ended."""
        call = self.mcp.setdefault(item_id, McpCall(item_id, started=moment))
        if not kind.endswith(".in_progress"):
            call.ended, call.failed = moment, kind.endswith(".failed")

    @property
    def status_reason(self) -> str | None:
        """Why it is not completed: ``turn_detected``, ``max_output_tokens``, an error's code."""
        error = table(self.details.get("error"))
        return (
            text_or_none(self.details.get("reason"))
            or text_or_none(error.get("code"))
            or text_or_none(error.get("type"))
        )

    @property
    def error_message(self) -> str | None:
        """What the server says went wrong, for a failed response."""
        return text_or_none(table(self.details.get("error")).get("message"))

    def finish_reasons(self, items: Items) -> list[str]:
        """The convention's finish reasons; tool calls end a response of their own kind."""
        kinds = {item.kind for item in self.output_items(items)}
        if self.status == "completed" and "function_call" in kinds:
            return ["tool_call"]
        if self.status == "incomplete" and self.status_reason == "content_filter":
            return ["content_filter"]
        return [FINISH_REASONS.get(self.status, "error")]

    def is_complete(
        self, items: Items, audio: AudioFacts | None, now_t: int, transcribes: bool
    ) -> bool:
        """True if nothing more is to be learned of it: it is done, played out and transcribed.

        Args:
            items: the conversation's items.
            audio: what sounded when; None without audio facts.
            now_t: the moment it is asked at.
            transcribes: input transcription is configured.
        """
        if self.done is None:
            return False
        played_t = self.played_out(items, audio)
        if now_t > max(played_t, self.done.t) + MAX_WAIT_NS:
            return True
        inputs = map(items.get, self.inputs if transcribes else ())
        waits = any(item and item.audio and not item.transcribed for item in inputs)
        return now_t >= played_t and not waits

    def output_items(self, items: Items) -> list[Item]:
        """Its output items, in the order the server opened them."""
        found = (items.get(item_id) for item_id in self.outputs)
        return [item for item in found if item is not None]

    def sounds(self, items: Items, audio: AudioFacts | None) -> list[ItemAudio]:
        """The audio facts of its items, first audible first."""
        if audio is None:
            return []
        found = [audio.item(item_id) for item_id in self.outputs]
        return sorted((one for one in found if one is not None), key=lambda one: one.first_chunk_t)

    def played_out(self, items: Items, audio: AudioFacts | None) -> int:
        """When its last sound is over and no truncate is expected any more."""
        sounds = self.sounds(items, audio)
        if not sounds:
            return self.done.t if self.done else 0
        return max(one.audible_until_t for one in sounds) + LATE_TRUNCATE_NS
