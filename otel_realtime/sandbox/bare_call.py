"""Builds call objects with only a few facts: for a foreign trace, or a recording without JSON."""

from __future__ import annotations

import wave
from io import BytesIO
from pathlib import Path
from typing import Final

from otel_realtime.calls.schema import SCHEMA, VERSION, Call, Recording, Spread


def bare_call(
    call_id: str,
    *,
    name: str,
    started_at: str | None,
    duration_ms: int | None,
    live: bool = False,
    recording: Recording | None = None,
) -> Call:
    """Return a call that has a name, a start, perhaps a recording, and no other facts."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "id": call_id,
        "trace_id": None,
        "thread_id": None,
        "name": name,
        "project": None,
        "started_at": started_at or "",
        "duration_ms": duration_ms,
        "live": live,
        "status": "ok",
        "error": None,
        "close": {"code": None, "reason": ""},
        "model": None,
        "voice": None,
        "metadata": {},
        "tags": [],
        "facts": {
            "turns": None,
            "responses": None,
            "interruptions": None,
            "false_interruptions": None,
            "tool_calls": None,
            "server_errors": None,
            "user_talk_s": None,
            "agent_talk_s": None,
            "overlap_s": None,
            "dead_air_s": None,
            "longest_silence_s": None,
            "agent_over_user_s": None,
            "voice_to_voice_ms": _unknown(),
            "first_audio_ms": _unknown(),
        },
        "usage": [],
        "recording": recording,
        "turns": [],
        "responses": [],
        "tools": [],
        "interruptions": [],
        "errors": [],
    }


def _unknown() -> Spread:
    return {"p50": None, "p95": None, "max": None}


#: Number of bytes at the start of a file that ``recording_at`` reads.
HEAD_BYTES: Final = 4096


def recording_at(path: Path, name: str, mime: str) -> Recording:
    """Describe a recording by its WAV header; for another format, only its name and type are known."""
    try:
        with path.open("rb") as file:
            head, size = file.read(HEAD_BYTES), path.stat().st_size
    except OSError:
        head, size = b"", 0
    return recording_of(head, size, name, mime)


def recording_of(head: bytes, size: int, name: str, mime: str) -> Recording:
    """Describe a recording by the first bytes of its file.

    Args:
        head: the first ``HEAD_BYTES`` of the file.
        size: length of the file, bytes; a header written before the audio may claim more.
        name: its name.
        mime: its media type.
    """
    rate, duration_ms, channels = None, None, 2
    try:
        stream = BytesIO(head)
        with wave.open(stream, "rb") as file:
            rate, channels = file.getframerate(), file.getnchannels()
            there = (size - stream.tell()) // (channels * file.getsampwidth())
            duration_ms = min(file.getnframes(), there) * 1000 // rate
    except (EOFError, wave.Error, ZeroDivisionError):
        rate = duration_ms = None  # FLAC, Opus or damaged: the player determines the duration
    return {
        "file": name,
        "mime": mime,
        "duration_ms": duration_ms,
        "sample_rate": rate,
        "channels": ["user", "agent"][:channels],
    }
