"""Model responses and tool calls as the conversation knows them, and the audio facts they need.

A response is *settled* when nothing more can be learned about it. Its span is written then, with
the end time of ``response.done``. The rules:

1. ``response.done`` has arrived.
2. Each of its audio items has been played out or cut, plus one second for a late truncate.
3. If input transcription is configured, the transcripts of the items that it read have arrived or
   failed.
4. If speech cut it, the content of that speech is known (see ``interruptions``).
5. Rules 2 to 4 are waived 30 seconds after the end of play-out: a transcript may never come.
6. The tools that the server runs for it have ended. This rule is waived 5 minutes after its end.

If the connection closes before ``response.done``, the close takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from otel_realtime.core.protocol.events import JsonMapping, JsonObject, JsonValue
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none

if TYPE_CHECKING:
    from otel_realtime.core.audio.parts import ItemAudio

#: A client's ``conversation.item.truncate`` may arrive this long after the modelled play-out end.
LATE_TRUNCATE_NS: Final = 1_000_000_000
#: Maximum time that a response waits for transcripts after its play-out.
MAX_WAIT_NS: Final = 30_000_000_000
#: Maximum time that a response waits after its end for a tool that the server runs.
MAX_MCP_WAIT_NS: Final = 300_000_000_000

#: ``response.status`` -> the convention's finish reason (``gen_ai.response.finish_reasons``,
#: https://github.com/open-telemetry/semantic-conventions-genai); for a cancelled response the
#: server's own reason is used instead.
FINISH_REASONS: Final[Mapping[str, str]] = {
    "completed": "stop",
    "incomplete": "length",
    "failed": "error",
}

#: Settings with which a response may override the session's.
_OWN_SETTINGS: Final = (
    "output_modalities", "modalities", "max_output_tokens", "temperature", "model", "reasoning",
)  # fmt: skip


class AudioFacts(Protocol):
    """What the recording's timeline knows about audio; times are in ns since the start."""

    def item(self, item_id: str) -> ItemAudio | None:
        """Return how much of an item was generated and heard; None if it has no audio."""

    def statement_due(self, item_id: str) -> int:
        """Return until when the server may still report what was heard of an item; 0 if it need not."""

    def user_time(self, audio_ms: int) -> int | None:
        """Return when the user spoke the audio at ``audio_ms`` of the appended audio; None if unknown."""

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """Return start and end of the user's speech in an item that the client itself committed."""

    def user_speech(self, item_id: str) -> tuple[int, int] | None:
        """Return start and end of the user's speech in an item, without VAD padding and pauses around."""

    def last_voice(self, before_t: int) -> int | None:
        """Return the end of the last voiced user audio before ``before_t``."""


@dataclass(slots=True)
class Moment:
    """When an event was seen.

    Attributes:
        t: Time on the recording's monotonic clock, in ns since the start of the conversation.
        at_ns: Wall-clock time, in epoch ns.
    """

    t: int
    at_ns: int


@dataclass(slots=True)
class ToolCall:
    """A function call of the model, with the output that the client sent.

    Attributes:
        id: The ``call_id``.
        item_id: Id of its item; None until it is known.
        name: Name of the function.
        arguments: Arguments as JSON text.
        response_id: Id of the response that made the call.
        turn: Number of the turn in which the call was made.
        announced: When the first event with the complete arguments arrived.
        answered: When the client sent the ``function_call_output``.
        output: That output.
        cut: Whether the call was cut off, so that nobody will run it.
        over: When the call could no longer be answered: when its out-of-band response ended (its
            result is then not missed), or when its connection closed.
        lost: Whether its connection closed before it was answered; its result is then missed.
    """

    id: str
    item_id: str | None = None
    name: str = ""
    arguments: str = ""
    response_id: str | None = None
    turn: int = 0
    announced: Moment | None = None
    answered: Moment | None = None
    output: str | None = None
    cut: bool = False
    over: Moment | None = None
    lost: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the call is finished: answered, no longer answerable, or cut off."""
        return self.answered is not None or self.over is not None or self.cut

    @property
    def is_missed(self) -> bool:
        """Whether the client is expected to send the result of the call."""
        return self.announced is not None and (self.over is None or self.lost)

    def merge(self, item: Item) -> None:
        """Update name, arguments and response from the call's item."""
        self.item_id = self.item_id or item.id
        self.name = item.name or self.name
        self.arguments = item.arguments or self.arguments
        self.response_id = item.response_id or self.response_id


@dataclass(slots=True)
class McpCall:
    """A tool call made by the server itself.

    Attributes:
        item_id: Id of its ``mcp_call`` item.
        started: When ``response.mcp_call.in_progress`` or the item arrived.
        ended: When ``.completed``, ``.failed`` or the item with a result arrived.
        failed: Whether it failed.
        begun: Whether an event reported that the call is running.
    """

    item_id: str
    started: Moment
    ended: Moment | None = None
    failed: bool = False
    begun: bool = True


@dataclass(slots=True)
class McpApproval:
    """The server's request for approval to run a tool, and the client's answer.

    Attributes:
        item: Its ``mcp_approval_request`` item.
        asked: When that item was first seen.
        turn: Number of the conversation's turn at that time.
        answered: When the client sent the ``mcp_approval_response``.
        approved: The answer; None if unknown.
        reason: The client's reason, if it gave one.
        lost: Whether the connection closed before the answer; the next session does not know the
            request.
    """

    item: Item
    asked: Moment
    turn: int = 0
    answered: Moment | None = None
    approved: bool | None = None
    reason: str | None = None
    lost: bool = False


@dataclass(slots=True)
class McpListing:
    """A list of tools that the server fetches from an MCP server.

    Attributes:
        item_id: Id of its ``mcp_list_tools`` item.
        started: When ``mcp_list_tools.in_progress`` arrived; None before that.
        server: Label of the MCP server.
        tools: Names of the tools.
        ended: When ``.completed`` or ``.failed`` arrived.
        failed: Whether it failed.
    """

    item_id: str
    started: Moment | None = None
    server: str | None = None
    tools: list[str] = field(default_factory=list)
    ended: Moment | None = None
    failed: bool = False


@dataclass(slots=True)
class Response:
    """One model response, from ``response.created`` until it is settled.

    Attributes:
        id: Its id.
        created: When ``response.created`` arrived.
        previous: The response that was created before it.
        session_id: Id of the server's session in which it was created; a reconnect starts another.
        session_model: The model of that session, if it was known then.
        done: When ``response.done`` arrived.
        lost: When its connection closed, if it closed before ``response.done``.
        status: ``in_progress``, ``completed``, ``cancelled``, ``incomplete`` or ``failed``.
        details: ``status_details``: why it is not completed.
        out_of_band: Whether it is outside the conversation (``conversation_id`` is null).
        config: Its own settings, which override the session's.
        request: The ``response`` object of the ``response.create`` that asked for it; empty if the
            server started it by itself.
        asked: When that request was sent; None if the server started it by itself.
        metadata: The app's labels, as the response echoes them or as the request gave them.
        inputs: Ids of the items that it read and that no earlier response had read.
        outputs: Ids of its output items, in the order in which the server opened them.
        context_items: Number of items that it read before those in ``inputs``.
        turn: Number of the conversation's turn when it was created, then when it was done.
        usage: ``usage`` as received.
        delegated: Whether another model made it on behalf of the speaking model (in a Live session);
            its text belongs to no turn.
        delegation_id: Id of that delegation; None if unknown.
        mcp: Its server-side tool calls, by item id.
        heard_before: The latest earlier response that was heard, as a one-element tuple;
            ``(None,)`` if there is none, None if it has not been looked up yet.
    """

    id: str
    created: Moment
    previous: Response | None = None
    session_id: str | None = None
    session_model: str | None = None
    done: Moment | None = None
    lost: Moment | None = None
    status: str = "in_progress"
    details: JsonMapping = field(default_factory=dict)
    out_of_band: bool = False
    config: JsonObject = field(default_factory=dict)
    request: JsonMapping = field(default_factory=dict)
    asked: Moment | None = None
    metadata: JsonMapping = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    context_items: int = 0
    turn: int = 0
    usage: object = None
    delegated: bool = False
    delegation_id: str | None = None
    mcp: dict[str, McpCall] = field(default_factory=dict)
    heard_before: tuple[Response | None] | None = None

    @property
    def ended(self) -> Moment | None:
        """When it was done or its connection closed; None while it is in progress."""
        return self.done or self.lost

    def merge(self, source: JsonMapping) -> None:
        """Update the response from a ``response`` object on the wire."""
        self.status = text_or_none(source.get("status")) or self.status
        self.details = object_or_empty(source.get("status_details")) or self.details
        # Only an explicit null means out of band; a missing key says nothing.
        if "conversation_id" in source:
            self.out_of_band = source["conversation_id"] is None
        self.metadata = object_or_empty(source.get("metadata")) or self.metadata
        for key in _OWN_SETTINGS:
            if source.get(key) is not None:
                self.config[key] = source[key]

    def asked_by(self, source: JsonMapping, moment: Moment | None) -> None:
        """Store the request of the client that asked for the response.

        Args:
            source: The ``response`` object of the client's ``response.create``; empty if there is none.
            moment: When the client sent it; None if the server started the response by itself.
        """
        self.request, self.asked = source, moment
        labels = object_or_empty(source.get("metadata"))
        # If the response does not say that it is out of band, only matching labels prove it: the
        # request may have been matched by order alone, which can be wrong.
        if labels and labels == self.metadata and source.get("conversation") == "none":
            self.out_of_band = True
        self.metadata = self.metadata or labels

    @property
    def own_input(self) -> list[JsonValue] | None:
        """Input that it read instead of the conversation; None if it read the conversation."""
        given = self.request.get("input")
        return given if isinstance(given, list) else None

    @property
    def status_reason(self) -> str | None:
        """Why it is not completed: ``turn_detected``, ``max_output_tokens``, or an error code or type."""
        error = object_or_empty(self.details.get("error"))
        return (
            text_or_none(self.details.get("reason"))
            or text_or_none(error.get("code"))
            or text_or_none(error.get("type"))
        )

    @property
    def error_message(self) -> str | None:
        """Error message of a failed response."""
        return text_or_none(object_or_empty(self.details.get("error")).get("message"))

    def finish_reasons(self, items: Items) -> list[str]:
        """Return the convention's finish reasons, one for the whole response.

        For an interrupted generation the convention asks for "the provider-reported interruption
        reason", or ``error`` if there is no reason:
        https://github.com/open-telemetry/semantic-conventions-genai/pull/394
        """
        kinds = {item.kind for item in self.output_items(items)}
        # The wire has no separate status for these two; the convention has a finish reason for each.
        if self.status == "completed" and "function_call" in kinds:
            return ["tool_call"]
        if self.status == "incomplete" and self.status_reason == "content_filter":
            return ["content_filter"]
        if self.status == "cancelled":
            return [text_or_none(self.details.get("reason")) or "error"]
        return [FINISH_REASONS.get(self.status, "error")]

    def is_settled(
        self, items: Items, audio: AudioFacts | None, now_t: int, transcribes: bool
    ) -> bool:
        """Return whether rules 1 to 3, 5 and 6 of this module are met; ``ConversationState`` checks rule 4.

        Args:
            items: The conversation's items.
            audio: When items were heard; None if the conversation has no audio facts.
            now_t: Current time, in ns since the start.
            transcribes: Whether input transcription is configured.
        """
        if self.ended is None:
            return False
        # The server may run its tools after ``response.done``.
        running = self.status == "completed" and any(not one.ended for one in self.mcp.values())
        if running and now_t <= self.ended.t + MAX_MCP_WAIT_NS:
            return False
        end_t = self.play_out_end_t(audio)
        if now_t > max(end_t, self.ended.t) + MAX_WAIT_NS:
            return True
        if now_t < end_t:
            return False
        inputs = map(items.get, self.inputs if transcribes else ())
        return not any(item and item.audio and not item.transcribed for item in inputs)

    def latest_t(self, audio: AudioFacts | None) -> int:
        """Return until when it may wait for transcripts, in ns; valid only once it has ended."""
        done_t = self.ended.t if self.ended is not None else self.created.t
        return max(self.play_out_end_t(audio), done_t) + MAX_WAIT_NS

    def cut_t(self, audio: AudioFacts | None) -> int | None:
        """Return when its audio was cut (the end of what was heard), in ns; None if it was not cut."""
        facts = self.item_audio(audio)
        if not any(item.interrupted for item in facts):
            return None
        return max(item.audible_until_t for item in facts)

    def output_items(self, items: Items) -> list[Item]:
        """Return its output items, in the order in which the server opened them."""
        outputs = (items.get(item_id) for item_id in self.outputs)
        return [item for item in outputs if item is not None]

    def item_audio(self, audio: AudioFacts | None) -> list[ItemAudio]:
        """Return the audio facts of its output items, ordered by the arrival of their audio.

        An item whose audio never arrived is ordered by its ``audible_until_t``.
        """
        if audio is None:
            return []
        facts = (audio.item(item_id) for item_id in self.outputs)
        known = [item_facts for item_facts in facts if item_facts is not None]
        return sorted(known, key=_arrival_t)

    def play_out_end_t(self, audio: AudioFacts | None) -> int:
        """Return when its audio is over and a truncate is no longer expected, in ns."""
        facts = self.item_audio(audio)
        if facts:
            return max(item_facts.audible_until_t for item_facts in facts) + LATE_TRUNCATE_NS
        dues = [] if audio is None else map(audio.statement_due, self.outputs)
        return max(self.ended.t if self.ended else 0, 0, *dues)


def _arrival_t(facts: ItemAudio) -> int:
    return facts.audible_until_t if facts.first_chunk_t is None else facts.first_chunk_t
