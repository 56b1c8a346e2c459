"""Calls of any length on disk, without an app: to render them, and to see what they hold in memory.

An hour's sources take 345 MB, and its recording as much again.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from otel_realtime.core.audio.formats import MULAW, PCM16, AudioFormat
from otel_realtime.recording.render import Rendered, render
from otel_realtime.recording.track import Track

MS = 1_000_000
TURN_MS = 10_000
G711 = AudioFormat(MULAW, 8_000)
SIDES = (
    ("PCM16 on both sides", PCM16, PCM16),
    ("G.711 on both sides", G711, G711),
    ("a G.711 user, a PCM16 agent", G711, PCM16),
)


def frames(user: AudioFormat, agent: AudioFormat) -> tuple[str, Callable[[str], str]]:
    """A microphone's 20 ms and a server's 200 ms, of noise."""
    audio = base64.b64encode(os.urandom(user.size(20 * MS))).decode()
    chunk = base64.b64encode(os.urandom(agent.size(200 * MS))).decode()
    append = json.dumps({"type": "input_audio_buffer.append", "audio": audio})

    def delta(item: str) -> str:
        event = {"type": "response.output_audio.delta", "item_id": item, "delta": chunk}
        return json.dumps({**event, "content_index": 0, "response_id": item})

    return append, delta


def converse(
    track: Track, minutes: int, user: AudioFormat = PCM16, agent: AudioFormat = PCM16
) -> None:
    """The user sends all the time; every ten seconds an answer of eight, each second one cut."""
    append, delta = frames(user, agent)
    audio = {"input": {"format": user.to_wire()}, "output": {"format": agent.to_wire()}}
    track.event(0, False, {"type": "session.created", "session": {"audio": audio}})
    for turn in range(minutes * 6):
        start = turn * TURN_MS
        for at in range(20, TURN_MS + 1, 20):
            track.frame((start + at) * MS, True, append)
            if at % 40 == 0 and at <= 1_600:
                track.frame((start + at) * MS, False, delta(f"item_{turn}"))
        if turn % 2:
            event = {"type": "conversation.item.truncate", "item_id": f"item_{turn}"}
            track.event((start + TURN_MS) * MS, True, {**event, "audio_end_ms": 5_000})
        track.flush()
    track.close(minutes * 60_000 * MS, True)
    track.measure()
    track.finish()


def cpu_of_render(folder: Path) -> tuple[Rendered, float]:
    """CPU seconds of one render in this thread."""
    before = time.thread_time()
    rendered = render(folder, folder / "conversation.wav")
    return rendered, time.thread_time() - before


def written(folder: Path, minutes: int, user: AudioFormat, agent: AudioFormat) -> Path:
    """A call on disk."""
    track = Track({}, folder)
    track.open()
    converse(track, minutes, user, agent)
    return folder
