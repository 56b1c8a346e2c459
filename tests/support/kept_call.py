"""Kept recordings made by hand: call objects with a tone of its own for each turn.

A turn's tone says where in the recording one is: whatever is heard at a time can be told from it.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otel_realtime.sandbox.bare_call import bare_call

RATE = 8_000


@dataclass(frozen=True)
class Said:
    """One turn: who spoke from when to when (ms), and the tone (Hz) that stands for it."""

    role: str
    start_ms: int
    end_ms: int
    text: str
    hz: int
    generated_ms: int | None = None
    heard_text: str | None = None
    latency: tuple[tuple[str, int], ...] = ()


#: A question, an answer that is cut off, a word in between, an answer after a tool.
TALK = (
    Said("user", 500, 2500, "What is the weather in Paris?", 400),
    Said(
        "assistant", 3300, 6000, "It is sunny in Paris and it will stay so until Friday.", 800,
        generated_ms=8000, heard_text="It is sunny in Paris and",
        latency=(("end_of_speech", 500), ("response", 20), ("model", 280)),
    ),
    Said("user", 6000, 7000, "Stop. And in Tokyo?", 1200),
    Said("assistant", 8600, 10000, "In Tokyo it rains.", 1600, latency=(("end_of_speech", 500), ("model", 600), ("tools", 500))),
)  # fmt: skip
DURATION_MS = 12_000


def call_object(
    call_id: str = "call-1", talk: Sequence[Said] = TALK, **changes: Any
) -> dict[str, Any]:
    """Return a call with these turns."""
    duration = changes.pop("duration_ms", DURATION_MS)
    call: dict[str, Any] = {
        **bare_call(call_id, name="realtime_session", started_at="2026-11-27T08:00:00.000Z", duration_ms=duration)
    }  # fmt: skip
    call |= {
        "trace_id": f"{abs(hash(call_id)) % 16**30:032x}",
        "thread_id": f"thread-{call_id}",
        "project": "calls",
        "model": "gpt-realtime",
        "voice": "marin",
        "turns": [_turn(index, said) for index, said in enumerate(talk)],
        "usage": [_usage(300, 120)],
        "recording": {
            "file": f"{call_id}.wav",
            "mime": "audio/wav",
            "duration_ms": duration,
            "sample_rate": RATE,
            "channels": ["user", "agent"],
        },
    }
    waits = sorted(sum(ms for _, ms in said.latency) for said in talk if said.latency)
    cuts = [n for n, said in enumerate(talk) if said.generated_ms is not None]
    call["facts"] |= {
        "turns": len(talk),
        "responses": len(waits),
        "interruptions": len(cuts),
        "false_interruptions": 0,
        "tool_calls": 0,
        "server_errors": 0,
        "user_talk_s": sum(s.end_ms - s.start_ms for s in talk if s.role == "user") / 1000,
        "agent_talk_s": sum(s.end_ms - s.start_ms for s in talk if s.role != "user") / 1000,
        "overlap_s": 0.0,
        "dead_air_s": 2.4,
        "longest_silence_s": 2.0,
        "agent_over_user_s": 0.0,
    }
    if waits:
        call["facts"]["voice_to_voice_ms"] = {
            "p50": waits[len(waits) // 2],
            "p95": waits[-1],
            "max": waits[-1],
        }
    call["interruptions"] = [
        {"at_ms": talk[n].end_ms, "turn": n, "false": False, "generated_ms": talk[n].generated_ms,
         "heard_ms": talk[n].end_ms - talk[n].start_ms}
        for n in cuts
    ]  # fmt: skip
    return {**call, **changes}


def _turn(index: int, said: Said) -> dict[str, Any]:
    agent = said.role == "assistant"
    return {
        "index": index,
        "role": said.role,
        "start_ms": said.start_ms,
        "end_ms": said.end_ms,
        "text": said.text,
        "heard_text": said.text if said.heard_text is None else said.heard_text,
        "interrupted": said.generated_ms is not None,
        "false_interruption": None,
        "generated_ms": said.generated_ms if agent else None,
        "heard_ms": said.end_ms - said.start_ms if agent else None,
        "heard_source": "client_truncate" if said.generated_ms else None,
        "item_ids": [f"item_{index}"],
        "responses": [],
        "tools": [],
        "latency": {
            "total_ms": sum(ms for _, ms in said.latency),
            "parts": [{"cause": cause, "ms": ms, "owner": "service"} for cause, ms in said.latency],
        }
        if said.latency
        else None,
        "usage": None,
    }


def _usage(inputs: int, outputs: int) -> dict[str, Any]:
    rest = dict.fromkeys(("image", "cached", "cached_text", "cached_audio", "cached_image"))
    return {
        "model": "gpt-realtime",
        "input": {"total": inputs, "text": inputs // 3, "audio": inputs - inputs // 3, **rest},
        "output": {"total": outputs, "text": outputs // 3, "audio": outputs - outputs // 3, "reasoning": None},
        "seconds": None,
    }  # fmt: skip


def with_work(call: dict[str, Any]) -> dict[str, Any]:
    """Add model calls, a tool and an error of the server's to a call of ``TALK``."""
    call["responses"] = [
        _response(0, 2600, 4400, turn=1),
        _response(1, 7100, 7900, turn=3),
    ]
    call["tools"] = [
        {"index": 0, "call_id": "call_9", "span_id": "00000000000000a3", "name": "lookup_weather",
         "type": "function", "start_ms": 7300, "end_ms": 7800, "waited_ms": 500, "timing": "exact",
         "arguments": {"city": "Tokyo"}, "result": {"sky": "rain"}, "error": None, "response": 1, "turn": 3}
    ]  # fmt: skip
    call["errors"] = [
        {"at_ms": 6100, "type": "invalid_request_error", "code": "response_cancel_not_active",
         "message": "Cancellation failed", "span_id": "00000000000000a4"}
    ]  # fmt: skip
    call["turns"][1]["responses"] = [0]
    call["turns"][3] |= {"responses": [1], "tools": [0], "usage": _usage(200, 60)}
    call["facts"] |= {"tool_calls": 1, "server_errors": 1}
    return call


def _response(index: int, start_ms: int, end_ms: int, turn: int) -> dict[str, Any]:
    return {
        "index": index,
        "id": f"resp_{index}",
        "span_id": f"{0xA1 + index:016x}",
        "model": "gpt-realtime",
        "status": "completed",
        "reason": None,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "first_audio_ms": 300,
        "generated_ms": 2000,
        "heard_ms": 2000,
        "interrupted": False,
        "out_of_band": False,
        "usage": _usage(200, 60),
        "error": None,
        "turn": turn,
    }


def sound(talk: Sequence[Said], duration_ms: int, rate: int = RATE) -> np.ndarray:
    """Return two channels, user and agent, with each turn's tone at its time."""
    samples = np.zeros((duration_ms * rate // 1000, 2), "<i2")
    for said in talk:
        start, end = (at * rate // 1000 for at in (said.start_ms, said.end_ms))
        tone = 12_000 * np.sin(2 * np.pi * said.hz * np.arange(end - start) / rate)
        samples[start:end, 0 if said.role == "user" else 1] = tone[: len(samples) - start]
    return samples


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """Write a WAV file of 16-bit samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def keep(folder: Path, call: dict[str, Any], talk: Sequence[Said] | None = TALK) -> Path:
    """Put a call into a folder as the package does: a WAV with a JSON file beside it.

    Without turns it has no recording.
    """
    if talk is None:
        call["recording"] = None
    else:
        write_wav(folder / f"{call['id']}.wav", sound(talk, call["duration_ms"]))
    path = folder / f"{call['id']}.json"
    path.write_text(json.dumps(call))
    return path


def long_talk(hours: float = 1.0) -> tuple[Said, ...]:
    """Return an hour of questions and answers, 9 s each pair."""
    pairs = int(hours * 3600 / 9)
    turns: list[Said] = []
    for n in range(pairs):
        at = n * 9_000
        turns.append(Said("user", at + 500, at + 3_000, f"Question {n}: what about item {n}?", 400))
        turns.append(
            Said("assistant", at + 3_800, at + 8_500, f"Answer {n}: item {n} is on its way. " * 3, 800,
                 latency=(("end_of_speech", 500), ("model", 300)))
        )  # fmt: skip
    return tuple(turns)
