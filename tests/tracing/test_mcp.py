"""The spans of what the server runs itself: calls, approvals, lists of tools."""

from __future__ import annotations

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.tracing.mcp import mcp_attributes, mcp_failure
from tests.support.span_tables import ALL, LIMIT, NO_OUTPUTS, NOTHING, check
from tests.tracing.test_tool_facts import TOOL


def test_a_servers_own_tool() -> None:
    """It is an extension, and its error is content."""
    item = Item("item_1", kind="mcp_call", name="search", arguments="{}", output="hit", error="E")
    found = mcp_attributes(item, ALL, LIMIT)
    check(TOOL, found)
    assert ("extension", "item_1") == (found["gen_ai.tool.type"], found["gen_ai.tool.call.id"])
    assert Failure("mcp_call_failed", "E") == mcp_failure(item, ALL)
    assert Failure("mcp_call_failed", HIDDEN) == mcp_failure(item, NO_OUTPUTS)
    item.error = None
    assert "the MCP call failed" == mcp_failure(item, NOTHING).message
