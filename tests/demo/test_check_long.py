"""The longer call's check: quiet about a whole trace, and a sentence about each thing wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import attributes
from otel_realtime.attributes import OURS, Fact, RootFact
from otel_realtime.demo.check_long import check_approval, check_idle, check_out_of_band

OUTPUT = '{"warnings": []}'
INSTRUCTIONS = "Answer with one word."
CALL = {"type": "mcp_call", "output": OUTPUT}


def event(kind: str, response_id: str = "", *output: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the server."""
    if not response_id:
        return {"type": kind}
    return {"type": kind, "response": {"id": response_id, "output": list(output)}}


SENT = [
    event("input_audio_buffer.speech_stopped"),
    event("response.created", "r1"),
    event("response.done", "r1"),
    event("input_audio_buffer.timeout_triggered"),
    event("response.created", "idle"),
    event("response.done", "idle"),
    event("response.done", "ran", CALL),
    event("response.done", "read"),
]
RECEIVED = [
    {"type": "response.create"},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "metadata": {"topic": "classification"},
            "instructions": INSTRUCTIONS,
        },
    },
]


def messages(*said: tuple[str, str]) -> str:
    """Messages as an attribute."""
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in said]})


def span(name: str, **found: Any) -> ReadableSpan:
    """A span with these attributes."""
    return ReadableSpan(name, attributes=found)


def root(*more: tuple[str, str], idle_timeouts: int = 1) -> ReadableSpan:
    """The root of the whole trace."""
    transcript = messages(("user", "Weather?"), ("assistant", "Fine."), *more)
    found = {OURS + RootFact.IDLE_TIMEOUTS: idle_timeouts, attributes.COMPLETION: transcript}
    return span(attributes.ROOT_NAME, **found)


def idle(**more: Any) -> ReadableSpan:
    """The answer to the silence."""
    return span("chat m", **{attributes.RESPONSE_ID: "idle", **more})


def test_an_answer_to_nobody_passes() -> None:
    """No latency, no turn."""
    assert check_idle([root(), idle()], SENT) == []


@pytest.mark.parametrize("name", [Fact.VOICE_TO_VOICE, f"{Fact.LATENCY}model_ms"])
def test_a_latency_of_an_answer_to_nobody_is_found(name: str) -> None:
    """The whole wait as well as a part of it."""
    assert check_idle([root(), idle(**{OURS + name: 5000})], SENT) == [
        f"the answer to the silence has a latency: {OURS + name}"
    ]


def test_a_silence_that_became_a_turn_is_found() -> None:
    """In the transcript; and an idle timeout that is not counted, or did not come."""
    assert check_idle([root(("user", "[silence]")), idle()], SENT) == [
        "the user spoke 1 times, the transcript has 2 user turns"
    ]
    assert check_idle([root(idle_timeouts=0), idle()], SENT) == [
        "the root span does not count one idle timeout"
    ]
    assert check_idle([root()], SENT) == ["there is no inference span of the answer to the silence"]
    assert check_idle([root()], []) == [
        "expected one input_audio_buffer.timeout_triggered event, found 0"
    ]


def approval(waited_ms: int = 810, approved: bool = True) -> ReadableSpan:
    """The span of an approval."""
    found = {OURS + Fact.MCP_APPROVED: approved, OURS + Fact.TOOL_WAITED: waited_ms}
    return span("mcp_approval list_warnings", **found)


def reader(text: str = OUTPUT) -> ReadableSpan:
    """The inference after the MCP call."""
    found = {attributes.RESPONSE_ID: "read", attributes.PROMPT: messages(("tool", text))}
    return span("chat m", **found)


def test_an_approval_with_its_wait_and_its_result_passes() -> None:
    """And each of them is missed."""
    assert check_approval([approval(), reader()], SENT, 800) == []
    assert check_approval([reader()], SENT, 800) == [
        "expected one 'mcp_approval ...' span, found 0"
    ]
    assert check_approval([approval(20), reader()], SENT, 800) == [
        "the approval took 800 ms, its span says 20"
    ]
    assert check_approval([approval(approved=False), reader()], SENT, 800) == [
        "the approval's span does not say that the call was approved"
    ]
    lacks = ["the input after the MCP call lacks its result"]
    assert check_approval([approval(), reader("null")], SENT, 800) == lacks
    assert check_approval([approval()], SENT, 800) == lacks


def classification(**changes: Any) -> ReadableSpan:
    """The out-of-band inference."""
    choice = {"message": {"role": "assistant", "content": "weather"}}
    return span(
        "chat m",
        **{
            OURS + Fact.OUT_OF_BAND: True,
            f"{OURS}{Fact.RESPONSE_METADATA}topic": "classification",
            attributes.SYSTEM_INSTRUCTIONS: json.dumps([{"content": INSTRUCTIONS}]),
            attributes.PROMPT: messages(("system", INSTRUCTIONS), ("user", "Weather?")),
            attributes.COMPLETION: json.dumps({"choices": [choice]}),
            **changes,
        },
    )


def test_a_classification_on_the_side_passes() -> None:
    """With its metadata, instructions and input, and without a place in the transcript."""
    assert check_out_of_band([root(), classification()], RECEIVED) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {f"{OURS}{Fact.RESPONSE_METADATA}topic": "other"},
            "the out-of-band span lacks the metadata 'topic'",
        ),
        ({attributes.SYSTEM_INSTRUCTIONS: "[]"}, "the out-of-band span lacks its instructions"),
        (
            {attributes.PROMPT: messages(("user", "And now?"))},
            "the out-of-band input should be the first question, is ['And now?']",
        ),
    ],
)
def test_what_a_classification_lacks_is_named(changes: dict[str, Any], expected: str) -> None:
    """One thing at a time."""
    assert check_out_of_band([root(), classification(**changes)], RECEIVED) == [expected]


def test_a_classification_in_the_conversation_is_found() -> None:
    """In the transcript, or not marked as out of band."""
    spoken = root(("assistant", "weather"))
    assert check_out_of_band([spoken, classification()], RECEIVED) == [
        "'weather' is in the transcript"
    ]
    assert check_out_of_band([root()], RECEIVED) == [
        "the app sent 1 out-of-band requests, the trace has 0"
    ]
