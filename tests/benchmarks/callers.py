"""A process that holds calls: ``python -m tests.benchmarks.callers WHO PORT PORT CALLS SECONDS``.

It prints its figures as a line of JSON. A call sends a microphone's 40 ms and receives what the server
says, in real time; recording and delivery to LangSmith are on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import openai  # noqa: F401 - every app has it: not a tracer's start-up
from opentelemetry.sdk import trace  # noqa: F401 - likewise

from tests.benchmarks import client as clients
from tests.benchmarks.client import KEEPING, LANGSMITH, OURS, audio_of, connected
from tests.benchmarks.conversation import after_audio, before_audio, delta, opening
from tests.benchmarks.server import Servers

FRAME_MS, RATE = 40, 24_000
#: What 1,000 open calls do: a frame a second each.
_OPEN_FRAME_S = 1.0


def microphone() -> list[str]:
    """Frames of a voice that pauses now and then, in base64."""
    random = np.random.default_rng(1)
    size = RATE * FRAME_MS // 1000
    return [
        base64.b64encode(
            random.normal(0, 3_000 if number % 50 < 30 else 20, size).astype("<i2").tobytes()
        ).decode()
        for number in range(100)
    ]


def peak_mb() -> float:
    """The most memory that this process ever held, in MB."""
    # Not ``ru_maxrss``: that of a process that was just started is its parent's.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def held_mb() -> float:
    """The memory that this process holds, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def by_thread() -> dict[str, float]:
    """CPU ms of each thread that lives."""
    found = {}
    for thread in threading.enumerate():
        try:
            spent = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]
        except OSError:
            continue
        found[thread.name] = int(spent) / 1e6
    return found


async def _call(who: str, where: Servers, client: Any, until: float, frames: list[str]) -> int:
    """Hold one call; return how many frames the microphone sent."""
    loop = asyncio.get_running_loop()
    async with connected(who, where, "paced", client=client) as (connection, app):

        async def listen() -> None:
            async for event in app:
                audio = audio_of(event)
                if audio is not None and who == LANGSMITH:
                    app.record_agent_audio(audio)

        listening = asyncio.ensure_future(listen())
        due, number = loop.time(), 0
        while loop.time() < until:
            audio = frames[number % len(frames)]
            await connection.input_audio_buffer.append(audio=audio)
            if who == LANGSMITH:
                app.record_user_audio(base64.b64decode(audio))
            number, due = number + 1, due + FRAME_MS / 1000
            await asyncio.sleep(max(due - loop.time(), 0))
        listening.cancel()
        return number


async def _calls(
    who: str, where: Servers, client: Any, calls: int, seconds: float
) -> tuple[float, float]:
    """Hold all calls; return the loop's longest gap in ms, and the part of real time that was held."""
    frames, longest = microphone(), 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before - 0.01)

    beating = asyncio.ensure_future(beat())
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def later(number: int) -> float:
        await asyncio.sleep(number / calls)  # of a second: calls do not begin at once
        due = (until - loop.time()) * 1000 / FRAME_MS
        return await _call(who, where, client, until, frames) / due

    held = await asyncio.gather(*(later(number) for number in range(calls)))
    beating.cancel()
    return longest * 1000, fmean(held)


def _real_time(who: str, where: Servers, calls: int, seconds: float) -> dict[str, Any]:
    began = time.process_time()
    client = clients.langsmith_client(where) if who == LANGSMITH else None
    with clients.traced(who, where):
        start_ms = (time.process_time() - began) * 1000
        gap_ms, held = asyncio.run(_calls(who, where, client, calls, seconds))
        if client is not None:
            client.flush()
        if who in (OURS, KEEPING):
            import otel_realtime

            otel_realtime.flush(60)
        threads = by_thread()
    return {
        "cpu_ms": (time.process_time() - began) * 1000,
        "start_ms": start_ms,
        "gap_ms": gap_ms,
        "held": held,
        "threads": threads,
        "peak_mb": peak_mb(),
    }


def _open(where: Servers, calls: int, seconds: float) -> dict[str, Any]:
    """Calls on another transport that stay open: a turn each, then a frame a second."""
    import otel_realtime

    frame = json.dumps({"type": "input_audio_buffer.append", "audio": microphone()[0]})
    with clients.traced(OURS, where):
        before, opened = held_mb(), []
        for number in range(calls):
            call = otel_realtime.conversation().__enter__()
            opened.append(call)
            for event in [*opening(), *before_audio(number), delta(number), *after_audio(number)]:
                call.received(event)
        began, cpu = time.monotonic(), time.process_time()
        while time.monotonic() < began + seconds:
            due = time.monotonic() + _OPEN_FRAME_S
            for call in opened:
                call.sent(frame)
            time.sleep(max(due - time.monotonic(), 0))
        found = {
            "cpu_ms": (time.process_time() - cpu) * 1000,
            "call_mb": (held_mb() - before) / calls,
        }
        for call in opened:
            call.close()
    return found


def main() -> None:
    """Hold the calls that the arguments ask for."""
    who, *ports, calls, seconds = sys.argv[1:]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    where = Servers(*map(int, ports))
    with tempfile.TemporaryDirectory() as kept:
        if who == KEEPING:
            os.environ["OTEL_REALTIME_RECORDINGS_DIR"] = kept
        run = _open(where, int(calls), float(seconds)) if who == "open" else None
        found = run or _real_time(who, where, int(calls), float(seconds))
    print(json.dumps({**found, "calls": int(calls), "seconds": float(seconds)}))


if __name__ == "__main__":
    main()
