"""``pause_recording()``: silence on both sides meanwhile, and nothing of it is told, then or later."""

from __future__ import annotations

import base64
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime.settings import Settings
from tests.support.calls import RATE, tone
from tests.support.planted import on_disk
from tests.support.traces import Traces, facts

START_NS = 1_700_000_000 * 10**9
CARD = "planted-4111-1111"
HELLO = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}


class Past:
    """A conversation told by hand, with times in ms since its start."""

    def __init__(self, call: otel_realtime.Conversation) -> None:
        self.call = call
        self.received(0, HELLO)

    def received(self, ms: int, event: Any) -> None:
        """The server says something."""
        self.call.received(event, at_ns=START_NS + ms * 1_000_000)

    def user(self, start_ms: int, end_ms: int) -> None:
        """The user speaks, in frames of 20 ms."""
        for ms in range(start_ms, end_ms, 20):
            audio = base64.b64encode(tone(20, 330).tobytes()).decode()
            event = {"type": "input_audio_buffer.append", "audio": audio}
            self.call.sent(event, at_ns=START_NS + (ms + 20) * 1_000_000)

    def agent(self, ms: int, length_ms: int, item: str = "item_a") -> None:
        """The agent's audio arrives, all at once."""
        delta = base64.b64encode(tone(length_ms, 550).tobytes()).decode()
        self.received(
            ms,
            {
                "type": "response.output_audio.delta",
                "response_id": "resp_1",
                "item_id": item,
                "content_index": 0,
                "delta": delta,
            },
        )


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Where recordings are kept."""
    return tmp_path / "kept"


def channels(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The two channels of the only recording."""
    (path,) = folder.glob("*.wav")
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def loud(channel: np.ndarray) -> list[tuple[int, int]]:
    """Where a channel is not silent, in ms."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], channel != 0, [0]))))
    return [(int(a) * 1000 // RATE, int(b) * 1000 // RATE) for a, b in edges.reshape(-1, 2)]


def test_silence_on_both_sides(recordings: Path, traces: Traces) -> None:
    """Who speaks through a pause is heard up to its first sample and from its last one on."""
    settings = Settings(recordings_dir=str(recordings))
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        past = Past(call)
        past.agent(0, 5_000)
        past.user(0, 2_000)
        with call.pause_recording():
            past.user(2_000, 3_000)
        past.user(3_000, 4_000)
    assert otel_realtime.flush(10)
    user, agent = channels(recordings)
    assert [(0, 2_000), (3_000, 4_000)] == loud(user)
    assert [(0, 2_000), (3_000, 4_000)] == [(start, min(end, 4_000)) for start, end in loud(agent)]


def test_what_arrives_meanwhile_is_kept_nowhere(recordings: Path, traces: Traces) -> None:
    """Audio of a pause is neither in the sources nor heard later; what it measures remains."""
    settings = Settings(recordings_dir=str(recordings), langsmith="off")
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        past = Past(call)
        past.user(0, 1_000)
        past.received(1_000, {"type": "response.created", "response": {"id": "resp_1"}})
        item = {"id": "item_a", "type": "message", "role": "assistant", "content": []}
        with call.pause_recording():
            past.received(
                1_000,
                {"type": "response.output_item.added", "response_id": "resp_1", "item": item},
            )
            past.agent(1_000, 4_000)
            past.user(1_000, 1_200)
        past.user(1_200, 2_000)
        done = {"id": "resp_1", "status": "completed", "output": [item]}
        past.received(2_000, {"type": "response.done", "response": done})
    assert otel_realtime.flush(10)
    user, agent = channels(recordings)
    assert [(0, 1_000), (1_200, 2_000)] == loud(user)
    assert [] == loud(agent)
    assert 4_000 == facts(traces.one("chat gpt-realtime"))["otel_realtime.generated_ms"]


def message(item: str, role: str, text: str) -> dict[str, Any]:
    """A message item."""
    return {
        "id": item,
        "type": "message",
        "role": role,
        "content": [{"type": "text", "text": text}],
    }


def told(traces: Traces, folder: Path) -> bytes:
    """Everything the spans and the disk say."""
    said = [
        [span.name, dict(facts(span)), [dict(event.attributes or {}) for event in span.events]]
        for span in traces.spans
    ]
    return json.dumps(said, default=str).encode() + on_disk(folder)


def test_payloads_and_their_echoes(sandbox: object, tmp_path: Path, traces: Traces) -> None:
    """Events of a pause are hidden, and so is what comes after it and belongs to it."""
    spoken = {"item_id": "item_v"}
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        call.received({"type": "conversation.item.added", "item": message("i1", "user", "open-1")})
        call.received({"type": "input_audio_buffer.speech_started", **spoken, "audio_start_ms": 0})
        with call.pause_recording():
            call.received({"type": "conversation.item.added", "item": message("i2", "user", CARD)})
            call.received({"type": "response.created", "response": {"id": "resp_1"}})
            with call.pause_recording():
                pass
            call.sent(
                {
                    "type": "conversation.item.create",
                    "item": {"type": "function_call_output", "call_id": "c1", "output": CARD},
                }
            )
        call.received({"type": "input_audio_buffer.committed", **spoken})
        call.received(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                **spoken,
                "transcript": CARD,
            }
        )
        call.received({"type": "conversation.item.done", "item": message("i2", "user", CARD)})
        answer = message("i3", "assistant", CARD)
        call.received(
            {
                "type": "response.done",
                "response": {
                    "id": "resp_1",
                    "status": "completed",
                    "output": [answer],
                    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
                },
            }
        )
        call.received({"type": "conversation.item.done", "item": answer})
        call.received({"type": "conversation.item.added", "item": message("i4", "user", "open-2")})
    assert otel_realtime.flush(20)
    blob = told(traces, tmp_path)
    assert CARD.encode() not in blob
    assert b"open-1" in blob
    assert b"open-2" in blob
    chat = facts(traces.one("chat gpt-realtime"))
    assert (3, 4) == (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"])
    assert "completed" == chat["otel_realtime.response.status"]


def test_push_to_talk(traces: Traces) -> None:
    """Without a VAD the next commit may hold what was said in the pause; the one after does not."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        with call.pause_recording():
            pass
        for item, text in (("i1", CARD), ("i2", "open")):
            call.received({"type": "input_audio_buffer.committed", "item_id": item})
            call.received(
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": item,
                    "transcript": text,
                }
            )
    blob = told(traces, Path("/nonexistent"))
    assert CARD.encode() not in blob
    assert b"open" in blob


def test_tools_in_a_pause(traces: Traces) -> None:
    """A tool that runs in a pause shows neither what it was given nor what it said."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        with pytest.raises(ValueError), call.pause_recording():
            with call.tool(name="charge", arguments=json.dumps({"card": CARD})):
                raise ValueError(CARD)
    assert CARD.encode() not in told(traces, Path("/nonexistent"))
    assert "ValueError" == facts(traces.one("execute_tool charge"))["error.type"]
