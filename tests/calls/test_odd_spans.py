"""Whatever spans say, a call object is made of them, and is one by its schema."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta, RootFact
from otel_realtime.calls.captions import srt, vtt
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import json_schema
from otel_realtime.calls.transcript import transcript
from tests.calls.build import asked, chat, made, root, said, tool, turn

_CHECK = Draft202012Validator(json_schema())

_scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["user", "assistant", "message", "both", "a1", "r2", "{}", "[1]", "\ud800", "error"]
    )
)
_member = st.sampled_from(
    [
        "role", "text", "transcript", "content", "item", "event", "messages", "start_ms", "end_ms", "heard_text",
        "interrupted", "segments", "type", "error", "code", "message", "content_index", "side", "why", "id",
    ]
)  # fmt: skip
_value = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_member, inner, max_size=4),
    max_leaves=8,
)
_messages = st.lists(st.dictionaries(_member, _value, max_size=5), max_size=3)
_attribute = (
    _value
    | _value.map(lambda value: json.dumps(value))
    | st.builds(lambda one: json.dumps({"event": one}), _value)
    | st.builds(lambda one: json.dumps({"event": {"item": one, "content_index": 0}}), _value)
    | st.builds(lambda one: json.dumps({"messages": one}), _messages)
)


def _whole() -> list[Row]:
    return [
        root(
            [turn("user", 1, 50, 2_300, "Weather?"), turn("assistant", 2, 2_900, 4_000, "Sunny.")]
        ),
        asked(2_500, "u1", "Weather?"),
        made(2_760, "r2", "a1"),
        said(3_000, "r2", "a1", "Sunny."),
        chat(2_600, 4_000, "r2"),
        tool(2_700, 2_800, "c", "x"),
    ]


_KEYS = sorted(
    {key for row in _whole() for key in row.attributes}
    | {names.OURS + v for k, v in vars(Fact).items() if not k.startswith("_")}
    | {names.OURS + v for k, v in vars(RootFact).items() if not k.startswith("_")}
    | {names.LS_METADATA + RootFact.REDACTED, names.LS_METADATA + "app", names.LS_SPAN_ID, names.LS_PROJECT}
    | {names.USAGE + "input_tokens", names.USAGE + "text.output_tokens", names.ERROR_TYPE}
    | {names.OURS + Fact.LATENCY + "model_ms", names.OURS + Fact.LATENCY + "model_ms_owner"}
    | {names.RESPONSE_MODEL, names.RESPONSE_STATUS, names.TOOL_RESULT, names.TOOL_ARGUMENTS}
)  # fmt: skip
_MARK = names.LS_METADATA + Meta.AGENT_TYPE


@settings(max_examples=100, deadline=None)
@example([(0, names.COMPLETION, {"messages": [{"role": ["user"], "text": "x"}]})], [], False)
@example([(2, names.PROMPT, {"event": {"item": {"type": "message", "role": ["user"]}}})], [], False)
@example([(0, names.OURS + RootFact.TURNS, -1), (4, names.OURS + Fact.HEARD, -1)], [], False)
@example([(0, names.COMPLETION, {"messages": [{"role": "user", "start_ms": -5}]})], [], False)
@example(
    [(0, names.LS_METADATA + RootFact.REDACTED, '[{"start_ms": -1, "side": "left"}]')], [], True
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(_KEYS), _attribute), min_size=1, max_size=4
    ),
    starts=st.lists(st.integers(-(2**64), 2**64), max_size=2),
    live=st.booleans(),
)
def test_odd_spans_make_a_call_by_the_schema(
    changes: list[tuple[int, str, Any]], starts: list[int], live: bool
) -> None:
    """Its captions and its transcript can be written, too."""
    rows = _whole()
    for index, key, value in changes:
        if key != _MARK:
            rows[index] = replace(
                rows[index], attributes={**rows[index].attributes, key: value}, failed=live
            )
    for index, start_ns in enumerate(starts):
        rows[index] = replace(rows[index], start_ns=start_ns)
    if live:
        rows[0] = replace(rows[0], end_ns=None)
    call = call_of(rows)
    assert call is not None
    _CHECK.validate(call)
    json.dumps(call)
    for text in (vtt(call), srt(call), transcript(call)):
        text.encode("utf-8", "replace")


def test_a_call_rests_between_its_spans() -> None:
    """It may be made in a thread beside live calls."""
    rested: list[None] = []
    rows = _whole()
    assert call_of(rows) == call_of(rows, pause=lambda: rested.append(None))
    assert len(rested) > 4 * len(rows)
