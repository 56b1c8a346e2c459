"""A call of an hour: memory while it is written and rendered, CPU of the render, loop gaps.

Run it with ``python -m tests.benchmarks.bench_render [minutes]``. The sources go to a temporary
directory (345 MB for an hour, as much again for the recording).
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

from otel_realtime.recording.render import Rendered, render
from otel_realtime.recording.track import Track

MS = 1_000_000
TURN_MS = 10_000
SLICE = 960 * 10


def frames() -> tuple[str, Callable[[str], str]]:
    """A microphone's 20 ms and a server's 200 ms, of noise."""
    audio = base64.b64encode(os.urandom(960)).decode()
    chunk = base64.b64encode(os.urandom(SLICE)).decode()
    append = json.dumps({"type": "input_audio_buffer.append", "audio": audio})

    def delta(item: str) -> str:
        event = {"type": "response.output_audio.delta", "item_id": item, "delta": chunk}
        return json.dumps({**event, "content_index": 0, "response_id": item})

    return append, delta


def converse(track: Track, minutes: int) -> None:
    """The user sends all the time; every ten seconds an answer of eight, each second one cut."""
    append, delta = frames()
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


def main(minutes: int = 60) -> None:
    """Print the figures beside the goals."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "call"
        tracemalloc.start()
        track = Track({}, folder)
        track.open()
        converse(track, minutes)
        kept, peak = tracemalloc.get_traced_memory()
        print(
            f"{minutes} min written: {peak / 2**20:.1f} MB peak (goal 16), {kept / 2**20:.1f} kept"
        )
        del track
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        render(folder, folder / "conversation.wav")
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        rendered, cpu = cpu_of_render(folder)
        idle = asyncio.run(longest_gap(lambda: time.sleep(4)))
        gap = asyncio.run(longest_gap(lambda: render(folder, folder / "conversation.wav")))
        print(
            f"render of {rendered.duration_s:.0f} s: {cpu:.2f} s CPU (goal 2), {peak / 2**20:.1f} MB"
        )
        print(f"longest loop gap meanwhile: {gap:.1f} ms (goal 5; {idle:.1f} with nothing to do)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
