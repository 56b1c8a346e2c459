"""Tool spans: announced by the model, run by the app, ended by the result the app sends.

What the wire shows of a function call, and what the app can add::

    response.done              the call's arguments are complete: its span starts
      call.tool(call_id)       the app really runs it now: an exact span replaces the first one
      (block left)             its true end is known
    conversation.item.create   function_call_output is sent: the span ends, with the result

Without ``call.tool()`` the span covers the time until the result is sent. A call that is answered
before its ``response.done`` gets its span when the result is sent. Convention:
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/execute-tool.md
"""

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
from otel_realtime.tracing.facts import Attributes, position_facts
from otel_realtime.tracing.failure import fail, stored_message
from otel_realtime.tracing.members import TABLE, has_children
from otel_realtime.tracing.writer import SpanWriter, finish


def admitted_arguments(
    call_id: str | None, name: str | None, arguments: str, policy: ContentPolicy
) -> str:
    """Return arguments that the app passed to ``call.tool()`` as they may be stored.

    They go through the policy, and so ``Settings.redact``, in the shape of a conversation item.
    """
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    stored, _ = policy.apply(item)
    return text_or_none(stored.get("arguments")) or ""


def tool_attributes(
    call_id: str | None, name: str, arguments: str | None, policy: ContentPolicy, limit: int
) -> Attributes:
    """Return the attributes that a tool span starts with.

    Args:
        call_id: id of the model's call; ``None`` for a tool that the model did not call.
        name: name of the tool.
        arguments: JSON text of the arguments; ``None`` if they are unknown.
        policy: which content may be stored.
        limit: most characters of JSON per attribute.
    """
    attributes: Attributes = {
        names.LS_KIND: names.KIND_TOOL,
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: name,
        names.TOOL_TYPE: "function",
    }
    if call_id:
        attributes[names.TOOL_CALL_ID] = attributes[names.CALL_ID] = call_id
    if arguments is not None:
        text = _json_text(visible_text(arguments, "assistant", policy), limit)
        attributes[names.PROMPT] = attributes[names.TOOL_ARGUMENTS] = text
    return attributes


def tool_result(output: str | None, policy: ContentPolicy, limit: int) -> Attributes:
    """Return the attributes that a tool span gets with its result; none without a result."""
    if output is None:
        return {}
    text = _json_text(visible_text(output, "tool", policy), limit)
    return {names.COMPLETION: text, names.TOOL_RESULT: text}


def _json_text(text: str, limit: int) -> str:
    """Return arguments or a result as valid JSON: JSON unchanged, other text as a JSON string."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return dump(text, limit)
    # Text beyond ASCII may hold lone surrogates, which do not encode: ``dump`` replaces them.
    return text if len(text) <= limit and text.isascii() else dump(value, limit)


def _reject_constant(constant: str) -> None:
    # Python's parser accepts NaN and Infinity, which JSON does not have:
    # https://www.rfc-editor.org/rfc/rfc8259#section-6
    raise ValueError(f"{constant} is not JSON")


def mcp_attributes(item: Item, policy: ContentPolicy, limit: int) -> Attributes:
    """Return the attributes of a tool call that the server itself made (``mcp_call`` item)."""
    attributes = tool_attributes(item.id, item.name or UNKNOWN, item.arguments, policy, limit)
    attributes[names.TOOL_TYPE] = "extension"
    return {**attributes, **tool_result(item.output, policy, limit)}


def mcp_failure(item: Item, policy: ContentPolicy) -> Failure:
    """Return the failure of a tool call that the server itself made."""
    return Failure("mcp_call_failed", stored_message(item.error, policy) or "the MCP call failed")


@dataclass(slots=True)
class OpenTool:
    """A tool span that has not ended.

    Attributes:
        span: the span.
        started: when it started.
        block: a ``call.tool()`` block is or was running in it; the span then ends with the block.
        exit_ns: when the block was left, epoch ns; ``None`` before.
        answered: the client has sent the result.
    """

    span: Span
    started: Moment
    block: bool = False
    exit_ns: int | None = None
    answered: bool = False


class ToolSpans:
    """The tool spans of one conversation, by ``call_id``.

    Called with the conversation's lock held: a tool may run in a thread of its own.
    """

    def __init__(self, writer: SpanWriter) -> None:
        self._writer = writer
        self._parents: dict[str, Context] = {}
        self._open: dict[str, OpenTool] = {}
        # ``call.tool()`` blocks that have not been left, by identity: two may share a ``call_id``,
        # and those without one are not in ``_open``.
        self._blocks: dict[int, OpenTool] = {}

    def announce(self, call: ToolCall) -> None:
        """Make the current event's span the parent, for a call that is answered early."""
        self._parents[call.id] = self._writer.current_context()

    def open(self, call: ToolCall, moment: Moment) -> Span | None:
        """Open the span of a call whose ``response.done`` was received, as child of that event's.

        Args:
            call: the call.
            moment: receipt of ``response.done``.

        Returns:
            The span; ``None`` if the call already has one.
        """
        if call.id in self._open:  # the app was faster: it entered ``call.tool()`` before
            return None
        self._parents[call.id] = self._writer.current_context()
        span = self._start(call.id, call.name, call.arguments, moment, call.turn)
        self._open[call.id] = OpenTool(span, moment)
        return span

    def answer(self, call: ToolCall, moment: Moment) -> float:
        """End the span of a call whose result the client has sent.

        Args:
            call: the call, with its result.
            moment: when the result was sent.

        Returns:
            Duration of the call in seconds.
        """
        tool = self._open.get(call.id)
        if tool is None:  # answered before its ``response.done``
            started = call.announced or moment
            span = self._start(call.id, call.name, call.arguments, started, call.turn)
            tool = OpenTool(span, started)
        tool.answered = True
        writer = self._writer
        tool.span.set_attributes(tool_result(call.output, writer.policy, writer.limit))
        end_ns = tool.exit_ns if tool.exit_ns is not None else moment.at_ns
        # Sent from within its block: the span ends with the block, which may still do other work.
        if not tool.block or tool.exit_ns is not None:
            self._end(call, tool, end_ns)
        return max(end_ns - tool.started.at_ns, 0) / 1e9

    def enter(
        self, call: ToolCall | None, name: str | None, arguments: str | None, moment: Moment
    ) -> OpenTool:
        """Enter a ``call.tool()`` block: open the exact span of a tool.

        Args:
            call: the model's call; ``None`` for a tool that the model did not call.
            name: name of the tool; ``None``: the call's.
            arguments: JSON text of the arguments; ``None``: the call's.
            moment: entry into the block.

        Returns:
            What ``leave`` needs.
        """
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
            # The app already started spans below it: it has to stay, with its earlier start.
            waiting.block = True
            self._blocks[id(waiting)] = waiting
            return waiting
        span = self._start(call_id, name or "", arguments, moment, turn)
        entered = OpenTool(span, moment, block=True)
        self._blocks[id(entered)] = entered
        if call_id:
            self._open[call_id] = entered
            if waiting is not None and not waiting.block:
                # Replaced by the exact span. A span that is never ended is never exported.
                TABLE.discard(_span_id(waiting.span))
        return entered

    def leave(self, call: ToolCall | None, entered: OpenTool, at_ns: int) -> None:
        """Leave a ``call.tool()`` block: end the span, or keep it open until the result is sent.

        Args:
            call: as passed to ``enter``.
            entered: what ``enter`` returned.
            at_ns: when the block was left, epoch ns.
        """
        if self._blocks.pop(id(entered), None) is None:
            return  # the conversation was closed meanwhile, and the span with it
        entered.exit_ns = max(at_ns, entered.started.at_ns)
        if call is None or self._open.get(call.id) is not entered:
            finish(entered.span, entered.exit_ns)
        elif entered.answered:
            self._end(call, entered, entered.exit_ns)

    def close(self, at_ns: int) -> None:
        """End all open spans at the end of the conversation; unanswered calls have failed.

        Args:
            at_ns: end of the conversation, epoch ns.
        """
        for tool in self._open.values():
            if tool.exit_ns is None and not tool.answered:
                fail(tool.span, NOT_ANSWERED, max(at_ns, tool.started.at_ns))
            finish(tool.span, tool.exit_ns or at_ns)
        for block in self._blocks.values():
            if block.span.is_recording():
                finish(block.span, at_ns)
        self.drop()

    def drop(self) -> None:
        """Forget all spans without ending them: at the close, and in a forked child."""
        self._open.clear()
        self._blocks.clear()
        self._parents.clear()

    def _start(
        self, call_id: str | None, name: str, arguments: str | None, started: Moment, turn: int
    ) -> Span:
        writer, name = self._writer, name or UNKNOWN
        attributes = tool_attributes(call_id, name, arguments, writer.policy, writer.limit)
        attributes.update(position_facts(started, turn))
        parent = self._parents.get(call_id or "") or writer.current_context()
        return writer.start(f"execute_tool {name}", parent, attributes, started.at_ns)

    def _end(self, call: ToolCall, tool: OpenTool, end_ns: int) -> None:
        finish(tool.span, end_ns)
        self._open.pop(call.id, None)
        self._parents.pop(call.id, None)


def write_mcp_call(
    writer: SpanWriter, call: McpCall, item: Item, parent: Span, end_ns: int, turn: int
) -> None:
    """Write a tool call that the server itself made, as a child of its inference span.

    Args:
        writer: the conversation's span writer.
        call: the call's times, from ``response.mcp_call.*`` events.
        item: its ``mcp_call`` item.
        parent: the inference span.
        end_ns: end of a call without an end of its own, epoch ns.
        turn: the turn it belongs to.
    """
    attributes = mcp_attributes(item, writer.policy, writer.limit)
    attributes.update(position_facts(call.started, turn))
    name = f"execute_tool {item.name or UNKNOWN}"
    span = writer.start(name, writer.context_below(parent), attributes, call.started.at_ns)
    ended_ns = max(call.ended.at_ns if call.ended else end_ns, call.started.at_ns)
    if call.failed or item.error:
        fail(span, mcp_failure(item, writer.policy), ended_ns)
    finish(span, ended_ns)


def _span_id(span: Span) -> int:
    return span.get_span_context().span_id


#: Failure of a call whose result was never sent.
NOT_ANSWERED: Final = Failure(
    "tool_not_answered", "the conversation ended before the app sent this call's result"
)
#: Name of a tool whose name is not known.
UNKNOWN: Final = "unknown"
