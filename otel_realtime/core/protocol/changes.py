"""What a step of the state machine reports: changes that must be traced at once."""

from __future__ import annotations

from dataclasses import dataclass

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.responses import McpApproval, McpListing, ToolCall


@dataclass(frozen=True, slots=True)
class ToolAnnounced:
    """The current event is the first that carries the call's complete arguments."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolRepeated:
    """The current event carries an unanswered call whose arguments were complete before."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolCut:
    """A call that was announced has turned out to be cut off: it is none."""

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
    """Nobody can answer this call: its response stands out of band and is done, or its connection
    has closed.
    """

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The client sent the call's ``function_call_output``."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class McpApproved:
    """The client answered a request for approval, with yes or no."""

    approval: McpApproval


@dataclass(frozen=True, slots=True)
class McpListed:
    """The server has got a list of tools, or has failed to."""

    listing: McpListing


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An input transcription ended: one call of the transcription model.

    Attributes:
        item: The user's item.
        model: The transcription model.
        started_t: When the audio was committed, in ns since the start of the conversation; if that
            was not seen, when the transcription ended.
        started_ns: The same in epoch ns.
        event: The event that reported it; without keys, if the conversation ended before.
        failed: Whether the transcription failed.
        ended: False: the conversation ended in the middle of it.
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
