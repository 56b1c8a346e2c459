"""Changes that a step of the state machine reports, and that must be traced at once."""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.responses import McpApproval, McpListing, ToolCall


@dataclass(frozen=True, slots=True)
class ToolAnnounced:
    """The current event is the first one with the call's complete arguments."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolRepeated:
    """The current event repeats an unanswered call whose arguments were already complete."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCut:
    """A call that was announced was cut off, so it does not count as a call."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolPending:
    """The current ``response.done`` leaves this call to be answered.

    Attributes:
        call: The call.
        alone: Whether it is the response's only unanswered call.
    """

    call: ToolCall
    alone: bool


@dataclass(frozen=True, slots=True)
class ToolOver:
    """The call can no longer be answered.

    Its response is out of band and done, or its connection has closed.
    """

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The client sent the call's ``function_call_output``."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class McpApproved:
    """A request for approval was answered, or its connection has closed."""

    approval: McpApproval


@dataclass(frozen=True, slots=True)
class McpListed:
    """The server received a list of tools, or failed to, or its connection has closed."""

    listing: McpListing


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An input transcription ended; it is one call of the transcription model.

    Attributes:
        item: The user's item.
        model: The transcription model.
        started_t: When the audio was committed, in ns since the start of the conversation. If the commit
            was not seen: when the transcription ended or, with ``ended`` false, when the item was first seen.
        started_ns: The same time in epoch ns.
        event: The event that reported the end; empty if there was none.
        failed: Whether the transcription failed.
        ended: False if the conversation or its connection ended during the transcription.
    """

    item: Item
    model: str
    started_t: int
    started_ns: int
    event: Event
    failed: bool = False
    ended: bool = True


ToolChange = ToolAnnounced | ToolRepeated | ToolCut | ToolPending | ToolOver | ToolAnswered
Change = ToolChange | McpApproved | McpListed | Transcribed
