"""A call object says what its spans say, whatever stored them, and guesses nothing."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta, RootFact
from otel_realtime.calls.from_spans import call_of, iso_time, run_id
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import Call, json_schema
from tests.calls.build import (
    ROOT_ID,
    START_NS,
    THREAD,
    asked,
    at,
    chat,
    event,
    made,
    root,
    said,
    tool,
    turn,
)

TURNS = [
    turn("user", 1, 50, 2_300, "Weather?"),
    turn(
        "assistant", 2, 2_900, 4_000, "It is sunny in Paris.", heard_text="It is sunny",
        interrupted=True,
    ),
    turn("user", 3, 3_800, 5_000, "Stop."),
    turn("assistant", 4, 5_900, 7_000, "All right."),
]  # fmt: skip


def whole() -> list[Row]:
    """A call with a tool, a barge-in, an error, and a response beside the conversation."""
    called = event(
        2_500,
        {"type": "response.function_call_arguments.done"},
        item="f1",
        response="r1",
        call="c1",
    )
    return [
        root(TURNS, turns=4, responses=4, user_talk_s=3.1, voice_to_voice_ms_p50=700),
        chat(2_400, 2_510, "r1"),
        called,
        tool(2_500, 2_700, "c1", called.span_id),
        chat(
            2_750, 4_100, "r2",
            time_to_first_audio_ms=100, voice_to_voice_ms=600, latency__end_of_speech_ms=500,
            latency__end_of_speech_owner="setting", latency__model_ms=100, generated_ms=2_000,
            heard_ms=1_100, heard_source="client_truncate", interrupted=True,
            interruption_cause="vad", false_interruption=False,
        ),
        asked(2_450, "u1", "Weather?"),
        said(2_760, "r2", "a1", "It is sunny in Paris."),
        asked(5_050, "u2", "Stop."),
        chat(5_100, 6_000, "r3", time_to_first_audio_ms=300, voice_to_voice_ms=900),
        said(5_200, "r3", "a2", "All right."),
        chat(5_500, 5_600, "r4", out_of_band=True),
        event(
            8_000,
            {"type": "error", "error": {"type": "invalid_request_error", "code": "x", "message": "m"}},
            failed="m",
        ),
    ]  # fmt: skip


def of(rows: list[Row], **more: Any) -> Call:
    """The call object, which fits its schema."""
    call = call_of(rows, **more)
    assert call is not None
    Draft202012Validator(json_schema()).validate(call)
    json.dumps(call, allow_nan=False)
    return call


def test_the_head_says_which_call_it_is() -> None:
    """Ids, times and how it ended."""
    call = of(whole(), trace_id="7e" * 16, project="p")
    assert {
        "schema": "otel-realtime/call",
        "version": 1,
        "id": "00000000-0000-0000-8009-3eecadff98ad",
        "trace_id": "7e" * 16,
        "thread_id": THREAD,
        "name": names.ROOT_NAME,
        "project": "p",
        "started_at": "2026-11-27T08:00:00.123Z",
        "duration_ms": 9_000,
        "live": False,
        "status": "ok",
        "error": None,
        "close": {"code": None, "reason": ""},
        "model": "gpt-realtime",
        "voice": None,
        "metadata": {},
        "tags": ["a", "b"],
    }.items() <= call.items()


def test_a_failed_root_says_why() -> None:
    """And with which close frame."""
    rows = whole()
    rows[0] = replace(
        root(TURNS, close_code=1011, close_reason="boom"), failed=True, message="1011"
    )
    call = of(rows)
    assert ("error", "1011", {"code": 1011, "reason": "boom"}) == (
        call["status"],
        call["error"],
        call["close"],
    )


def test_the_order_of_the_rows_does_not_matter() -> None:
    """Exporters bring them in any."""
    rows = whole()
    expected = of(rows)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert expected == of(rows)


def test_responses_and_tools_belong_to_the_turn_that_they_led_to() -> None:
    """One that only called a tool to the answer; one beside the conversation to none."""
    call = of(whole())
    assert [1, 1, 3, None] == [one["turn"] for one in call["responses"]]
    assert [([], []), ([0, 1], [0]), ([], []), ([2], [])] == [
        (one["responses"], one["tools"]) for one in call["turns"]
    ]
    assert [(0, 1)] == [(one["response"], one["turn"]) for one in call["tools"]]


def test_a_response_that_led_to_nothing_belongs_to_no_turn() -> None:
    """The user spoke again before the next answer."""
    rows = [row for row in whole() if row.text(names.RESPONSE_ID) != "r2"]
    rows = [row for row in rows if row.text(names.OUR_RESPONSE_ID) != "r2"]
    assert None is of(rows)["responses"][0]["turn"]


def test_without_item_ids_the_number_of_the_turn_tells() -> None:
    """Traces of earlier versions have no more."""
    rows = whole()
    rows = [row for row in rows if row.text(names.ITEM_ID) in {None, "f1"}]
    numbered = {"r2": 2, "r3": 4, "r1": 1}
    rows = [
        replace(
            row,
            attributes={
                **row.attributes,
                names.OURS + Fact.TURN: numbered.get(row.text(names.RESPONSE_ID) or "", 0),
            },
        )
        for row in rows
    ]
    assert [1, 1, 3, None] == [one["turn"] for one in of(rows)["responses"]]


def test_a_turn_knows_its_items() -> None:
    """By their roles in order; by their words where the events tell of other turns."""
    expected = [["u1"], ["a1"], ["u2"], ["a2"]]
    assert expected == [one["item_ids"] for one in of(whole())["turns"]]
    moved = [
        *whole(),
        said(1_000, "r4", "x1", "Beside it."),
        asked(6_900, "u3", "Never heard."),
    ]
    assert expected == [one["item_ids"] for one in of(moved)["turns"]]
    two = [turn("user", 1, 0, 10, "One. Two."), turn("assistant", 2, 20, 30, "Three.")]
    rows = [
        root(two), asked(1, "u1", "One."), said(2, "r", "a1", "Three."), asked(3, "u2", "Two."),
    ]  # fmt: skip
    assert [["u1", "u2"], ["a1"]] == [one["item_ids"] for one in of(rows)["turns"]]


def test_a_turn_sums_what_its_responses_used_and_waited_for() -> None:
    """Tokens, sound, and the parts of the wait in their order."""
    answer = of(whole())["turns"][1]
    assert (2_000, 1_100, "client_truncate", False) == (
        answer["generated_ms"],
        answer["heard_ms"],
        answer["heard_source"],
        answer["false_interruption"],
    )
    assert {
        "total_ms": 600,
        "parts": [
            {"cause": "end_of_speech", "ms": 500, "owner": "setting"},
            {"cause": "model", "ms": 100, "owner": None},
        ],
    } == answer["latency"]
    assert answer["usage"] is not None
    assert (20, 40) == (answer["usage"]["input"]["total"], answer["usage"]["output"]["total"])


def test_usage_is_summed_by_model() -> None:
    """Transcriptions are a model's, too; by the second, if it is billed so; unknown stays null."""
    heard = Row(
        span_id="x", parent_id=ROOT_ID, name="transcribe whisper-1", start_ns=at(2_300),
        end_ns=at(2_500),
        attributes={
            names.OPERATION: "chat", names.RESPONSE_MODEL: "whisper-1", names.ITEM_ID: "u1",
            names.OURS + Fact.TRANSCRIPTION_SECONDS: 2.25,
        },
    )  # fmt: skip
    call = of([*whole(), heard])
    assert ["whisper-1", "gpt-realtime"] == [one["model"] for one in call["usage"]]
    whisper, model = call["usage"]
    assert (2.25, None) == (whisper["seconds"], whisper["input"]["total"])
    assert (40, 20, 4, None, None) == (
        model["input"]["total"],
        model["input"]["audio"],
        model["input"]["cached_audio"],
        model["input"]["text"],
        model["seconds"],
    )
    assert call["turns"][0]["usage"] == whisper


def test_a_tool_says_what_it_was_asked_and_what_it_answered() -> None:
    """As JSON values; an error as text."""
    rows = whole()
    rows[3] = replace(rows[3], failed=True, message="no answer")
    (call,) = of(rows)["tools"]
    assert {
        "index": 0,
        "call_id": "c1",
        "name": "look_up",
        "type": "function",
        "start_ms": 2_500,
        "end_ms": 2_700,
        "waited_ms": 200,
        "timing": "wire",
        "arguments": {"city": "Paris"},
        "result": "sunny",
        "error": "no answer",
    }.items() <= call.items()


def test_a_tool_of_the_servers_belongs_to_the_response_above_it() -> None:
    """MCP."""
    rows = whole()
    attributes = {names.TOOL_NAME: "warn", names.TOOL_TYPE: names.TOOL_EXTENSION}
    rows.append(tool(5_200, 5_300, "m1", rows[8].span_id, attributes=attributes))
    assert ("mcp", 2, 3) == tuple(
        of(rows)["tools"][1][key]  # type: ignore[literal-required]
        for key in ("type", "response", "turn")
    )


def test_an_interruption_says_where_it_cut() -> None:
    """At the end of what was heard."""
    assert [
        {"at_ms": 4_000, "turn": 1, "false": False, "generated_ms": 2_000, "heard_ms": 1_100}
    ] == of(whole())["interruptions"]


def test_errors_are_the_servers() -> None:
    """With type, code and message."""
    (error,) = of(whole())["errors"]
    assert (8_000, "invalid_request_error", "x", "m") == (
        error["at_ms"],
        error["type"],
        error["code"],
        error["message"],
    )


def test_facts_are_the_roots_and_counted_where_it_has_none() -> None:
    """Percentiles too; talk times are the root's alone."""
    facts = of(whole())["facts"]
    assert (4, 4, 1, 0, 1, 1, 3.1, None) == (
        facts["turns"],
        facts["responses"],
        facts["interruptions"],
        facts["false_interruptions"],
        facts["tool_calls"],
        facts["server_errors"],
        facts["user_talk_s"],
        facts["agent_talk_s"],
    )
    assert {"p50": 700, "p95": 900, "max": 900} == facts["voice_to_voice_ms"]
    assert {"p50": 200, "p95": 300, "max": 300} == facts["first_audio_ms"]


def test_metadata_is_the_apps() -> None:
    """Ours stand beside it on the root, in both forms."""
    own = {
        names.LS_METADATA + "customer": "c-1",
        names.APP_METADATA + "customer": "c-1",
        names.LS_METADATA + "plan": '{"a":1}',
        names.LS_METADATA + Meta.MODALITY: "audio",
        names.LS_METADATA + "ls_own": 1,
        names.LS_METADATA + RootFact.LATENCY + "model_ms_p50": 4,
        names.LS_METADATA + RootFact.INTERRUPTIONS_BY + "vad": 1,
    }
    rows = whole()
    rows[0] = replace(rows[0], attributes={**rows[0].attributes, **own})
    assert {"customer": "c-1", "plan": '{"a":1}'} == of(rows)["metadata"]


def test_what_was_silenced_is_listed() -> None:
    """As the root lists it; without any the member is absent."""
    listed = [{"start_ms": 100, "end_ms": 200, "side": "user", "why": "hook"}]
    rows = whole()
    assert "redacted" not in of(rows)
    rows[0] = root(TURNS, redacted=json.dumps(listed))
    assert listed == of(rows)["redacted"]


def test_a_call_that_goes_on_has_what_its_events_said() -> None:
    """Words, roles, and places as far as they are known."""
    rows = [
        root(None, end_ms=None),
        event(100, {"type": "input_audio_buffer.speech_started"}, item="u1"),
        event(2_300, {"type": "input_audio_buffer.speech_stopped"}, item="u1"),
        asked(2_500, "u1", "Weather?"),
        made(2_760, "r2", "a1"),
        said(3_000, "r2", "a1", "It is sunny in Paris."),
        chat(
            2_750, 4_100, "r2",
            time_to_first_audio_ms=100, generated_ms=2_000, heard_ms=1_000, interrupted=True,
        ),
        event(4_000, {"type": "input_audio_buffer.speech_started"}, item="u2"),
        event(4_400, {"type": "input_audio_buffer.committed"}, item="u2"),
    ]  # fmt: skip
    call = of(rows)
    assert (True, None, 3) == (call["live"], call["duration_ms"], call["facts"]["turns"])
    assert [
        ("user", 100, 2_300, "Weather?", "Weather?", False),
        ("assistant", 2_850, 3_850, "It is sunny in Paris.", "It is", True),
        ("user", 4_000, None, "[audio]", "[audio]", False),
    ] == [
        tuple(
            one[key] for key in ("role", "start_ms", "end_ms", "text", "heard_text", "interrupted")
        )  # type: ignore[literal-required]
        for one in call["turns"]
    ]
    assert 1 == call["responses"][0]["turn"]


def test_typed_messages_are_turns_too() -> None:
    """Their words stand in the item."""
    item = {
        "id": "u1", "type": "message", "role": "user",
        "content": [{"type": "input_text", "text": "Hello"}],
    }  # fmt: skip
    rows = [
        root(None, end_ms=None),
        event(100, {"type": "conversation.item.added", "item": item}, item="u1"),
        event(
            101, {"type": "conversation.item.added", "item": {**item, "role": "system"}}, item="s"
        ),
    ]
    assert [("user", "Hello")] == [(one["role"], one["text"]) for one in of(rows)["turns"]]


def test_a_shortened_transcript_is_made_whole_by_the_events() -> None:
    """Words from the events; times from the root, as far as they go."""
    cut = [
        turn("user", 1, 50, 2_300, "Wea… [5 more characters]"),
        "… [1 more]",
    ]
    rows = [
        root(cut),  # type: ignore[arg-type]
        asked(2_500, "u1", "Weather?"),
        made(2_760, "r2", "a1"),
        said(3_000, "r2", "a1", "It is sunny in Paris."),
    ]
    assert [("Weather?", 50, 2_300), ("It is sunny in Paris.", 2_760, None)] == [
        (one["text"], one["start_ms"], one["end_ms"]) for one in of(rows)["turns"]
    ]


def test_other_spans_are_left_out_and_no_root_is_no_call() -> None:
    """What the app does in a tool is its own."""
    rows = whole()
    own = Row(span_id="o", parent_id=rows[3].span_id, name="GET /", start_ns=at(2_600))
    assert of(rows) == of([*rows, own])
    assert None is call_of([own])


def test_a_title_is_the_name() -> None:
    """The root is known by its mark then."""
    rows = whole()
    rows[0] = replace(rows[0], name="Weather?")
    assert "Weather?" == of(rows)["name"]


def test_odd_attributes_cost_what_they_say_only() -> None:
    """Nothing raises, whatever a store hands over."""
    odd: list[Any] = [None, True, -1.5, 1e300, "x", "{", [], {}, [{}], {"a": 1}]
    keys = {key for row in whole() for key in row.attributes} - {
        names.LS_METADATA + Meta.AGENT_TYPE
    }
    for value in odd:
        for key in sorted(keys):
            rows = [
                replace(row, attributes={**row.attributes, key: value})
                if key in row.attributes
                else row
                for row in whole()
            ]
            json.dumps(call_of(rows))


def test_times_and_ids_have_their_forms() -> None:
    """UTC with ms; eight zero bytes before a span's id."""
    assert "2026-11-27T08:00:00.123Z" == iso_time(START_NS)
    assert "1970-01-01T00:00:00.000Z" == iso_time(0)
    assert "00000000-0000-0000-8009-3eecadff98ad" == run_id(ROOT_ID)
