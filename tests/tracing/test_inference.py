"""The span of a model response: names and value types as the attribute table says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.tracing.inference import describe_inference
from tests.support.span_tables import (
    ALL,
    HEARD,
    JSON,
    LIMIT,
    META,
    NO_INPUTS,
    NO_OUTPUTS,
    NOTHING,
    OPENAI,
    OURS,
    chat,
    check,
    messages,
)
from tests.support.streams import CALL, Row, created, done, feed, received, said, sent

#: The attribute table's inference span: name -> type. ``JSON`` is text that parses.
CHAT: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.system": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.response.id": str,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.output.type": str,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "langsmith.metadata.ls_message_format": str,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.text.input_tokens": int,
    "gen_ai.usage.audio.input_tokens": int,
    "gen_ai.usage.text.output_tokens": int,
    "gen_ai.usage.audio.output_tokens": int,
    "langsmith.usage_metadata": JSON,
    META + "ls_provider": str,
    META + "ls_model_name": str,
    OURS + "response.id": str,
    OURS + "response.status": str,
    META + "status": str,
    **{
        prefix + name: kind
        for prefix in (OURS, META)
        for name, kind in {
            "turn": int,
            "audio_offset_ms": int,
            "context_items": int,
            "time_to_first_audio_ms": int,
            "voice_to_voice_ms": int,
            "generated_ms": int,
            "heard_ms": int,
            "heard_source": str,
            "interrupted": bool,
            "interruption_cause": str,
            "false_interruption": bool,
            **{
                f"latency.{part}_{what}": kind
                for part in ("end_of_speech", "request", "response", "model", "playback")
                for what, kind in (("ms", int), ("owner", str))
            },
        }.items()
    },
}


VAD: Row = received(
    "session.updated",
    session={"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}},
)


def test_a_spoken_answer() -> None:
    """Every attribute of the table, with its type."""
    state, _ = feed([*CALL, VAD])
    response = state.responses["resp_2"]
    response.inputs.insert(0, "item_1")
    found = describe_inference(response, state, HEARD, ALL, OPENAI, LIMIT)
    check(CHAT, found.attributes)
    facts = {
        "turn": 2,
        "audio_offset_ms": 170,
        "context_items": 3,
        "time_to_first_audio_ms": 280,
        "voice_to_voice_ms": 800,
        "generated_ms": 800,
        "heard_ms": 500,
        "heard_source": "estimated",
        "interrupted": True,
    }
    for prefix in (OURS, META):
        assert facts == {name: found.attributes[prefix + name] for name in facts}
    assert ("chat gpt-realtime", None) == (found.name, found.failure)
    assert ("llm", "chat", "speech") == tuple(
        found.attributes[name]
        for name in ("langsmith.span.kind", "gen_ai.operation.name", "gen_ai.output.type")
    )


def test_an_answer_without_audio_facts_says_nothing_of_sound() -> None:
    """Absent, not None."""
    found = chat().attributes
    absent = {"time_to_first_audio_ms", "voice_to_voice_ms", "generated_ms", "heard_ms"}
    absent |= {"heard_source", "interrupted", "interruption_cause", "false_interruption"}
    check(
        {
            name: kind
            for name, kind in CHAT.items()
            if name.rpartition(".")[2] not in absent and ".latency." not in name
        },
        found,
    )


def test_messages_of_an_answer() -> None:
    """The new inputs and the outputs, in both shapes."""
    found = chat().attributes
    tool = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    called, result = messages(found, "prompt")
    assert tool == result
    # The model that reads a result also reads the call that led to it.
    assert ("assistant", ["call_1"]) == (
        called["role"],
        [call["id"] for call in called["tool_calls"]],
    )
    assert [{"role": "assistant", "content": "It is sunny."}] == messages(found, "completion")
    text = "It is sunny."
    parts = [{"type": "text", "content": text, "modality": "audio", "transcript": text}]
    assert [{"role": "assistant", "parts": parts}] == json.loads(found["gen_ai.output.messages"])


def test_a_response_of_calls() -> None:
    """Its completion has the calls in OpenAI's shape, its output is text."""
    found = chat(response_id="resp_1").attributes
    (message,) = messages(found, "completion")
    assert ["weather", "time"] == [call["function"]["name"] for call in message["tool_calls"]]
    assert ["tool_call"] == found["gen_ai.response.finish_reasons"]
    assert ("text", 1) == (found["gen_ai.output.type"], found[OURS + "turn"])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 0.8, "max_output_tokens": 100}, {"temperature": 0.8, "max_tokens": 100}),
        ({"max_response_output_tokens": 7}, {"max_tokens": 7}),
        ({"max_output_tokens": "inf", "temperature": None}, {}),
        ({"max_output_tokens": True, "temperature": "hot"}, {}),
        ({"max_output_tokens": -1, "temperature": 10**400}, {}),
        ({"reasoning": {"effort": "low"}}, {"reasoning.level": "low"}),
        ({"reasoning": {"effort": None}}, {}),
        ({"reasoning": "high"}, {}),
    ],
)
def test_what_was_requested(config: dict[str, Any], expected: dict[str, Any]) -> None:
    """Of the session, when it is a number."""
    rows = received("session.updated", session=config), created("r"), done("r")
    found = chat(rows, "r").attributes
    keys = ("temperature", "max_tokens", "reasoning.level")
    request = {name: found.get("gen_ai.request." + name) for name in keys}
    given = {name: value for name, value in request.items() if value is not None}
    assert expected == given
    assert {name: type(value) for name, value in expected.items()} == {
        name: type(value) for name, value in given.items()
    }


def test_a_responses_own_effort_goes_before_the_sessions() -> None:
    """The server echoes it on the response."""
    session = received("session.updated", session={"reasoning": {"effort": "low"}})
    own = created("r", reasoning={"effort": "high"}), done("r")
    found = chat((session, *own), "r").attributes
    assert "high" == found["gen_ai.request.reasoning.level"]


def test_a_completion_is_a_documented_shape() -> None:
    """LangSmith reads ``choices``, and is told so."""
    found = chat().attributes
    message = {"role": "assistant", "content": "It is sunny."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    assert {"choices": [choice]} == json.loads(found["gen_ai.completion"])
    assert "completions" == found[META + "ls_message_format"]


def test_the_models_name() -> None:
    """The response's own, the session's, or none is known."""
    session = received("session.created", session={"model": "session-model"})
    assert "chat unknown" == chat((created("r"), done("r")), "r").name
    assert "chat session-model" == chat((session, created("r"), done("r")), "r").name
    assert "chat own" == chat((session, created("r", model="own"), done("r")), "r").name


@pytest.mark.parametrize(
    ("status", "details", "reason", "failure"),
    [
        ("completed", None, None, None),
        ("cancelled", {"reason": "turn_detected"}, "turn_detected", None),
        ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens", None),
        ("failed", {"error": {"code": "c", "message": "m"}}, "c", Failure("c", "m")),
        ("failed", None, None, Failure("failed", "failed")),
    ],
)
def test_a_status_is_always_visible(
    status: str, details: Any, reason: str | None, failure: Failure | None
) -> None:
    """With its details; only ``failed`` is an error."""
    found = chat((created("r"), done("r", status=status, status_details=details)), "r")
    for name, expected in (("status", status), ("status_reason", reason)):
        assert expected == found.attributes.get(f"{OURS}response.{name}")
        assert expected == found.attributes.get(META + name)
    assert failure == found.failure


def test_a_response_that_never_ended_says_so() -> None:
    """The conversation was over first."""
    failure = chat((created("r"),), "r").failure
    assert failure is not None
    assert "conversation_closed" == failure.type


def test_a_response_out_of_band_is_marked() -> None:
    """And shows the input that it brought along; hidden as any other input."""
    rows = (
        sent("response.create", response={"conversation": "none", "input": [said("Judge.")]}),
        created("r", conversation_id=None),
        done("r", conversation_id=None),
    )
    found = chat(rows, "r").attributes
    assert (True, True) == (found[OURS + "out_of_band"], found[META + "out_of_band"])
    assert [{"role": "user", "content": "Judge."}] == messages(found, "prompt")
    hidden = messages(chat(rows, "r", policy=NO_INPUTS).attributes, "prompt")
    assert [{"role": "user", "content": HIDDEN}] == hidden


@pytest.mark.parametrize(
    ("policy", "asked", "answered"),
    [
        (NO_INPUTS, HIDDEN, "It is sunny."),
        (NO_OUTPUTS, "sunny", HIDDEN),
        (NOTHING, HIDDEN, HIDDEN),
    ],
)
def test_each_side_of_an_answer_hides_for_itself(
    policy: ContentPolicy, asked: str, answered: str
) -> None:
    """Usage, status and latencies stay."""
    found = chat(audio=HEARD, policy=policy).attributes
    assert asked == messages(found, "prompt")[-1]["content"]
    assert answered == messages(found, "completion")[0]["content"]
    waited = (".voice_to_voice_ms", *(name for name in CHAT if ".latency." in name))
    names = {name for name in CHAT if not name.endswith(waited)}
    assert names == found.keys()


def test_long_messages_are_shortened_within() -> None:
    """Each attribute fits, and parses."""
    item = said("word " * 5000, id="a", role="assistant")
    found = chat((created("r"), done("r", item)), "r").attributes
    assert len(found["gen_ai.completion"]) <= LIMIT
    assert messages(found, "completion")[0]["content"].endswith("more characters]")
