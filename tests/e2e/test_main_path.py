"""One scripted call by the real client, from the socket to the sandbox and the recording."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime.demo.server import ScriptedServer
from tests.support import talking
from tests.support.attribute_table import against_table
from tests.support.isolation import isolated, sandboxed
from tests.support.traces import Traces, arrived, facts, outline, run_of, samples, stretches


@dataclass(frozen=True, repr=False)
class Made:
    """A call that is over and delivered."""

    traces: Traces
    conversation: dict[str, Any]
    recording: Path | None
    sent: list[dict[str, Any]]
    received: list[Any]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The call that all tests of this file look at."""
    folder = tmp_path_factory.mktemp("call")
    with isolated(folder) as patch, sandboxed(folder, patch) as sandbox:
        traces = Traces()
        otel_realtime.instrument(tracer_provider=traces.provider)
        with ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server:
            with otel_realtime.using(
                thread_id="thread-7", metadata={"tier": "gold", "seat": 4}, tags=["a", "b"]
            ):
                asyncio.run(talking.weather_call(server.url))
            assert otel_realtime.flush(20)
        yield Made(
            traces,
            arrived(sandbox, traces.spans),
            sandbox.recording(run_of(traces.root)),
            server.sent[0],
            server.received[0],
        )


USER_TURN = [
    "  input_audio_buffer.speech_started",
    "  input_audio_buffer.speech_stopped",
    "  input_audio_buffer.committed",
    "  transcribe gpt-4o-mini-transcribe",
    "  conversation.item.added",
    "  conversation.item.done",
    "  response.created",
    "  chat gpt-realtime",
    "  conversation.item.input_audio_transcription.completed",
]
CALL_ITEM = [
    "  response.output_item.added",
    "  conversation.item.added",
    "  response.function_call_arguments.done",
    "  conversation.item.done",
    "  response.output_item.done",
]
SPOKEN = [
    "  response.output_item.added",
    "  conversation.item.added",
    "  response.content_part.added",
    "  response.output_audio.done",
    "  response.output_audio_transcript.done",
    "  response.content_part.done",
    "  conversation.item.done",
    "  response.output_item.done",
    "  response.done",
    "  rate_limits.updated",
]
TREE = [
    "realtime_session",
    "  session.created",
    "  session.updated",
    *USER_TURN,
    *CALL_ITEM,
    *CALL_ITEM,
    "  response.done",
    "    execute_tool lookup_weather",
    "    execute_tool lookup_weather",
    "  rate_limits.updated",
    "  conversation.item.added",
    "  conversation.item.done",
    "  conversation.item.added",
    "  conversation.item.done",
    "  response.created",
    "  chat gpt-realtime",
    *SPOKEN,
    "  input_audio_buffer.speech_started",
    "  error",
    "  conversation.item.truncated",
    *USER_TURN[1:],
    *SPOKEN[:-1],
]


def test_every_span_and_its_parent(call: Made) -> None:
    """The trace is the design's tree, span by span: nothing more, nothing less, in order."""
    assert TREE == outline(call.traces.spans)


def test_it_arrives_whole(call: Made) -> None:
    """LangSmith has the conversation as it ended here, in its project, thread and with its tags."""
    conversation = call.conversation
    assert ("calls", "thread-7", "success", True) == (
        conversation["project"],
        conversation["thread_id"],
        conversation["status"],
        conversation["has_recording"],
    )
    assert ["a", "b"] == conversation["root"]["tags"]
    assert [{"name": "conversation", "mime": "audio/wav"}] == [
        {key: one[key] for key in ("name", "mime")} for one in conversation["root"]["attachments"]
    ]


def test_names_and_types_of_attributes(call: Made) -> None:
    """Every span has the attributes of its kind in the table, with the table's types, and no other."""
    app = frozenset({"tier", "seat"})
    assert [] == [word for span in call.traces.spans for word in against_table(span, app)]


def test_facts_of_the_call(call: Made) -> None:
    """The root counts what happened; the runs API got the same facts, and the app's metadata."""
    metadata = call.conversation["root"]["metadata"]
    kinds = [event["type"] for event in call.sent]
    hung_up = len(kinds) - kinds[::-1].index("response.done")
    # Of the last answer the caller hears what is played before she hangs up: a few milliseconds.
    assert 0.6 <= metadata["agent_talk_s"] < 0.8
    # Known when the recording is made: the OTel root had ended by then.
    loudness = {"user_loudness_lufs", "agent_loudness_lufs"}
    assert all(-60 < metadata[name] < 0 for name in loudness)
    assert not [name for name in loudness if f"otel_realtime.{name}" in facts(call.traces.root)]
    expected = {
        "thread_id": "thread-7",
        "tier": "gold",
        "seat": 4,
        "model": "gpt-realtime",
        "event_count": hung_up,
        "turns": 4,
        "responses": 3,
        "interruptions": 2,
        "tool_calls": 2,
        "server_errors": 1,
        "dropped_events": 0,
        "voice": "marin",
        "input_format": "audio/pcm",
        "output_format": "audio/pcm",
        "user_talk_s": 1.0,
        "close_code": 1000,
        "ls_modality": "audio",
        "ls_audio_attach_status": "attached",
        "OTEL_TRACE_ID": call.conversation["root"]["otel_trace_id"],
        "openai_session_id": call.sent[0]["session"]["id"],
    }
    assert expected == {key: metadata.get(key) for key in expected}
    # A close that could not process the last audio within its few milliseconds leaves the talk times
    # to LangSmith's run; a busy machine does that.
    root = {"otel_realtime.user_talk_s": 1.0, **facts(call.traces.root)}
    ours = [key for key in expected if not key.startswith(("ls_", "OTEL", "tier", "seat"))]
    assert {key: expected[key] for key in ours} == {
        key: root[f"otel_realtime.{key}"] for key in ours
    }


def test_the_transcript(call: Made) -> None:
    """The root's output is the conversation in turns: what was said, and what was heard of it."""
    turns = call.conversation["root"]["outputs"]["messages"]
    assert [
        (1, "user", "Weather?", "Weather?", False),
        (2, "assistant", talking.FORECAST.text, "Eighteen", True),
        (3, "user", "Only Paris!", "Only Paris!", False),
        (4, "assistant", "Eighteen.", "", True),
    ] == [
        (turn["turn"], turn["role"], turn["text"], turn["heard_text"], turn["interrupted"])
        for turn in turns
    ]
    assert json.loads(facts(call.traces.root)["gen_ai.completion"])["messages"] == turns


def test_model_calls(call: Made) -> None:
    """Each response is one model call: what was new in, what came out, how it ended, what was heard."""
    asked, told, last = call.traces.named("chat gpt-realtime")
    ids = [message["id"] for message in tool_calls(asked)]
    assert [
        ("lookup_weather", '{"city": "Paris"}'),
        ("lookup_weather", '{"city": "Tokyo"}'),
    ] == [tuple(one["function"].values()) for one in tool_calls(asked)]
    assert [
        {"role": "assistant", "content": "", "tool_calls": tool_calls(asked)},
        {"role": "tool", "tool_call_id": ids[0], "content": "18"},
        {"role": "tool", "tool_call_id": ids[1], "content": "22"},
    ] == json.loads(facts(told)["gen_ai.prompt"])["messages"]
    assert [("tool_call",), ("stop",), ("stop",)] == [
        facts(span)["gen_ai.response.finish_reasons"] for span in (asked, told, last)
    ]
    assert (3000, talking.KEPT_MS, "client_truncate", True) == tuple(
        facts(told)[f"otel_realtime.{key}"]
        for key in ("generated_ms", "heard_ms", "heard_source", "interrupted")
    )
    assert [1, 2, 4] == [facts(span)["otel_realtime.turn"] for span in (asked, told, last)]


def tool_calls(span: ReadableSpan) -> list[dict[str, Any]]:
    (choice,) = json.loads(facts(span)["gen_ai.completion"])["choices"]
    return list(choice["message"]["tool_calls"])


def test_tokens_stand_once(call: Made) -> None:
    """The tokens on the model calls add up to what the server counted, and stand nowhere else."""
    counted = sum(
        usage["total_tokens"]
        for event in call.sent
        for usage in [event.get("usage") or (event.get("response") or {}).get("usage")]
        if usage
    )
    assert counted == call.conversation["tokens"]
    assert {"llm"} == {run["run_type"] for run in call.conversation["runs"] if run["usage"]}


def test_model_calls_last_as_long_as_the_server_took(call: Made) -> None:
    """A model call goes from response.created to response.done, although it was written later."""
    spans = call.traces
    begun, done = spans.named("response.created"), spans.named("response.done")
    assert [(one.start_time, other.start_time) for one, other in zip(begun, done, strict=True)] == [
        (span.start_time, span.end_time) for span in spans.named("chat gpt-realtime")
    ]


def test_the_cut_is_exact_to_the_sample(call: Made) -> None:
    """The agent's channel has the interrupted answer from its arrival to the truncate, bit for bit."""
    _, agent = samples(call.recording)
    (first, after), *_ = stretches(agent)  # of the last answer she may hear the beginning
    assert talking.KEPT_MS * talking.PER_MS == after - first
    said = talking.pcm(talking.FORECAST.pcm)
    assert np.array_equal(said[: after - first], agent[first:after])
    turn = call.conversation["root"]["outputs"]["messages"][1]
    for sample, told_ms in ((first, turn["start_ms"]), (after, turn["end_ms"])):
        # Milliseconds are cut off, samples are rounded to the nearest.
        assert told_ms in {(sample - 1) // talking.PER_MS, sample // talking.PER_MS}


def test_the_user_is_recorded_bit_for_bit(call: Made) -> None:
    """The user's channel has what the app sent, in order, the pauses between included."""
    user, _ = samples(call.recording)
    (asked, stopped) = stretches(user)
    assert np.array_equal(talking.pcm(talking.QUESTION), user[slice(*asked)])
    assert np.array_equal(talking.pcm(talking.STOP), user[slice(*stopped)])
    assert talking.SILENCE_MS * talking.PER_MS <= stopped[0] - asked[1]
