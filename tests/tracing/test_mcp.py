"""The spans of what the server runs itself: calls, approvals, lists of tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.tracing.mcp import mcp_attributes, mcp_failure
from tests.support.case_files import CASES, START_NS, play
from tests.support.span_tables import ALL, LIMIT, NO_OUTPUTS, NOTHING, check
from tests.support.streams import created, done, received, sent
from tests.support.traces import Traces, facts, parent_name
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


CASE = CASES / "mcp_approval.jsonl"


def times(span: ReadableSpan) -> tuple[int, int]:
    """Start and end, ms since the start."""
    start, end = span.start_time or 0, span.end_time or 0
    return (start - START_NS) // 1_000_000, (end - START_NS) // 1_000_000


def report(traces: Traces, *rows: Any) -> None:
    """A conversation of these rows, 10 ms apart."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for index, (is_sent, event) in enumerate(rows):
            at_ns = START_NS + index * 10_000_000
            (call.sent if is_sent else call.received)(event, at_ns=at_ns)


def request(number: int = 1) -> Any:
    """The row of a request for approval."""
    item = {"id": f"req_{number}", "type": "mcp_approval_request", "server_label": "docs"}
    item |= {"name": "search", "arguments": '{"q": 1}'}
    return received("response.output_item.added", response_id="r", item=item)


def verdict(approve: object, number: int = 1) -> Any:
    """The row of the client's answer."""
    answer = {"type": "mcp_approval_response", "approval_request_id": f"req_{number}"}
    return sent("conversation.item.create", item={**answer, "approve": approve, "reason": "R"})


def running(kind: str, item_id: str = "call_1") -> Any:
    """The row of an event of a call."""
    return received(f"response.mcp_call.{kind}", item_id=item_id)


def call_item(**keys: Any) -> dict[str, Any]:
    """The item of a call."""
    base = {"id": "call_1", "type": "mcp_call", "server_label": "docs", "name": "search"}
    return {**base, "arguments": "{}", "output": None, "error": None, **keys}


def test_a_tool_that_needs_an_approval(traces: Traces) -> None:
    """The list, the wait for the app, and the call: each with its times, and no secret anywhere."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        play(call, CASE)
    listed, approval = traces.one("mcp_list_tools docs"), traces.one("mcp_approval search_docs")
    tool, root = traces.one("execute_tool search_docs"), facts(traces.root)
    assert [(60, 201), (380, 1_400), (1_470, 1_900)] == [times(s) for s in (listed, approval, tool)]
    assert [StatusCode.UNSET] * 3 == [s.status.status_code for s in (listed, approval, tool)]
    assert ("chat gpt-realtime", "extension", "docs") == (
        parent_name(tool, traces.spans),
        facts(tool)["gen_ai.tool.type"],
        facts(tool)["otel_realtime.mcp.server"],
    )
    assert ("wire", 430) == (
        facts(tool)["otel_realtime.tool.timing"],
        facts(tool)["otel_realtime.tool.waited_ms"],
    )
    assert (True, 1_020, "docs", "chain") == tuple(
        facts(approval)[name]
        for name in (
            "otel_realtime.mcp.approved",
            "otel_realtime.tool.waited_ms",
            "otel_realtime.mcp.server",
            "langsmith.span.kind",
        )
    )
    assert {"tools": ["search_docs"]} == json.loads(facts(listed)["gen_ai.completion"])
    assert (1, 1) == (root["otel_realtime.tool_calls"], root["otel_realtime.mcp_calls"])
    assert [] == [s.name for s in traces.spans if "topsecret" in repr(dict(facts(s)))]


@pytest.mark.parametrize(("approve", "expected"), [(True, True), (False, False), ("yes", None)])
def test_an_answer(approve: object, expected: object, traces: Traces) -> None:
    """Yes, no, or what nobody can read; given once."""
    report(traces, created("r"), request(), request(), verdict(approve), verdict(not approve))
    span = traces.one("mcp_approval search")
    assert ((10, 30), expected, StatusCode.UNSET) == (
        times(span),
        facts(span).get("otel_realtime.mcp.approved"),
        span.status.status_code,
    )
    answer = {"approve": expected, "reason": "R"}
    assert answer == json.loads(facts(span)["gen_ai.completion"])


def test_a_request_that_nobody_answers(traces: Traces) -> None:
    """It says so; the others have their own answers."""
    report(traces, created("r"), request(1), request(2), verdict(True, 2))
    spans = traces.named("mcp_approval search")
    found = [facts(span).get("error.type") for span in spans]
    assert ["mcp_approval_not_answered", None] == found
    assert "otel_realtime.mcp.approved" not in facts(spans[0])


def test_a_call_that_runs_after_its_response(traces: Traces) -> None:
    """It is below the response that made it all the same."""
    added = received("response.output_item.added", response_id="r", item=call_item())
    result = received("conversation.item.done", item=call_item(output="hit"))
    report(
        traces, created("r"), added, done("r", call_item()), running("in_progress"),
        running("completed"), result,
    )  # fmt: skip
    span = traces.one("execute_tool search")
    assert ((30, 40), '"hit"') == (times(span), facts(span)["gen_ai.tool.call.result"])
    assert str(parent_name(span, traces.spans)).startswith("chat ")


def test_a_call_that_fails(traces: Traces) -> None:
    """With the code of the MCP server or of HTTP."""
    error = {"type": "http_error", "code": 502, "message": "bad gateway"}
    added = received("response.output_item.added", response_id="r", item=call_item())
    ended = received("response.output_item.done", response_id="r", item=call_item(error=error))
    report(traces, created("r"), added, running("in_progress"), running("failed"), ended, done("r"))
    span = traces.one("execute_tool search")
    assert (StatusCode.ERROR, "bad gateway", 502) == (
        span.status.status_code,
        span.status.description,
        facts(span)["otel_realtime.mcp.error_code"],
    )


def test_a_call_without_events_of_its_own(traces: Traces) -> None:
    """Its item says when it began, and that it has ended."""
    added = received("response.output_item.added", response_id="r", item=call_item())
    ended = received("response.output_item.done", response_id="r", item=call_item(output="[]"))
    report(traces, created("r"), added, ended, done("r", call_item(output="[]")))
    assert (10, 20) == times(traces.one("execute_tool search"))
    assert 1 == facts(traces.root)["otel_realtime.mcp_calls"]
    assert (
        len([span for span in traces.spans if span.name.startswith("execute_tool")])
        == (facts(traces.root)["otel_realtime.tool_calls"])
    )


def test_a_call_of_an_unknown_item(traces: Traces) -> None:
    """No response is known to have made it: it is below the root, once."""
    report(traces, running("in_progress", "x"), running("completed", "x"), running("failed", "y"))
    spans = traces.named("execute_tool unknown")
    assert [(0, 10), (20, 20)] == [times(span) for span in spans]
    assert ["realtime_session"] * 2 == [parent_name(span, traces.spans) for span in spans]
    assert 2 == facts(traces.root)["otel_realtime.mcp_calls"]


def test_a_call_that_never_ends(traces: Traces) -> None:
    """It ends with the conversation, and says so."""
    added = received("response.output_item.added", response_id="r", item=call_item())
    report(traces, created("r"), added, running("in_progress"), done("r", call_item()))
    assert "mcp_call_not_finished" == facts(traces.one("execute_tool search"))["error.type"]


@pytest.mark.parametrize("end", ["failed", None])
def test_a_list_that_never_comes(end: str | None, traces: Traces) -> None:
    """It failed, or was still waited for."""
    item = {"id": "list_1", "type": "mcp_list_tools", "server_label": "docs"}
    rows = [received("conversation.item.added", item=item)]
    rows.append(received("mcp_list_tools.in_progress", item_id="list_1"))
    rows += [received(f"mcp_list_tools.{end}", item_id="list_1")] if end else []
    report(traces, *rows)
    expected = "mcp_list_tools_failed" if end else "mcp_list_tools_not_finished"
    assert expected == facts(traces.one("mcp_list_tools docs"))["error.type"]


def test_hidden_content(traces: Traces, process: pytest.MonkeyPatch) -> None:
    """Arguments and reasons are content; names, times and the answer are not."""
    process.setenv("OTEL_REALTIME_CAPTURE_CONTENT", "false")
    report(traces, created("r"), request(), verdict(True))
    span = facts(traces.one("mcp_approval search"))
    assert span["otel_realtime.mcp.approved"]
    assert '"q"' not in span["gen_ai.prompt"]
    assert '"R"' not in span["gen_ai.completion"]


def test_odd_values_are_survived(traces: Traces) -> None:
    """Whatever the wire says."""
    odd = [None, 1, [], {}, "x"]
    rows = []
    for value in odd:
        for kind in ("mcp_call", "mcp_approval_request", "mcp_approval_response", "mcp_list_tools"):
            item = {
                "id": value,
                "type": kind,
                "server_label": value,
                "tools": [value],
                "name": value,
            }
            item |= {"approval_request_id": value, "error": {"code": value}, "output": value}
            rows.append(received("conversation.item.added", item=item))
            rows.append(sent("conversation.item.create", item=item))
        rows += [running("completed", value), received("mcp_list_tools.failed", item_id=value)]  # type: ignore[arg-type]
    report(traces, *rows)
    assert traces.root


def test_a_call_never_starts_before_its_response(traces: Traces) -> None:
    """The event that says it runs may be seen before ``response.created``."""
    report(
        traces,
        received("conversation.item.added", item=call_item()),
        running("in_progress"),
        created("r"),
        received("response.output_item.added", response_id="r", item=call_item()),
        running("completed"),
        done("r", call_item(output="[]")),
    )
    tool = traces.one("execute_tool search")
    above = {s.context.span_id: s for s in traces.spans if s.context}[tool.parent.span_id]  # type: ignore[union-attr]
    assert (above.start_time or 0) <= (tool.start_time or 0)
