"""Tools that the server runs itself (MCP): their calls, approvals, and lists.

https://platform.openai.com/docs/guides/realtime-mcp
"""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.messages import visible_text
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import McpApproval, McpCall, McpListing
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.tracing.facts import Attributes, position_facts, product_facts
from otel_realtime.tracing.failure import fail, stored_message
from otel_realtime.tracing.span_ids import mcp_key
from otel_realtime.tracing.tool_facts import (
    UNKNOWN,
    timing_facts,
    tool_attributes,
    tool_result,
    waited_facts,
)
from otel_realtime.tracing.writer import SpanWriter, finish

#: Failure of a call whose end was never seen.
NOT_FINISHED: Final = Failure("mcp_call_not_finished", "the end of this MCP call was not seen")
#: Failure of a request for approval that was never answered.
NOT_APPROVED: Final = Failure(
    "mcp_approval_not_answered", "the conversation ended before the app answered this request"
)
#: Failures of a list of tools.
LIST_FAILED: Final = Failure("mcp_list_tools_failed", "the server could not list these tools")
NOT_LISTED: Final = Failure(
    "mcp_list_tools_not_finished", "the conversation ended before the server listed these tools"
)


def mcp_attributes(item: Item, policy: ContentPolicy, limit: int) -> Attributes:
    """Return the attributes of a tool call that the server itself made (``mcp_call`` item)."""
    attributes = tool_attributes(item.id, item.name or UNKNOWN, item.arguments, policy, limit)
    attributes[names.TOOL_TYPE] = names.TOOL_EXTENSION
    attributes.update(_server(item.server_label))
    if item.error_code is not None:
        attributes[names.MCP_ERROR_CODE] = item.error_code
    return {**attributes, **tool_result(item.output, policy, limit)}


def mcp_failure(item: Item, policy: ContentPolicy) -> Failure:
    """Return the failure of a tool call that the server itself made."""
    return Failure("mcp_call_failed", stored_message(item.error, policy) or "the MCP call failed")


def failure_of(call: McpCall, item: Item, policy: ContentPolicy) -> Failure | None:
    """Return the failure of a call that the server itself made; ``None`` if it did not fail."""
    if call.failed or item.error:
        return mcp_failure(item, policy)
    return NOT_FINISHED if call.ended is None else None


def write_mcp_call(
    writer: SpanWriter,
    call: McpCall,
    item: Item,
    parent: Context,
    end_ns: int,
    turn: int,
    not_before_ns: int = 0,
) -> None:
    """Write a tool call that the server itself made, as a child of its inference span.

    Args:
        writer: the conversation's span writer.
        call: the call's times, from ``response.mcp_call.*`` events.
        item: its ``mcp_call`` item.
        parent: context of the inference span; of the root if no response is known.
        end_ns: end of a call without an end of its own, epoch ns.
        turn: the turn it belongs to.
        not_before_ns: start of the parent, epoch ns, and earliest start of the call: the first event
            of the call may be the first one seen of the response.
    """
    started_ns = max(call.started.at_ns, not_before_ns)
    ended_ns = max(call.ended.at_ns if call.ended else end_ns, started_ns)
    attributes = mcp_attributes(item, writer.policy, writer.limit)
    attributes.update(position_facts(call.started, turn))
    attributes.update(timing_facts(names.TIMING_WIRE, call.started, ended_ns))
    name = f"execute_tool {item.name or UNKNOWN}"
    span = writer.start(name, parent, attributes, started_ns, key=mcp_key("call", item.id))
    failure = failure_of(call, item, writer.policy)
    if failure is not None:
        fail(span, failure, ended_ns)
    finish(span, ended_ns)


def write_approval(writer: SpanWriter, approval: McpApproval, end_ns: int) -> None:
    """Write the server's request to run a tool, from the request to the client's answer.

    Args:
        writer: the conversation's span writer.
        approval: the request, and its answer if there is one.
        end_ns: when it was answered, or could no longer be answered, epoch ns.
    """
    item, policy = approval.item, writer.policy
    end_ns = max(end_ns, approval.asked.at_ns)
    name = item.name or UNKNOWN
    request = {"name": name, "arguments": visible_text(item.arguments or "", "assistant", policy)}
    answer: dict[str, object] = {"approve": approval.approved}
    if approval.reason:
        answer["reason"] = visible_text(approval.reason, "user", policy)
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.PROMPT: dump({"request": request}, writer.limit),
        **_server(item.server_label),
        **position_facts(approval.asked, approval.turn),
        **product_facts({Fact.MCP_APPROVED: approval.approved}),
        **waited_facts(approval.asked, end_ns),
    }
    if approval.answered is not None:
        attributes[names.COMPLETION] = dump(answer, writer.limit)
    started_ns = approval.asked.at_ns
    span = writer.start(
        f"mcp_approval {name}",
        writer.root,
        attributes,
        started_ns,
        key=mcp_key("approval", item.id),
    )
    if approval.answered is None:
        fail(span, NOT_APPROVED, end_ns)
    finish(span, end_ns)


def write_listing(writer: SpanWriter, listing: McpListing, end_ns: int) -> None:
    """Write how long the server took to list an MCP server's tools.

    Args:
        writer: the conversation's span writer.
        listing: the list.
        end_ns: when it ended, or was no longer waited for, epoch ns.
    """
    started = listing.started
    if started is None:
        return
    end_ns = max(end_ns, started.at_ns)
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.COMPLETION: dump({"tools": listing.tools}, writer.limit),
        **_server(listing.server),
        **position_facts(started, 0),
    }
    name = f"mcp_list_tools {listing.server or UNKNOWN}"
    key = mcp_key("list", listing.item_id)
    span = writer.start(name, writer.root, attributes, started.at_ns, key=key)
    if listing.failed or listing.ended is None:
        fail(span, LIST_FAILED if listing.failed else NOT_LISTED, end_ns)
    finish(span, end_ns)


def write_unfinished(writer: SpanWriter, state: ConversationState, end_ns: int) -> None:
    """Write unanswered approvals, and lists and calls without an end, at the end of the conversation.

    Args:
        writer: the conversation's span writer.
        state: the conversation.
        end_ns: its end, epoch ns.
    """
    approvals, listings = state.mcp.unfinished()
    for approval in approvals:
        write_approval(writer, approval, end_ns)
    for listing in listings:
        write_listing(writer, listing, end_ns)
    for call in state.mcp.adrift.values():
        item = state.items.get(call.item_id)
        if item is not None:
            write_mcp_call(writer, call, item, writer.root, end_ns, item.turn)


def _server(label: str | None) -> Attributes:
    return {names.MCP_SERVER: label} if label else {}
