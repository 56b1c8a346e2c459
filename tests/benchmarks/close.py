"""How long the app's loop stands still when a 10-minute call closes.

Audio is fed beforehand in small steps; a heartbeat of 1 ms runs through the last second of the
call, the close and two seconds after it, while the recording is rendered in the background.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

from tests.benchmarks import harness
from tests.benchmarks.conversation import PCM, TURNS, after_audio, before_audio, delta, opening
from tests.benchmarks.numbers import Figure, figure

MINUTES = 10
#: 100 ms each: the agent speaks half of the call.
DELTAS_PER_TURN = MINUTES * 60 * 10 // 2 // TURNS


def _frames() -> list[bytes]:
    frames = opening()
    for turn in range(TURNS):
        frames += before_audio(turn) + [delta(turn)] * DELTAS_PER_TURN + after_audio(turn)
    return frames


class Heartbeat:
    """Notes the longest time between two turns of the loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._running = True

    async def beat(self) -> None:
        """Beat every millisecond until told to stop."""
        last = time.perf_counter()
        while self._running:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest_s = max(self.longest_s, now - last - 0.001)
            last = now

    def stop(self) -> None:
        """Beat no more."""
        self._running = False


async def _around(close: Any) -> float:
    heart = Heartbeat()
    beating = asyncio.ensure_future(heart.beat())
    await asyncio.sleep(0.2)
    result = close()
    if asyncio.iscoroutine(result):
        await result
    await asyncio.sleep(2)
    heart.stop()
    await beating
    return heart.longest_s


async def _idle() -> float:
    return await _around(lambda: None)


async def ours(frames: list[bytes]) -> float:
    """Longest gap around our close."""
    socket = harness.Socket(frames)
    sink = harness.tap(socket)
    for number in range(len(frames)):
        await socket.recv(decode=False)
        if number % 200 == 0:
            await asyncio.sleep(0.01)
    assert sink.engine is not None
    await asyncio.sleep(0.5)
    return await _around(sink.engine.close)


async def langsmith(frames: list[bytes]) -> float:
    """Longest gap around LangSmith's ``__aexit__``."""
    from langsmith.integrations.openai_realtime import wrap_realtime

    encoded = base64.b64encode(PCM).decode()
    session = wrap_realtime(
        harness.SdkConnection(harness.sdk_events(frames)), client=harness.NoClient()
    )
    connection = await session.__aenter__()
    async for event in connection:
        if event.type == "response.output_audio.delta":
            connection.record_agent_audio(base64.b64decode(encoded))
    return await _around(lambda: session.__aexit__(None, None, None))


def measure(rounds: int) -> list[Figure]:
    """Return the longest gaps side by side."""
    frames = _frames()
    found: dict[str, list[float]] = {"an idle loop": [], "otel-realtime": [], "langsmith": []}
    for _ in range(max(rounds // 2, 1)):
        found["an idle loop"].append(asyncio.run(_idle()))
        with harness.ours(record=True):
            found["otel-realtime"].append(asyncio.run(ours(frames)))
        found["langsmith"].append(asyncio.run(langsmith(frames)))
    what = f"longest gap at the close of {MINUTES} minutes"
    goals = {"otel-realtime": 5.0}
    return [
        figure("close", what, who, "ms", [gap * 1000 for gap in gaps], goals.get(who))
        for who, gaps in found.items()
    ]
