"""What the span of a tool says: arguments, result, and how long it was waited for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.tracing.tool_facts import timing_facts, tool_attributes, tool_result
from tests.support.span_tables import ALL, JSON, LIMIT, NO_INPUTS, NO_OUTPUTS, NOTHING, OURS, check

TOOL: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.tool.name": str,
    "gen_ai.tool.type": str,
    "gen_ai.tool.call.id": str,
    OURS + "call.id": str,
    "gen_ai.tool.call.arguments": JSON,
    "gen_ai.tool.call.result": JSON,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
}


def tool(arguments: str | None, output: str | None, policy: ContentPolicy = ALL) -> dict[str, Any]:
    """All attributes of a tool that ran."""
    found = tool_attributes("call_1", "weather", arguments, policy, LIMIT)
    return {**found, **tool_result(output, policy, LIMIT)}


def test_a_tool() -> None:
    """Arguments and result are the JSON they were, other text becomes a JSON string."""
    found = tool('{"city": "Paris"}', "sunny")
    check(TOOL, found)
    assert '{"city": "Paris"}' == found["gen_ai.prompt"] == found["gen_ai.tool.call.arguments"]
    assert '"sunny"' == found["gen_ai.completion"] == found["gen_ai.tool.call.result"]
    assert ("tool", "execute_tool", "weather", "function", "call_1") == tuple(
        found[name]
        for name in (
            "langsmith.span.kind",
            "gen_ai.operation.name",
            "gen_ai.tool.name",
            "gen_ai.tool.type",
            "gen_ai.tool.call.id",
        )
    )


@pytest.mark.parametrize("text", ["", "NaN", '{"a": Infinity}', "{broken", "[" * 5000, "é\ud800"])
def test_arguments_that_are_no_json_become_a_json_string(text: str) -> None:
    """Whatever the model wrote."""
    found = json.loads(tool(text, text)["gen_ai.tool.call.arguments"])
    assert isinstance(found, str)


def test_a_tool_without_a_call() -> None:
    """One that the model did not ask for has no id; without arguments it has no input."""
    found = tool_attributes(None, "lookup", None, ALL, LIMIT)
    names = ("langsmith.span.kind", "gen_ai.operation.name", "gen_ai.tool.name", "gen_ai.tool.type")
    assert set(names) == found.keys()
    assert {} == tool_result(None, ALL, LIMIT)


@pytest.mark.parametrize(
    ("policy", "arguments", "result"),
    [
        (NO_INPUTS, '"PLANTED"', HIDDEN),
        (NO_OUTPUTS, HIDDEN, '"PLANTED"'),
        (NOTHING, HIDDEN, HIDDEN),
    ],
)
def test_a_tools_arguments_are_outputs_and_its_result_is_input(
    policy: ContentPolicy, arguments: str, result: str
) -> None:
    """Its name stays."""
    found = tool('"PLANTED"', '"PLANTED"', policy)
    expected = [json.dumps(text) if text is HIDDEN else text for text in (arguments, result)]
    assert expected == [found["gen_ai.prompt"], found["gen_ai.completion"]]
    assert "weather" == found["gen_ai.tool.name"]


def test_long_arguments_stay_json() -> None:
    """Shortened from within."""
    text = json.dumps({"list": ["word"] * 5000})
    found = tool(text, text)
    assert len(found["gen_ai.prompt"]) <= LIMIT
    assert "list" in json.loads(found["gen_ai.prompt"])


def test_how_long_a_call_waited() -> None:
    """From its complete arguments to its result; a tool that nobody asked for made nobody wait."""
    asked = Moment(0, 1_000_000_000)
    assert {
        OURS + "tool.timing": "exact",
        OURS + "tool.waited_ms": 1_500,
        "langsmith.metadata.tool.timing": "exact",
        "langsmith.metadata.tool.waited_ms": 1_500,
    } == timing_facts("exact", asked, 2_500_000_000)
    assert 0 == timing_facts("wire", asked, 0)[OURS + "tool.waited_ms"]
    assert OURS + "tool.waited_ms" not in timing_facts("wire", None, 5)
    assert OURS + "tool.waited_ms" not in timing_facts("wire", asked, None)
