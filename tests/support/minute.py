"""A synthetic call of one minute: what an app with an open microphone sends and receives in it.

Four turns of 15 s, the first with a tool call. Fed by hand with the times it would have had, so it
takes a moment. Sizes are those of real sessions: instructions of 2,000 characters, two tools,
microphone frames of 40 ms, audio that arrives three times faster than it is spoken.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

import otel_realtime

SECONDS: Final = 60
TURN_MS: Final = 15_000
_RATE: Final = 24_000
_MODEL: Final = "gpt-realtime"
_ASKED: Final = (
    "I would like to know whether my order from last week was sent, and when it arrives."
)
_SAID: Final = (
    "Of course. Your order left our warehouse on Monday and should be with you tomorrow between "
    "nine and eleven in the morning. Is there anything else I can do for you?"
)
Row = tuple[int, bool, dict[str, Any]]


def _noise(ms: int, seed: int) -> bytes:
    """Sound that no compression makes small, as loud as speech."""
    samples = np.random.default_rng(seed).normal(0, 2500, ms * _RATE // 1000)
    return samples.astype("<i2").tobytes()


def _session() -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"order": {"type": "string"}}}
    tools = [
        {"type": "function", "name": name, "description": "Look it up.", "parameters": parameters}
        for name in ("lookup_order", "lookup_customer")
    ]
    pcm = {"type": "audio/pcm", "rate": _RATE}
    detection = {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": True}
    transcription = {"model": "gpt-4o-mini-transcribe"}
    return {
        "type": "realtime",
        "id": "sess_1",
        "model": _MODEL,
        "instructions": ("You help callers with their orders. Be brief and friendly. " * 40)[:2000],
        "tools": tools,
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": pcm, "transcription": transcription, "turn_detection": detection},
            "output": {"format": pcm, "voice": "marin"},
        },
    }


def _usage(turn: int) -> dict[str, Any]:
    text, audio, cached = 500 + 60 * turn, 90 * turn, 400 + 100 * turn
    return {
        "total_tokens": text + audio + 190,
        "input_tokens": text + audio,
        "output_tokens": 190,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "cached_tokens": min(cached, text + audio),
        },
        "output_token_details": {"text_tokens": 45, "audio_tokens": 145},
    }


def rows() -> list[Row]:
    """The call: (ms since its start, sent by the client, event), in order of time."""
    session = _session()
    found: list[Row] = [
        (0, False, {"type": "session.created", "session": session}),
        (80, True, {"type": "session.update", "session": session}),
        (120, False, {"type": "session.updated", "session": session}),
    ]
    for ms in range(200, SECONDS * 1000, 40):
        talking = ms % TURN_MS < 4_000
        audio = _noise(40, ms) if talking else bytes(40 * _RATE // 1000 * 2)
        append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}
        found.append((ms, True, append))
    for turn in range(SECONDS * 1000 // TURN_MS):
        found += _turn(turn)
    found.sort(key=lambda row: row[0])
    return found


def _turn(turn: int) -> Iterator[Row]:
    start, user = turn * TURN_MS + 200, f"item_user_{turn:016d}"

    def got(ms: int, kind: str, **fields: Any) -> Row:
        return start + ms, False, {"type": kind, "event_id": f"event_{turn}_{ms:06d}", **fields}

    said = {"id": user, "type": "message", "role": "user", "status": "completed"}
    heard = {"type": "input_audio", "transcript": None}
    yield got(100, "input_audio_buffer.speech_started", audio_start_ms=start, item_id=user)
    yield got(4500, "input_audio_buffer.speech_stopped", audio_end_ms=start + 4300, item_id=user)
    yield got(4501, "input_audio_buffer.committed", item_id=user, previous_item_id=None)
    yield got(4502, "conversation.item.added", item={**said, "content": [heard]})
    yield got(4503, "conversation.item.done", item={**said, "content": [heard]})
    yield got(
        4900,
        "conversation.item.input_audio_transcription.completed",
        item_id=user,
        content_index=0,
        transcript=_ASKED,
        usage={"type": "tokens", "input_tokens": 40, "output_tokens": 20, "total_tokens": 60},
    )
    if turn == 0:
        yield from _tool_call(got, start)
    yield from _answer(got, turn)


def _tool_call(got: Any, start: int) -> Iterator[Row]:
    item = {"id": "item_call", "type": "function_call", "name": "lookup_order", "call_id": "call_1"}
    arguments = json.dumps({"order": "2026-1123"})
    called = {**item, "arguments": arguments, "status": "completed"}
    response = {"id": "resp_call", "status": "in_progress", "conversation_id": "conv_1"}
    done = {**response, "status": "completed", "output": [called], "usage": _usage(0)}
    named = {"response_id": "resp_call", "item_id": "item_call", "output_index": 0}
    yield got(4510, "response.created", response=response)
    yield got(4700, "response.output_item.added", response_id="resp_call", item=item)
    yield got(4701, "conversation.item.added", item=item)
    yield got(
        4800,
        "response.function_call_arguments.done",
        **named,
        call_id="call_1",
        name="lookup_order",
        arguments=arguments,
    )
    yield got(4802, "conversation.item.done", item=called)
    yield got(4803, "response.output_item.done", response_id="resp_call", item=called)
    yield got(4804, "response.done", response=done)
    result = {"type": "function_call_output", "call_id": "call_1", "output": '{"sent": "Monday"}'}
    yield start + 5000, True, {"type": "conversation.item.create", "item": result}
    yield start + 5001, True, {"type": "response.create"}


def _answer(got: Any, turn: int) -> Iterator[Row]:
    response_id, item_id = f"resp_{turn:016d}", f"item_agent_{turn:016d}"
    where = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
    spoken = {"type": "output_audio", "transcript": _SAID}
    ended = {**item, "status": "completed", "content": [spoken]}
    response = {"id": response_id, "status": "in_progress", "conversation_id": "conv_1"}
    done = {**response, "status": "completed", "output": [ended], "usage": _usage(turn + 1)}
    yield got(5010, "response.created", response=response)
    yield got(5200, "response.output_item.added", response_id=response_id, item=item)
    yield got(5201, "conversation.item.added", item=item)
    yield got(5202, "response.content_part.added", **where, part={"type": "audio"})
    for number in range(35):
        at_ms, delta = 5300 + number * 66, base64.b64encode(_noise(200, number)).decode()
        yield got(at_ms, "response.output_audio.delta", **where, delta=delta)
        words = _SAID[number * 5 : number * 5 + 5]
        yield got(at_ms + 1, "response.output_audio_transcript.delta", **where, delta=words)
    yield got(7700, "response.output_audio.done", **where)
    yield got(7701, "response.output_audio_transcript.done", **where, transcript=_SAID)
    yield got(7702, "response.content_part.done", **where, part=spoken)
    yield got(7703, "conversation.item.done", item=ended)
    yield got(7704, "response.output_item.done", response_id=response_id, item=ended)
    yield got(7705, "response.done", response=done)
    yield got(7706, "rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 40_000}])


def hold(thread_id: str) -> None:
    """Feed the call as one that ended an hour ago."""
    start_ns = time.time_ns() - 3_600_000_000_000
    with otel_realtime.conversation(thread_id=thread_id) as call:
        for ms, sent, event in rows():
            report = call.sent if sent else call.received
            report(json.dumps(event, separators=(",", ":")), at_ns=start_ns + ms * 1_000_000)
