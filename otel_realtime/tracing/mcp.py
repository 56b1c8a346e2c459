"""Tools that the server runs itself (MCP): their calls, approvals, and lists.

https://platform.openai.com/docs/guides/realtime-mcp
"""

from __future__ import annotations

from opentelemetry.trace import Span

from otel_realtime import attributes as names
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import McpCall
from otel_realtime.tracing.facts import Attributes, position_facts
from otel_realtime.tracing.failure import fail, stored_message
from otel_realtime.tracing.tool_facts import UNKNOWN, timing_facts, tool_attributes, tool_result
from otel_realtime.tracing.writer import SpanWriter, finish


def mcp_attributes(item: Item, policy: ContentPolicy, limit: int) -> Attributes:
    """Return the attributes of a tool call that the server itself made (``mcp_call`` item)."""
    attributes = tool_attributes(item.id, item.name or UNKNOWN, item.arguments, policy, limit)
    attributes[names.TOOL_TYPE] = names.TOOL_EXTENSION
    return {**attributes, **tool_result(item.output, policy, limit)}


def mcp_failure(item: Item, policy: ContentPolicy) -> Failure:
    """Return the failure of a tool call that the server itself made."""
    return Failure("mcp_call_failed", stored_message(item.error, policy) or "the MCP call failed")


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
    ended_ns = max(call.ended.at_ns if call.ended else end_ns, call.started.at_ns)
    attributes = mcp_attributes(item, writer.policy, writer.limit)
    attributes.update(position_facts(call.started, turn))
    attributes.update(timing_facts(names.TIMING_WIRE, call.started, ended_ns))
    name = f"execute_tool {item.name or UNKNOWN}"
    span = writer.start(name, writer.context_below(parent), attributes, call.started.at_ns)
    if call.failed or item.error:
        fail(span, mcp_failure(item, writer.policy), ended_ns)
    finish(span, ended_ns)
