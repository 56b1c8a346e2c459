"""Facts of whole conversations of which the truth is known, told by hand with their times."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime import Conversation
from tests.support.talking import silence, tone
from tests.support.traces import Traces, facts

START_NS = 1_700_000_000_000_000_000
SPOKEN_MS = (1_000, 2_200)
"""When the user really begins and ends."""
ANSWERED_MS = 3_150
"""Arrival of the first audio of the answer."""
ANSWER_MS = 3_000
WORDS = "one two three four five six seven eight nine ten"


class Told:
    """Tells a conversation what happens, in ms since its start."""

    def __init__(self, call: Conversation) -> None:
        self.call = call

    def received(self, at_ms: float, kind: str, **more: Any) -> None:
        """The server says something."""
        self.call.received({"type": kind, **more}, at_ns=_ns(at_ms))

    def sent(self, at_ms: float, kind: str, **more: Any) -> None:
        """The client says something."""
        self.call.sent({"type": kind, **more}, at_ns=_ns(at_ms))

    def speak(self, start_ms: int, end_ms: int, audio: bytes) -> None:
        """A microphone sends its blocks of 20 ms as they were captured."""
        for at in range(start_ms, end_ms, 20):
            block = audio[(at - start_ms) * 48 : (at - start_ms + 20) * 48]
            self.sent(at + 20, "input_audio_buffer.append", audio=base64.b64encode(block).decode())

    def answer(self, at_ms: float) -> None:
        """A response whose audio comes five times faster than it plays."""
        item = {"id": "item_a", "type": "message", "role": "assistant"}
        part = {"response_id": "resp", "item_id": "item_a", "content_index": 0}
        self.received(at_ms - 300, "response.created", response={"id": "resp"})
        self.received(at_ms - 50, "response.output_item.added", response_id="resp", item=item)
        audio = tone(ANSWER_MS, 523)
        for number, at in enumerate(range(0, len(audio), 12_000)):
            delta = base64.b64encode(audio[at : at + 12_000]).decode()
            self.received(at_ms + number * 50, "response.output_audio.delta", **part, delta=delta)
        whole = {**item, "content": [{"type": "output_audio", "transcript": WORDS}]}
        done = {"id": "resp", "status": "completed", "output": [whole]}
        self.received(at_ms + 650, "response.done", response=done)


def _ns(at_ms: float) -> int:
    return START_NS + round(at_ms * 1_000_000)


def begin(told: Told, turn_detection: dict[str, Any] | None) -> None:
    """The session as it is configured."""
    audio = {"input": {"turn_detection": turn_detection}}
    told.received(0, "session.created", session={"type": "realtime", "audio": audio})


def voice(end_ms: int = 3_000) -> bytes:
    """Silence, the user's utterance, silence."""
    start, end = SPOKEN_MS
    return silence(start) + tone(end - start, 330) + silence(end_ms - end)


def committed(told: Told, at_ms: float) -> None:
    """The user's item joins the conversation."""
    told.received(at_ms, "input_audio_buffer.committed", item_id="item_u", previous_item_id=None)
    item = {"id": "item_u", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    told.received(at_ms + 1, "conversation.item.added", item=item, previous_item_id=None)


def server_vad(told: Told) -> None:
    """It says when speech ended, ``silence_duration_ms`` later."""
    begin(told, {"type": "server_vad", "silence_duration_ms": 500})
    told.speak(0, 2_740, voice())
    item = {"item_id": "item_u"}
    told.received(2_745, "input_audio_buffer.speech_started", **item, audio_start_ms=700)
    told.received(2_746, "input_audio_buffer.speech_stopped", **item, audio_end_ms=2_700)
    committed(told, 2_748)


def semantic_vad(told: Told) -> None:
    """It stops when the sentence seems to be over; how much silence that took is not said."""
    begin(told, {"type": "semantic_vad"})
    told.speak(0, 2_600, voice())
    item = {"item_id": "item_u"}
    told.received(2_602, "input_audio_buffer.speech_started", **item, audio_start_ms=700)
    told.received(2_605, "input_audio_buffer.speech_stopped", **item, audio_end_ms=2_560)
    committed(told, 2_608)


def push_to_talk(told: Told) -> None:
    """All of it is sent when the button is released, shortly after the last word."""
    begin(told, None)
    audio = voice()[SPOKEN_MS[0] * 48 : 2_300 * 48]
    for at in range(0, len(audio), 960):
        block = base64.b64encode(audio[at : at + 960]).decode()
        told.sent(2_300, "input_audio_buffer.append", audio=block)
    told.sent(2_301, "input_audio_buffer.commit")
    committed(told, 2_350)
    told.sent(2_351, "response.create")


@pytest.mark.parametrize("detect", [server_vad, semantic_vad, push_to_talk])
def test_latency_is_measured_from_the_users_last_word(traces: Traces, detect: Any) -> None:
    """To the first sound of the answer, whoever found the end of the speech."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call)
        detect(told)
        told.answer(ANSWERED_MS)
        told.received(8_000, "rate_limits.updated", rate_limits=[])
    chat = chat_of(traces)
    expected = ANSWERED_MS - SPOKEN_MS[1]
    assert expected == pytest.approx(chat["otel_realtime.voice_to_voice_ms"], abs=25)
    assert (ANSWER_MS, ANSWER_MS, "estimated", False) == heard(chat)


def test_latency_ends_where_the_speaker_begins(traces: Traces) -> None:
    """With a tap, the start latency of the player is part of it."""
    late = 240
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call)
        server_vad(told)
        told.answer(ANSWERED_MS)
        for position in range(20, ANSWER_MS + 1, 20):
            at_ms = ANSWERED_MS + late + position
            call.played("item_a", 0, position, at_ns=_ns(at_ms))
        told.received(8_000, "rate_limits.updated", rate_limits=[])
    chat = chat_of(traces)
    expected = ANSWERED_MS + late - SPOKEN_MS[1]
    assert expected == pytest.approx(chat["otel_realtime.voice_to_voice_ms"], abs=25)
    assert (ANSWER_MS, ANSWER_MS, "tap", False) == heard(chat)


def test_what_was_cut_is_told_beside_what_was_said(traces: Traces) -> None:
    """Half of the sound, and about half of the words; the message keeps them all."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call)
        server_vad(told)
        told.answer(ANSWERED_MS)
        claim = {"item_id": "item_a", "content_index": 0, "audio_end_ms": ANSWER_MS // 2}
        told.sent(ANSWERED_MS + 1_600, "conversation.item.truncate", **claim)
        told.received(ANSWERED_MS + 1_700, "conversation.item.truncated", **claim)
        told.received(8_000, "rate_limits.updated", rate_limits=[])
    assert (ANSWER_MS, ANSWER_MS // 2, "client_truncate", True) == heard(chat_of(traces))
    root = str(facts(traces.root))
    assert WORDS in root
    assert "one two three four five" in root.replace(WORDS, "")
    assert "seven" not in root.replace(WORDS, "")


def test_talk_times_add_up(traces: Traces) -> None:
    """Two talk, once at the same time, and nobody for the rest."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call)
        begin(told, {"type": "server_vad", "interrupt_response": False})
        told.answer(2_000)
        start = 4_000
        told.speak(0, 8_000, silence(start) + tone(2_000, 330) + silence(2_000))
    root = facts(traces.root)
    names = ("user_talk_s", "agent_talk_s", "overlap_s")
    found = [root[f"langsmith.metadata.{name}"] for name in names]
    assert np.allclose([2.0, 3.0, 1.0], found, atol=0.05)


def chat_of(traces: Traces) -> Any:
    """The facts of the only response."""
    (found,) = [facts(span) for span in traces.spans if span.name.startswith("chat")]
    return found


def heard(chat: Any) -> tuple[int, int, str, bool]:
    """Generated, heard, by whose word, interrupted."""
    names = ("generated_ms", "heard_ms", "heard_source", "interrupted")
    generated, kept, source, interrupted = (chat[f"otel_realtime.{name}"] for name in names)
    return generated, kept, source, interrupted
