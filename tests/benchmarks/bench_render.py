"""A call of an hour: memory while it is written and rendered, CPU of the render, loop gaps.

``python -m tests.benchmarks render``, or ``python -m tests.benchmarks.bench_render [minutes]``. The
sources go to a temporary directory (345 MB for an hour, as much again for the recording).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

from otel_realtime.core.audio.formats import MULAW, PCM16, AudioFormat
from otel_realtime.recording.render import Rendered, render
from otel_realtime.recording.track import Track

MS = 1_000_000
MIB = 2**20
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


async def longest_gap(work: Callable[[], object]) -> float:
    """The longest time (ms) an event loop did not run while a thread was busy."""
    thread = threading.Thread(target=work)
    thread.start()
    longest, last = 0.0, time.perf_counter()
    while thread.is_alive():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last - 0.001), now
    return longest * 1_000


def written(folder: Path, minutes: int, user: AudioFormat, agent: AudioFormat) -> Path:
    """A call on disk."""
    track = Track({}, folder)
    track.open()
    converse(track, minutes, user, agent)
    return folder


def memory(folder: Path, minutes: int) -> None:
    """Print the peaks of writing and rendering, and leave the call there."""
    tracemalloc.start()
    written(folder, minutes, PCM16, PCM16)
    kept, peak = tracemalloc.get_traced_memory()
    print(f"{minutes} min written: {peak / MIB:.1f} MB peak (goal 16), {kept / MIB:.1f} kept")
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    render(folder, folder / "conversation.wav")
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    print(f"rendered: {peak / MIB:.1f} MB peak (goal 16)")


def report(rounds: int = 3, minutes: int = 60) -> None:
    """Print the figures beside the goals."""
    print(f"\na call of {minutes} minutes")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "call"
        memory(folder, minutes)
        idle = asyncio.run(longest_gap(lambda: time.sleep(4)))
        gap = asyncio.run(longest_gap(lambda: render(folder, folder / "conversation.wav")))
        print(f"longest loop gap meanwhile: {gap:.1f} ms (goal 5; {idle:.1f} with nothing to do)")
    for label, user, agent in SIDES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = written(Path(scratch) / "call", minutes, user, agent)
            found = [cpu_of_render(folder) for _ in range(rounds)]
            cpu = median(seconds for _, seconds in found)
            print(f"rendered, {label:28}{found[0][0].rate_hz:7} Hz{cpu:7.2f} s CPU (goal 2)")


if __name__ == "__main__":
    report(minutes=int(sys.argv[1]) if len(sys.argv) > 1 else 60)
