"""The root: who the conversation is, what it comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.interruptions import Interruption
from otel_realtime.core.protocol.outcome import Ending, Provider, Tally, sanitize_metadata
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.tracing import root
from tests.support.span_tables import ALL, META, NO_INPUTS, NO_OUTPUTS, NOTHING, OURS, who
from tests.support.streams import (
    CALL,
    Sounds,
    bounded,
    created,
    done,
    feed,
    json_values,
    received,
    said,
    sound,
    stream,
)

# -- opening ---------------------------------------------------------------------------------------


def test_a_conversation_of_which_little_is_known() -> None:
    """No attribute is None; the thread id is not claimed to be the app's."""
    assert {
        "langsmith.span.kind": "chain",
        "gen_ai.provider.name": "openai",
        OURS + "thread_id": "thread",
        META + "thread_id": "thread",
        META + "ls_integration": "otel-realtime",
        META + "ls_integration_version": "9",
        META + "ls_agent_type": "root",
    } == root.opening_attributes(who(), "9")


def spoken_first(*texts: str | None) -> Any:
    """A state with these items of the user, in order; None is audio without a transcript."""
    rows = []
    for index, text in enumerate(texts):
        part = {"type": "input_audio", "transcript": text}
        item = {"id": f"u{index}", "type": "message", "role": "user", "content": [part]}
        rows.append(received("conversation.item.added", item=item))
    return feed(rows)[0]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), None),
        ((None, "  What is\n the weather? ", "And there?"), "What is the weather?"),
        ((None, HIDDEN, "Hi"), "Hi"),
        (("word " * 40,), "word " * 15 + "word…"),
        (("a" * 200,), "a" * 80 + "…"),
        (("今日は" * 50,), ("今日は" * 50)[:80] + "…"),
    ],
)
def test_a_title_is_what_was_said_first(texts: Any, expected: str | None) -> None:
    """In one line, cut at the end of a word; what was hidden is none."""
    assert expected == root.title(spoken_first(*texts), ALL)


def test_a_title_is_content() -> None:
    """Hidden inputs give none; hidden outputs do not matter."""
    assert root.title(spoken_first("Hi"), NO_INPUTS) is None
    assert "Hi" == root.title(spoken_first("Hi"), NO_OUTPUTS)


def test_a_conversation_of_which_all_is_known() -> None:
    """Product facts stand twice, the app's metadata too; LangSmith's own keys once."""
    found = root.opening_attributes(
        who(
            given_thread_id=True,
            provider=Provider("azure.ai.openai", "mine.openai.azure.com", 443),
            call_id="rtc_1",
            model="gpt-realtime",
            metadata={"plan": "gold", "ids": [1, 2]},
            tags=["a", "b"],
            parent_trace_id="0" * 32,
            parent_span_id="1" * 16,
        ),
        "9",
    )
    facts = {"thread_id": "thread", "model": "gpt-realtime", "call_id": "rtc_1"}
    facts |= {"parent_trace_id": "0" * 32, "parent_span_id": "1" * 16}
    assert {
        "langsmith.span.kind": "chain",
        "langsmith.span.tags": "a,b",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.conversation.id": "thread",
        "server.address": "mine.openai.azure.com",
        "server.port": 443,
        **{prefix + name: value for prefix in (OURS, META) for name, value in facts.items()},
        META + "ls_integration": "otel-realtime",
        META + "ls_integration_version": "9",
        META + "ls_agent_type": "root",
        META + "plan": "gold",
        OURS + "metadata.plan": "gold",
        META + "ids": "[1,2]",
    } == found


def test_product_facts_win_over_the_apps_metadata() -> None:
    """In LangSmith both stand under one prefix."""
    found = root.opening_attributes(who(model="m", metadata={"model": "mine"}), "9")
    assert ("m", "m", "mine") == (
        found[META + "model"],
        found[OURS + "model"],
        found[OURS + "metadata.model"],
    )


# -- the app's metadata ----------------------------------------------------------------------------


def test_the_first_scalars_stand_for_any_backend_and_all_for_langsmith() -> None:
    """Thirty-two of them."""
    metadata: dict[str, Any] = {"list": [1], **{f"k{index:02}": index for index in range(40)}}
    found = root.app_attributes(metadata)
    plain = [name for name in found if name.startswith(OURS + "metadata.")]
    assert [f"{OURS}metadata.k{index:02}" for index in range(32)] == plain
    assert {META + key for key in metadata} == found.keys() - set(plain)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        ("a\ud800", "a�"),
        (True, True),
        (7, 7),
        (2**63, "9223372036854775808"),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ((1, 2), "[1,2]"),
        (1 + 2j, '"(1+2j)"'),
    ],
)
def test_every_value_becomes_one_that_can_be_exported(value: object, expected: object) -> None:
    """Scalars as they are where they can be encoded, the rest as JSON or text."""
    found = root.app_attributes({"key": value})[META + "key"]
    assert (type(expected), expected) == (type(found), found)


def test_a_number_too_long_to_be_written_is_no_fault() -> None:
    """Python refuses to print some ints."""
    assert isinstance(root.app_attributes({"key": 10**5000})[META + "key"], str)


@bounded
@given(st.dictionaries(st.text(st.characters(exclude_categories=())), json_values, max_size=4))
def test_any_metadata_can_be_exported(metadata: dict[str, Any]) -> None:
    """Names and texts encode, ints fit 64 bits."""
    kept, _ = sanitize_metadata(metadata)
    for name, value in root.opening_attributes(who(metadata=kept), "9").items():
        name.encode()
        assert isinstance(value, str | bool | int | float)
        if isinstance(value, str):
            value.encode()
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63


# -- closing ---------------------------------------------------------------------------------------

SUMMARY = {"user_talk_s": 1.5, "agent_talk_s": 2.0, "overlap_s": 0.0}


def metadata(rows: Any, summary: dict[str, float] | None = None, **keys: Any) -> dict[str, Any]:
    """The closing metadata of a conversation of these rows."""
    state, _ = feed(rows)
    state.counts.events = len(rows)
    return root.closing_metadata(
        who(**keys), state, Tally(), summary or {}, Ending(), has_audio=bool(summary)
    )


def test_turns_and_interruptions_have_places_in_the_recording() -> None:
    """Each turn that has one, each interruption that counts; not a word of what was said."""
    rows = [
        received("input_audio_buffer.speech_started", item_id="item_u", audio_start_ms=100),
        received("input_audio_buffer.speech_stopped", item_id="item_u", audio_end_ms=900),
        received("input_audio_buffer.committed", item_id="item_u"),
        received("conversation.item.added", item=said("A secret question?", id="item_u")),
        created("resp_1"),
        done("resp_1", said("A secret answer, cut short.", id="item_a", role="assistant")),
    ]
    state, _ = feed(rows)
    audio = Sounds(sound("item_a", 1_500, 400, generated_ms=2_000, interrupted=True))
    totals = Tally(interruptions=[Interruption("vad", True, at_t=1_900 * 1_000_000)])
    found = [
        (mark.start_ns // 1_000_000, mark.end_ns // 1_000_000, mark.label)
        for mark in root.marks(state, audio, totals)
    ]
    assert [
        (100, 900, "turn 1: user"),
        (1_500, 1_900, "turn 2: agent"),
        (1_900, 1_900, "barge-in (nothing was said)"),
    ] == found


def test_what_a_call_comes_to() -> None:
    """Counts, formats and latencies, with their types."""
    state, _ = feed(CALL)
    state.counts.events = 40
    cut = Interruption("vad", False)
    tally = Tally(
        interruptions=[cut, Interruption("client", True)],
        first_audio_ms=[200, 300, 900],
        voice_to_voice_ms=[700, 801],
    )
    tally.parts_ms["model"] = [20, 4, 12]
    ending = Ending(code=1000, reason="bye")
    found = root.closing_metadata(
        who(model="from-url"), state, tally, SUMMARY, ending, has_audio=True
    )
    expected = {
        "model": "gpt-realtime",
        "event_count": 40,
        "ls_modality": "audio",
        "openai_session_id": "sess_1",
        "turns": 2,
        "responses": 2,
        "interruptions": 2,
        "interruptions_by_vad": 1,
        "interruptions_by_client": 1,
        "false_interruptions": 1,
        "false_interruptions_by_client": 1,
        "tool_calls": 2,
        "mcp_calls": 0,
        "server_errors": 1,
        "idle_timeouts": 0,
        "dtmf": 0,
        "first_audio_ms_p50": 300,
        "voice_to_voice_ms_p50": 750,
        "voice_to_voice_ms_p95": 801,
        "voice_to_voice_ms_max": 801,
        "latency.model_ms_p50": 12,
        "latency.model_ms_p95": 20,
        "latency.model_ms_max": 20,
        "close_code": 1000,
        "close_reason": "bye",
        **SUMMARY,
    }
    assert expected == found
    assert {key: type(value) for key, value in expected.items()} == {
        key: type(value) for key, value in found.items()
    }


def test_an_empty_conversation() -> None:
    """The model of the URL stands in; nothing is None."""
    assert {
        "model": "from-url",
        "event_count": 0,
        "turns": 0,
        "responses": 0,
        "interruptions": 0,
        "false_interruptions": 0,
        "tool_calls": 0,
        "mcp_calls": 0,
        "server_errors": 0,
        "idle_timeouts": 0,
        "dtmf": 0,
    } == metadata([], model="from-url")


def test_what_the_session_and_its_callers_add() -> None:
    """Prompt, effort, keys, languages and idle timeouts."""
    transcribed = "conversation.item.input_audio_transcription.completed"
    found = metadata(
        [
            received(
                "session.created",
                session={"prompt": {"id": "p_1", "version": "3"}, "reasoning": {"effort": "low"}},
            ),
            received("input_audio_buffer.dtmf_event_received", event="5"),
            received("input_audio_buffer.timeout_triggered", item_id="t", audio_start_ms=0),
            received(transcribed, item_id="a", transcript="Hi", languages=[{"code": "en"}]),
            received(
                transcribed,
                item_id="b",
                transcript="Na",
                languages=[{"code": "de"}, {"code": "en"}],
            ),
        ]
    )
    expected = {
        "prompt_id": "p_1",
        "prompt_version": "3",
        "reasoning_effort": "low",
        "dtmf": 1,
        "idle_timeouts": 1,
        "languages": "en,de",
        "turns": 1,  # nobody spoke in the idle time
    }
    assert expected == {key: found[key] for key in expected}


def test_only_voice_has_a_modality() -> None:
    """A text chat has none, a session that only transcribes neither; a sideband of a call has."""
    only = received("session.created", session={"type": "transcription"})
    assert "audio" == metadata(CALL)["ls_modality"]
    assert "ls_modality" not in metadata([only], SUMMARY)
    assert "audio" == metadata(CALL, SUMMARY)["ls_modality"]
    assert "audio" == metadata(CALL, call_id="rtc_1")["ls_modality"]
    text = received("conversation.item.added", item=said("Hi", id="a"))
    assert "ls_modality" not in metadata([text], call_id="rtc_1")


def test_turns_are_those_of_the_transcript() -> None:
    """Noise and the developer's messages are none."""
    rows = [
        received("conversation.item.added", item=said("Be nice.", id="s", role="system")),
        received("conversation.item.added", item=said("Hi", id="a")),
        received("input_audio_buffer.speech_started", item_id="noise"),
    ]
    assert 1 == metadata(rows)["turns"]


def test_a_recorded_sideband() -> None:
    """Formats and voice as the service names them."""
    found = metadata(stream("openai_ws_sideband__webrtc_sideband_audio_turn"), call_id="rtc_1")
    assert ("audio/pcm", "audio/pcm", "audio") == (
        found["input_format"],
        found["output_format"],
        found["ls_modality"],
    )
    assert ("gpt-realtime", 2, 1) == (found["model"], found["turns"], found["responses"])


# -- inputs and outputs ----------------------------------------------------------------------------


def test_the_roots_input_is_the_last_configuration() -> None:
    """With inputs hidden only what it is called."""
    state, _ = feed(CALL)
    config = root.inputs(state, ALL)["session"]
    assert "Be brief." == config["instructions"]
    assert config == root.inputs(state, NO_OUTPUTS)["session"]
    bare = {"type": "realtime", "id": "sess_1", "model": "gpt-realtime"}
    assert {"session": bare} == root.inputs(state, NO_INPUTS) == root.inputs(state, NOTHING)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ALL, ["How is the weather in Paris?", "It is sunny."]),
        (NO_INPUTS, [HIDDEN, "It is sunny."]),
        (NO_OUTPUTS, ["How is the weather in Paris?", HIDDEN]),
        (NOTHING, [HIDDEN, HIDDEN]),
    ],
)
def test_the_roots_output_is_the_transcript(policy: ContentPolicy, expected: list[str]) -> None:
    """Each side hides for itself."""
    state, _ = feed(CALL)
    messages = root.outputs(state, None, policy)["messages"]
    assert expected == [message["content"] for message in messages]
    assert [("user", 1), ("assistant", 2)] == [(one["role"], one["turn"]) for one in messages]


def test_an_aside_that_was_heard_is_in_the_transcript() -> None:
    """And one that was not is not."""
    item = said("Psst.", id="aside", role="assistant")
    state, _ = feed([created("r", conversation_id=None), done("r", item, conversation_id=None)])
    assert [] == root.outputs(state, None, ALL)["messages"]
    audible = Sounds(sound("aside", 100, 300))
    (message,) = root.outputs(state, audible, ALL)["messages"]
    assert ("Psst.", 100, 400) == (message["content"], message["start_ms"], message["end_ms"])


FACTS = {
    "turns": 2,
    "openai_session_id": "sess_1",
    "voice": "ma\ud800rin",
    "ls_modality": "audio",
    "OTEL_TRACE_ID": "0" * 32,
}


@pytest.mark.parametrize("langsmith", [True, False])
def test_closing_facts_as_attributes(langsmith: bool) -> None:
    """Twice unless the runs API has them; what only LangSmith reads stands there in any case."""
    found = root.closing_attributes(
        FACTS, {"session": {}}, {"messages": []}, 500, langsmith=langsmith
    )
    facts = {"turns": 2, "openai_session_id": "sess_1", "voice": "ma�rin"}
    expected: dict[str, Any] = {OURS + name: value for name, value in facts.items()}
    expected |= {META + "ls_modality": "audio", META + "OTEL_TRACE_ID": "0" * 32}
    if langsmith:
        expected |= {META + name: value for name, value in facts.items()}
    assert {
        **expected,
        "gen_ai.prompt": '{"session":{}}',
        "gen_ai.completion": '{"messages":[]}',
        "gen_ai.realtime_session.id": "sess_1",
    } == found


def test_a_long_transcript_is_shortened_within() -> None:
    """It parses, and fits."""
    messages = [{"role": "user", "content": "word " * 50}] * 500
    found = root.closing_attributes({}, {}, {"messages": messages}, 2000, langsmith=True)
    assert len(found["gen_ai.completion"]) <= 2000
    assert json.loads(found["gen_ai.completion"])["messages"]
