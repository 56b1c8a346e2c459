"""The conversation every benchmark plays: turns of audio deltas and 15 other events, and calls of a tool."""

from __future__ import annotations

import base64
import json
from typing import Any

TURNS = 20
DELTAS = 200
PCM = bytes(4800)

_SESSION = {
    "type": "realtime",
    "id": "sess_1",
    "model": "gpt-realtime",
    "instructions": "You are friendly.",
    "tools": [],
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
}
_USAGE = {
    "total_tokens": 261,
    "input_tokens": 160,
    "output_tokens": 101,
    "input_token_details": {"text_tokens": 60, "audio_tokens": 100, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 21, "audio_tokens": 80},
}


def encode(event: dict[str, Any]) -> bytes:
    """One frame, as the service writes it: type first, no spaces."""
    return json.dumps({"type": event["type"], **event}, separators=(",", ":")).encode()


def opening() -> list[bytes]:
    """The frames before the first turn."""
    return [encode({"type": "session.created", "event_id": "event_0", "session": _SESSION})]


def delta(turn: int) -> bytes:
    """One audio delta: 100 ms of PCM16 at 24 kHz."""
    return encode(
        {
            "type": "response.output_audio.delta",
            "event_id": "event_d",
            "response_id": f"resp_{turn}",
            "item_id": f"item_a{turn}",
            "output_index": 0,
            "content_index": 0,
            "delta": base64.b64encode(PCM).decode(),
        }
    )


def before_audio(turn: int) -> list[bytes]:
    """The nine events of a turn before its audio."""
    user, agent, response = f"item_u{turn}", f"item_a{turn}", f"resp_{turn}"
    message = {"id": user, "type": "message", "role": "user", "status": "completed"}
    answer = {"id": agent, "type": "message", "role": "assistant", "content": []}
    started = {"id": response, "object": "realtime.response", "status": "in_progress"}
    transcript = "What is the weather like in Paris today, and will it rain tomorrow?"
    events: list[dict[str, Any]] = [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": turn, "item_id": user},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": turn + 1, "item_id": user},
        {"type": "input_audio_buffer.committed", "item_id": user},
        {
            "type": "conversation.item.added",
            "item": {**message, "content": [{"type": "input_audio", "transcript": None}]},
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": user,
            "content_index": 0,
            "transcript": transcript,
            "usage": {"type": "duration", "seconds": 2},
        },
        {"type": "response.created", "response": {**started, "conversation_id": "conv_1"}},
        {"type": "response.output_item.added", "response_id": response, "item": answer},
        {"type": "conversation.item.added", "item": answer},
        {
            "type": "response.content_part.added",
            "response_id": response,
            "item_id": agent,
            "part": {"type": "audio", "transcript": ""},
        },
    ]
    return [encode({"event_id": f"event_{turn}_{i}", **e}) for i, e in enumerate(events)]


def after_audio(turn: int) -> list[bytes]:
    """The six events of a turn after its audio."""
    agent, response = f"item_a{turn}", f"resp_{turn}"
    text = "It is eighteen degrees and sunny in Paris today; tomorrow it may rain a little."
    item = {
        "id": agent,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_audio", "transcript": text}],
    }
    where = {"response_id": response, "item_id": agent, "output_index": 0, "content_index": 0}
    done = {"id": response, "status": "completed", "conversation_id": "conv_1", "usage": _USAGE}
    events: list[dict[str, Any]] = [
        {"type": "response.output_audio.done", **where},
        {"type": "response.output_audio_transcript.done", **where, "transcript": text},
        {"type": "response.content_part.done", **where, "part": {"type": "audio"}},
        {"type": "conversation.item.done", "item": item},
        {"type": "response.output_item.done", "response_id": response, "item": item},
        {"type": "response.done", "response": {**done, "output": [item]}},
    ]
    return [encode({"event_id": f"event_{turn}_{i}", **e}) for i, e in enumerate(events, 9)]


def text_delta(turn: int, number: int) -> bytes:
    """One delta of the answer's transcript."""
    return encode(
        {
            "type": "response.output_audio_transcript.delta",
            "event_id": f"event_t{turn}_{number}",
            "response_id": f"resp_{turn}",
            "item_id": f"item_a{turn}",
            "output_index": 0,
            "content_index": 0,
            "delta": " word",
        }
    )


def call_id(turn: int) -> str:
    """The id of a turn's function call."""
    return f"call_{turn}"


def tool_call(turn: int) -> list[bytes]:
    """A response that calls a function; the client sends the result after the last frame."""
    response, item_id = f"resp_f{turn}", f"item_f{turn}"
    item = {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "name": "lookup_weather",
        "call_id": call_id(turn),
        "arguments": '{"city":"Paris"}',
    }
    started = {"id": response, "object": "realtime.response", "status": "in_progress"}
    done = {"id": response, "status": "completed", "conversation_id": "conv_1", "usage": _USAGE}
    where = {"response_id": response, "item_id": item_id, "output_index": 0}
    called = {"call_id": call_id(turn), "name": "lookup_weather", "arguments": item["arguments"]}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**started, "conversation_id": "conv_1"}},
        {"type": "response.function_call_arguments.done", **where, **called},
        {"type": "response.output_item.done", "response_id": response, "item": item},
        {"type": "response.done", "response": {**done, "output": [item]}},
    ]
    return [encode({"event_id": f"event_f{turn}_{i}", **e}) for i, e in enumerate(events)]


def whole(*, deltas: int = DELTAS, tools: bool = False) -> list[bytes]:
    """All frames in order."""
    frames = opening()
    for turn in range(TURNS):
        frames += tool_call(turn) if tools else []
        frames += before_audio(turn) + [delta(turn)] * deltas + after_audio(turn)
    return frames
