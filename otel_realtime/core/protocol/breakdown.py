"""Break the caller's wait down into parts, each with an owner; the parts add up to the whole.

The wait is voice-to-voice: from the end of the user's speech to the first audible sample of the
answer. It may span several responses, if all but the last only called tools::

    part           owner     ends
    -------------  --------  --------------------------------------------------------------------
    (the wait starts when the user has stopped speaking)
    end_of_speech  setting   when the audio is committed, after the silence that the VAD waits for
                             (push to talk: when the app sends the commit; the owner is the app)
    request        app       when the client asks for a response, if it does
    response       service   at ``response.created``
    model          service   when the first audio, a tool call or a request for approval arrives
    tools          tool      when the last result of the calls is sent (MCP: when the call ends)
    approval       app       when the app answers the request for approval of an MCP tool
    (request, response, model, tools and approval repeat for each further response)
    playback       app       when the answer's first audio is audible
    (the wait ends)

Each stretch ends no earlier than the previous one and no later than the wait. The parts also add up to
the whole in whole ms, because each is the difference of two rounded times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.responses import McpApproval, Response, ToolCall

END_OF_SPEECH: Final = "end_of_speech"
REQUEST: Final = "request"
RESPONSE: Final = "response"
MODEL: Final = "model"
TOOLS: Final = "tools"
APPROVAL: Final = "approval"
PLAYBACK: Final = "playback"

#: Every part, in the order of a simple answer -> who can shorten it.
OWNERS: Final[Mapping[str, str]] = {
    END_OF_SPEECH: "setting",
    REQUEST: "app",
    RESPONSE: "service",
    MODEL: "service",
    TOOLS: "tool",
    APPROVAL: "app",
    PLAYBACK: "app",
}


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """One part of a wait.

    Attributes:
        name: Its name, a key of ``OWNERS``.
        ms: Its length, in ms.
        owner: Who can shorten it: ``setting``, ``service``, ``tool`` or ``app``.
    """

    name: str
    ms: int
    owner: str


def break_down(
    question: Item,
    responses: Sequence[Response],
    calls: Sequence[ToolCall],
    approvals: Mapping[str, Sequence[McpApproval]] = MappingProxyType({}),
    *,
    start_t: int,
    first_chunk_t: int,
    audible_t: int,
) -> tuple[LatencyPart, ...]:
    """Return the parts of a wait, in order of their first occurrence.

    Args:
        question: The user's item that is answered.
        responses: The responses from the one that read it to the one that answers, in order.
        calls: Their function calls.
        approvals: Their MCP approval requests, by id of the response.
        start_t: End of the user's speech, in ns since the start of the conversation.
        first_chunk_t: Arrival of the answer's first audio, in the same unit.
        audible_t: When that audio was audible, in the same unit.
    """
    totals: dict[str, int] = {}
    reached = start_t
    for name, t in _stretches(question, responses, calls, approvals, first_chunk_t, audible_t):
        end = min(max(t, reached), max(audible_t, start_t))
        # The difference of times rounded to ms, so that the parts add up to the rounded whole.
        length = (end - start_t) // NS_PER_MS - (reached - start_t) // NS_PER_MS
        totals[name] = totals.get(name, 0) + length
        reached = end
    return tuple(LatencyPart(name, ms, _owner(name, question)) for name, ms in totals.items())


def _owner(name: str, question: Item) -> str:
    """Return the owner of a part; without a VAD the app decides when the user has finished."""
    if name == END_OF_SPEECH and question.audio_end_ms is None:
        return "app"
    return OWNERS[name]


def _stretches(
    question: Item,
    responses: Sequence[Response],
    calls: Sequence[ToolCall],
    approvals: Mapping[str, Sequence[McpApproval]],
    first_chunk_t: int,
    audible_t: int,
) -> Iterator[tuple[str, int]]:
    """Yield the stretches as (part, end time), in order."""
    # Push to talk: the app's part ends when it sends the commit; the server's reply time is not its.
    known = (question.commit_sent_t, question.committed_t, question.stopped_t)
    reached = next((t for t in known if t is not None), None)
    if reached is not None:
        yield END_OF_SPEECH, reached
    for response in responses:
        if response.asked is not None:
            yield REQUEST, response.asked.t
        yield RESPONSE, response.created.t
        if response is responses[-1]:
            yield from _server_tools(response, first_chunk_t)
            yield MODEL, first_chunk_t
        else:
            own = [call for call in calls if call.response_id == response.id]
            yield from _tools(response, own, approvals.get(response.id, ()))
    yield PLAYBACK, audible_t


def _tools(
    response: Response, calls: Sequence[ToolCall], approvals: Sequence[McpApproval]
) -> Iterator[tuple[str, int]]:
    """Yield the stretches of a response that only called tools."""
    announced = [call.announced.t for call in calls if call.announced is not None]
    announced += [approval.asked.t for approval in approvals]
    answered = [call.answered.t for call in calls if call.answered is not None]
    end_t = response.done.t if response.done is not None else response.created.t
    yield from _server_tools(response, min(announced, default=end_t))
    yield MODEL, min(announced, default=end_t)
    if answered:
        yield TOOLS, max(answered)
    allowed = [approval.answered.t for approval in approvals if approval.answered is not None]
    if allowed:
        yield APPROVAL, max(allowed)


def _server_tools(response: Response, before_t: int) -> Iterator[tuple[str, int]]:
    """Yield the stretches of the MCP calls that started before ``before_t``."""
    for call in sorted(response.mcp.values(), key=lambda call: call.started.t):
        if call.ended is not None and call.started.t < before_t:
            yield MODEL, call.started.t
            yield TOOLS, call.ended.t
