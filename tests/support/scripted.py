"""Drive the scripted server with the real client and collect what happens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from openai import AsyncOpenAI

from otel_realtime.demo.server import ScriptedServer

Event = dict[str, Any]
CHUNK = 4800
"""Bytes of 100 ms of PCM16 at 24 kHz."""


def client_of(server: ScriptedServer, api_key: str = "any") -> AsyncOpenAI:
    """The real SDK client, pointed at the server."""
    return AsyncOpenAI(api_key=api_key, websocket_base_url=server.url)


async def events_until(connection: Any, done: Callable[[Event], bool]) -> list[Event]:
    """Receive raw events up to and including the first for which ``done`` holds."""
    events: list[Event] = []
    while True:
        event = json.loads(await connection.recv_bytes())
        events.append(event)
        if done(event):
            return events


def is_type(*kinds: str) -> Callable[[Event], bool]:
    """A test for ``events_until``: the event is of one of these types."""
    return lambda event: event["type"] in kinds


async def append(connection: Any, pcm: bytes, chunk: int = CHUNK) -> None:
    """Append audio in chunks, as fast as the socket takes it."""
    for start in range(0, len(pcm), chunk):
        piece = base64.b64encode(pcm[start : start + chunk]).decode("ascii")
        await connection.input_audio_buffer.append(audio=piece)


def session(**changes: Any) -> Event:
    """A ``session.update`` body with input transcription, as most apps send."""
    transcription = {"model": "gpt-4o-mini-transcribe"}
    return {"type": "realtime", "audio": {"input": {"transcription": transcription}}, **changes}


def of_type(events: list[Event], kind: str) -> list[Event]:
    """The events of one type."""
    return [event for event in events if event["type"] == kind]


def audio_of(events: list[Event]) -> bytes:
    """All the agent's audio in the events."""
    deltas = of_type(events, "response.output_audio.delta")
    return b"".join(base64.b64decode(event["delta"]) for event in deltas)


def milestones(events: list[Event]) -> list[str]:
    """The types in order, without deltas and rate limits (which come and go between models)."""
    kinds = [event["type"] for event in events]
    return [kind for kind in kinds if not kind.endswith(".delta") and kind != "rate_limits.updated"]
