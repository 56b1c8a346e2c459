"""The demo's check: quiet about a whole trace, and a sentence about each thing that is missing."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

from otel_realtime import attributes
from otel_realtime.demo.check import (
    audible_s,
    check_delivery,
    check_interruption,
    check_recording,
    check_spans,
)
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.speech import silence, tone, utterance
from otel_realtime.demo.tree import node_of
from otel_realtime.langsmith.ids import run_id

CALL = {"type": "function_call", "id": "item_c"}
SPOKEN = {"type": "message", "id": "item_m"}
SENT: list[dict[str, Any]] = [
    {"type": "session.created"},
    {"type": "conversation.item.input_audio_transcription.delta"},
    {"type": "conversation.item.input_audio_transcription.completed"},
    {"type": "response.done", "response": {"output": [CALL]}},
    {"type": "response.done", "response": {"output": [SPOKEN]}},
]
#: Neither of them is one of the scenario's answers.
ASIDE = [
    {"type": "response.done", "response": {"output": [SPOKEN], "conversation_id": None}},
    {
        "type": "response.done",
        "response": {"output": [{"type": "mcp_call", "approval_request_id": "mcpr"}]},
    },
]
CUT_MS = 1500
RECEIVED = [{"type": "conversation.item.truncate", "item_id": "item_m", "audio_end_ms": CUT_MS}]
SAID = utterance("agent_paris").pcm
SCENARIO = Scenario(answers=(Answer(), Answer(text="Sure.", pcm=SAID)))


class _Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def spans(*, heard_ms: int = CUT_MS) -> list[ReadableSpan]:
    """The trace that belongs to ``SENT``."""
    kept = _Kept()
    provider = TracerProvider()
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("test")
    root = tracer.start_span(attributes.ROOT_NAME, start_time=1)
    inside = set_span_in_context(root)
    names = [event["type"] for event in SENT if not event["type"].endswith(".delta")]
    names += ["chat gpt-realtime", "transcribe whisper-1"]
    for at, name in enumerate(names, start=2):
        tracer.start_span(name, inside, start_time=at).end(at + 1)
    cut = {
        attributes.OURS + attributes.Fact.INTERRUPTED: True,
        attributes.OURS + attributes.Fact.HEARD: heard_ms,
    }
    tracer.start_span("chat gpt-realtime", inside, attributes=cut).end()
    tracer.start_span("execute_tool lookup_weather", inside).end()
    root.end()
    return kept.spans


def without(name: str) -> list[ReadableSpan]:
    """The same trace, one span short."""
    whole = spans()
    whole.remove(next(span for span in whole if span.name == name))
    return whole


def test_a_whole_trace_passes() -> None:
    """Nothing to say about the trace as it should be."""
    whole = spans()
    assert check_spans(whole, SENT) + check_interruption(whole, RECEIVED) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (attributes.ROOT_NAME, "expected one realtime_session span, found 0"),
        ("session.created", "event spans differ"),
        ("response.done", "event spans differ: expected 4, found 3"),
        ("chat gpt-realtime", "expected 2 'chat ...' spans, found 1"),
        ("transcribe whisper-1", "expected 1 'transcribe ...' spans, found 0"),
        ("execute_tool lookup_weather", "expected 1 'execute_tool ...' spans, found 0"),
    ],
)
def test_a_missing_span_is_named(name: str, expected: str) -> None:
    """Each kind of span is counted against what the server sent."""
    (found,) = check_spans(without(name), SENT)
    assert found.startswith(expected)


def test_an_interruption_with_the_wrong_length_is_found() -> None:
    """``heard_ms`` must be what the app told the server."""
    (found,) = check_interruption(spans(heard_ms=99), RECEIVED)
    assert found == "the app truncated the answer at 1500 ms, its span says 99"
    assert check_interruption(spans(), []) == ["expected the app to truncate once, it did 0 times"]
    assert check_interruption([], RECEIVED) == ["expected one interrupted inference span, found 0"]


def delivered(whole: list[ReadableSpan], **changes: Any) -> dict[str, Any]:
    """What a sandbox that got everything answers."""
    runs = [
        {
            "id": run_id(node.span_id),
            "name": node.name,
            "parent_id": run_id(node.parent_id) if node.parent_id else None,
        }
        for node in map(node_of, whole)
    ]
    return {"status": "success", "violations": [], "runs": runs, **changes}


def test_what_did_not_arrive_is_named() -> None:
    """Runs lost, runs too many, runs elsewhere, a pending root, violations."""
    whole = spans()
    lost, arrived = whole[:-1], delivered(whole)
    assert check_delivery(whole, arrived) == []
    assert check_delivery(whole, delivered(lost)) == ["did not arrive: realtime_session"]
    assert check_delivery(lost, arrived) == ["arrived unexpectedly: realtime_session"]
    assert check_delivery(whole, delivered(whole, status="pending")) == [
        "the conversation is shown as pending"
    ]
    violation = {"kind": "orphan", "message": "no parent"}
    assert check_delivery(whole, delivered(whole, violations=[violation])) == [
        "contract violation: orphan: no parent"
    ]
    moved = delivered(whole)
    moved["runs"][0]["parent_id"] = None
    (found,) = check_delivery(whole, moved)
    assert found.startswith("arrived as ('session.created', None)")


def stereo(path: Path, user: bytes, agent: bytes, *, rate: int = 24_000) -> Path:
    """Write a recording of two channels of equal length."""
    both = np.stack([np.frombuffer(user, "<i2"), np.frombuffer(agent, "<i2")], axis=1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(both.tobytes())
    return path


def test_a_recording_cut_at_the_barge_in_passes(tmp_path: Path) -> None:
    """Up to the cut, and nothing after it."""
    agent = (silence(1.0) + SAID[: CUT_MS * 48]).ljust(48_000 * 4, b"\0")
    path = stereo(tmp_path / "a.wav", tone(300, 4.0), agent)
    assert check_recording(path, SCENARIO, SENT, RECEIVED, 4.0) == []


def test_responses_that_are_no_answers_do_not_count(tmp_path: Path) -> None:
    """One out of the conversation, and the run of an approved MCP call."""
    agent = (silence(1.0) + SAID[: CUT_MS * 48]).ljust(48_000 * 4, b"\0")
    path = stereo(tmp_path / "a.wav", tone(300, 4.0), agent)
    assert check_recording(path, SCENARIO, [*ASIDE, *SENT], RECEIVED, 4.0) == []


def test_an_uncut_or_silent_recording_does_not(tmp_path: Path) -> None:
    """An answer that was not heard is in it, or what was heard is not."""
    length = 48_000 * 5
    uncut = stereo(tmp_path / "a.wav", tone(300, 5.0), (silence(1.0) + SAID).ljust(length, b"\0"))
    assert check_recording(uncut, SCENARIO, SENT, RECEIVED, 5.0) == [
        "the recording has the answer beyond where it was cut (1500 ms)"
    ]
    empty = stereo(tmp_path / "b.wav", silence(5.0), silence(5.0))
    assert check_recording(empty, SCENARIO, SENT, RECEIVED, 7.0) == [
        "the recording has 5.0 s, the call took 7.0 s",
        "the user's channel is silent",
        "the agent's channel is silent",
        "the recording lacks the answer up to where it was cut (1500 ms)",
    ]
    slow = stereo(tmp_path / "c.wav", silence(1.0), silence(1.0), rate=8_000)
    assert check_recording(slow, SCENARIO, SENT, RECEIVED, 1.0) == [
        "the recording is not 16-bit stereo at 24 kHz"
    ]


def test_sound_is_counted_in_seconds() -> None:
    """Windows of 10 ms above -40 dBFS."""
    assert audible_s(silence(1.0) + tone(300, 0.5)) == 0.5
