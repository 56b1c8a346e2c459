"""The call object of a call of which little is known: a foreign trace, a recording without its JSON."""

from __future__ import annotations

import wave
from pathlib import Path

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
    """Return a call that has a name, a time and perhaps a recording, and no fact beside."""
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


def recording_at(path: Path, name: str, mime: str) -> Recording:
    """Return what the header of a WAV file says; of another format only its name is known."""
    rate, duration_ms, channels = None, None, 2
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels = file.getframerate(), file.getnchannels()
            duration_ms = file.getnframes() * 1000 // rate
    except (OSError, EOFError, wave.Error, ZeroDivisionError):
        pass  # FLAC or Opus, or damaged: the player finds out
    return {
        "file": name,
        "mime": mime,
        "duration_ms": duration_ms,
        "sample_rate": rate,
        "channels": ["user", "agent"][:channels],
    }
