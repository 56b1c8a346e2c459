"""Tool spans: announced by the model, run by the app, ended by the result it sends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_realtime import attributes as names
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import text_or_none
from otel_realtime.core.protocol.messages import visible_text
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import McpCall, Moment, ToolCall
from otel_realtime.tracing.facts import Attributes, place
from otel_realtime.tracing.failure import fail, told
from otel_realtime.tracing.members import TABLE, has_children
from otel_realtime.tracing.writer import SpanWriter, finish


def admitted_arguments(
    call_id: str | None, name: str | None, arguments: str, policy: ContentPolicy
) -> str:
    """Arguments that the app itself gives of a tool, as they may be stored."""
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    stored, _ = policy.apply(item)
    return text_or_none(stored.get("arguments")) or ""


def tool_attributes(
    call_id: str | None, name: str, arguments: str | None, policy: ContentPolicy, limit: int
) -> Attributes:
    """Attributes a tool span has when it starts."""
    found: Attributes = {
        names.LS_KIND: names.KIND_TOOL,
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: name,
        names.TOOL_TYPE: "function",
    }
    if call_id:
        found[names.TOOL_CALL_ID] = found[names.CALL_ID] = call_id
    if arguments is not None:
        text = _raw(visible_text(arguments, "assistant", policy), limit)
        found[names.PROMPT] = found[names.TOOL_ARGUMENTS] = text
    return found


def tool_result(output: str | None, policy: ContentPolicy, limit: int) -> Attributes:
    """The attributes a tool span gets with its result."""
    if output is None:
        return {}
    text = _raw(visible_text(output, "tool", policy), limit)
    return {names.COMPLETION: text, names.TOOL_RESULT: text}


def _raw(text: str, limit: int) -> str:
    """A tool's arguments or result: its own JSON as it is, other text as a JSON string."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return dump(text, limit)
    return text if len(text) <= limit and text.isascii() else dump(value, limit)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def mcp_attributes(item: Item, policy: ContentPolicy, limit: int) -> Attributes:
    """A tool call that the server made by itself."""
    found = tool_attributes(item.id, item.name or UNKNOWN, item.arguments, policy, limit)
    found[names.TOOL_TYPE] = "extension"
    return {**found, **tool_result(item.output, policy, limit)}


def mcp_failure(item: Item, policy: ContentPolicy) -> Failure:
    """What went wrong in a tool call that the server made."""
    return Failure("mcp_call_failed", told(item.error, policy) or "the MCP call failed")


@dataclass(slots=True)
class OpenTool:
    """A tool span that waits for its result.

    Attributes:
        block: a ``call.tool()`` block runs or ran in it; its end is the block's.
        exit_ns: when that block ended, epoch ns.
        answered: the result was sent.
    """

    span: Span
    started: Moment
    block: bool = False
    exit_ns: int | None = None
    answered: bool = False


class ToolSpans:
    """The tool spans of one conversation, by ``call_id``."""

    def __init__(self, writer: SpanWriter) -> None:
        self._writer = writer
        self._parents: dict[str, Context] = {}
        self._open: dict[str, OpenTool] = {}
        #: ``call.tool()`` blocks that have not ended.
        self._blocks: dict[int, OpenTool] = {}

    def announce(self, call: ToolCall) -> None:
        """The current event's span is the parent if the call is answered early."""
        self._parents[call.id] = self._writer.here()

    def open(self, call: ToolCall, moment: Moment) -> Span | None:
        """Open the span of a call that its ``response.done`` left open, below that event's."""
        if call.id in self._open:
            return None
        self._parents[call.id] = self._writer.here()
        span = self._start(call.id, call.name, call.arguments, moment, call.turn)
        self._open[call.id] = OpenTool(span, moment)
        return span

    def answer(self, call: ToolCall, moment: Moment) -> float:
        """The client sent the result: end the call's span; returns its duration in s."""
        tool = self._open.get(call.id)
        if tool is None:
            started = call.announced or moment
            span = self._start(call.id, call.name, call.arguments, started, call.turn)
            tool = OpenTool(span, started)
        tool.answered = True
        writer = self._writer
        tool.span.set_attributes(tool_result(call.output, writer.policy, writer.limit))
        end_ns = tool.exit_ns if tool.exit_ns is not None else moment.at_ns
        if not tool.block or tool.exit_ns is not None:
            self._end(call, tool, end_ns)
        return max(end_ns - tool.started.at_ns, 0) / 1e9

    def enter(
        self, call: ToolCall | None, name: str | None, arguments: str | None, moment: Moment
    ) -> OpenTool:
        """Enter a ``call.tool()`` block: the exact span of a tool, until ``leave``."""
        call_id = call.id if call is not None else None
        turn = self._writer.turn
        if call is not None:
            turn = call.turn or turn
            name = name or call.name
        if arguments is not None:
            arguments = admitted_arguments(call_id, name, arguments, self._writer.policy)
        elif call is not None:
            arguments = call.arguments
        waiting = self._open.get(call_id) if call_id else None
        if waiting is not None and not waiting.block and has_children(_span_id(waiting.span)):
            waiting.block = True
            self._blocks[id(waiting)] = waiting
            return waiting  # spans hang under it already: it cannot start later than they do
        span = self._start(call_id, name or "", arguments, moment, turn)
        entered = OpenTool(span, moment, block=True)
        self._blocks[id(entered)] = entered
        if call_id:
            self._open[call_id] = entered
            if waiting is not None and not waiting.block:  # never ended, it is never exported
                TABLE.discard(_span_id(waiting.span))
        return entered

    def leave(self, call: ToolCall | None, entered: OpenTool, at_ns: int) -> None:
        """Leave the block. The span waits for the result, unless none can come."""
        if self._blocks.pop(id(entered), None) is None:
            return  # it ended with the conversation
        entered.exit_ns = max(at_ns, entered.started.at_ns)
        if call is None or self._open.get(call.id) is not entered:
            finish(entered.span, entered.exit_ns)
        elif entered.answered:
            self._end(call, entered, entered.exit_ns)

    def close(self, at_ns: int) -> None:
        """End what is still open: an unanswered call failed."""
        for tool in self._open.values():
            if tool.exit_ns is None and not tool.answered:
                fail(tool.span, NOT_ANSWERED, max(at_ns, tool.started.at_ns))
            finish(tool.span, tool.exit_ns or at_ns)
        for block in self._blocks.values():
            if block.span.is_recording():
                finish(block.span, at_ns)
        self.drop()

    def drop(self) -> None:
        """Let go of everything without ending it (a fork's child)."""
        self._open.clear()
        self._blocks.clear()
        self._parents.clear()

    def _start(
        self, call_id: str | None, name: str, arguments: str | None, started: Moment, turn: int
    ) -> Span:
        writer, name = self._writer, name or UNKNOWN
        attributes = tool_attributes(call_id, name, arguments, writer.policy, writer.limit)
        attributes.update(place(started, turn))
        parent = self._parents.get(call_id or "") or writer.here()
        return writer.start(f"execute_tool {name}", parent, attributes, started.at_ns)

    def _end(self, call: ToolCall, tool: OpenTool, end_ns: int) -> None:
        finish(tool.span, end_ns)
        self._open.pop(call.id, None)
        self._parents.pop(call.id, None)


def write_mcp_call(
    writer: SpanWriter, call: McpCall, item: Item, parent: Span, end_ns: int, turn: int
) -> None:
    """Write a tool call that the server made by itself, below its inference span."""
    attributes = mcp_attributes(item, writer.policy, writer.limit)
    attributes.update(place(call.started, turn))
    name = f"execute_tool {item.name or UNKNOWN}"
    span = writer.start(name, writer.below(parent), attributes, call.started.at_ns)
    ended_ns = max(call.ended.at_ns if call.ended else end_ns, call.started.at_ns)
    if call.failed or item.error:
        fail(span, mcp_failure(item, writer.policy), ended_ns)
    finish(span, ended_ns)


def _span_id(span: Span) -> int:
    return span.get_span_context().span_id


NOT_ANSWERED: Final = Failure(
    "tool_not_answered", "the conversation ended before the app sent this call's result"
)
#: Name of a tool whose name nobody told.
UNKNOWN: Final = "unknown"
