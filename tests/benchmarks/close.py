"""How long the app's loop stands still when a 10-minute call closes: ``python -m tests.benchmarks.close WHO``.

The call is told faster than it was: between two turns its clock is put back by as long as a turn takes,
so that all but the last answer have been played, as in a real call. A heartbeat of 1 ms runs before the
close, during it and for two seconds after it, while the recording is rendered in the background. Each
tracer has a process of its own: the pause of a garbage collection depends on all that a process holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import time
import warnings
from typing import Any

from otel_realtime.conversation.sockets import SocketSink
from tests.benchmarks import harness
from tests.benchmarks.conversation import PCM, TURNS, after_audio, before_audio, delta, opening
from tests.benchmarks.numbers import Figure, figure
from tests.benchmarks.server import of_new_process

MINUTES = 10
TURN_NS = MINUTES * 60 * 10**9 // TURNS
#: The writer, who is woken after a turn, has this long for it.
_WRITES_S = 0.05
IDLE, OURS, LANGSMITH = "an idle loop", "otel-realtime", "langsmith"
#: 100 ms each: the agent speaks half of the call.
DELTAS_PER_TURN = MINUTES * 60 * 10 // 2 // TURNS


def _turn(turn: int) -> list[bytes]:
    return [*before_audio(turn), *[delta(turn)] * DELTAS_PER_TURN, *after_audio(turn)]


def _frames() -> list[bytes]:
    return [*opening(), *(frame for turn in range(TURNS) for frame in _turn(turn))]


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


async def _pass(sink: SocketSink) -> None:
    """Let a turn's time pass for a conversation, and its writer come by."""
    engine = sink.engine
    assert engine is not None
    assert engine.frames.recorder is not None
    engine.clock.mono_ns -= TURN_NS
    engine.frames._mono_ns -= TURN_NS
    recorder = engine.frames.recorder
    assert recorder._mono_ns is not None
    recorder._mono_ns -= TURN_NS
    recorder.wake()
    await asyncio.sleep(_WRITES_S)


async def ours() -> float:
    """Longest gap around our close."""
    socket = harness.Socket(_frames())
    sink = harness.tap(socket)
    for _ in opening():
        await socket.recv(decode=False)
    for turn in range(TURNS):
        for _ in _turn(turn):
            await socket.recv(decode=False)
        await _pass(sink)
    engine = sink.engine
    assert engine is not None
    assert len(engine.frames.state.unsettled) <= 1, "answers have not been played"
    await asyncio.sleep(0.5)
    return await _around(engine.close)


async def langsmith() -> float:
    """Longest gap around LangSmith's ``__aexit__``."""
    from langsmith.integrations.openai_realtime import wrap_realtime

    encoded = base64.b64encode(PCM).decode()
    session = wrap_realtime(
        harness.SdkConnection(harness.sdk_events(_frames())), client=harness.NoClient()
    )
    connection = await session.__aenter__()
    async for event in connection:
        if event.type == "response.output_audio.delta":
            connection.record_agent_audio(base64.b64decode(encoded))
    return await _around(lambda: session.__aexit__(None, None, None))


def measure(rounds: int) -> list[Figure]:
    """Return the longest gaps side by side."""
    found: dict[str, list[float]] = {IDLE: [], OURS: [], LANGSMITH: []}
    for _ in range(rounds):
        for who, gaps in found.items():
            gaps.append(float(of_new_process("close", who)))
    what = f"longest gap at the close of {MINUTES} minutes"
    goals = {OURS: 5.0}
    return [figure("close", what, who, "ms", gaps, goals.get(who)) for who, gaps in found.items()]


def main() -> None:
    """Measure the tracer that the argument names."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if sys.argv[1] == OURS:
        with harness.ours(record=True):
            gap_s = asyncio.run(ours())
    else:
        gap_s = asyncio.run(langsmith() if sys.argv[1] == LANGSMITH else _idle())
    print(json.dumps(gap_s * 1000))


if __name__ == "__main__":
    main()
