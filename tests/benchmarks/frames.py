"""What a frame costs on the app's thread: a real client, a real websocket, a server of its own.

All tracers take turns in one process, round by round. A frame costs the CPU time of the app's thread
from asking for it until the next one is asked for; what the bare client spends on a frame of the same
kind is taken off.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import otel_realtime
from tests.benchmarks import harness
from tests.benchmarks.client import (
    BARE,
    LANGSMITH,
    OURS,
    SILENT,
    UNSAMPLED,
    NothingTraced,
    connected,
    langsmith_client,
    traced,
)
from tests.benchmarks.conversation import PCM, TURNS, call_id
from tests.benchmarks.numbers import US, Figure, added, figure, floors
from tests.benchmarks.server import Servers, servers

DELTA, MICROPHONE, RESULT = "response.output_audio.delta", "microphone frame", "tool result"
OPEN, CLOSE, PLAYED, EVENTS = "open", "close", "played() report", "event, all kinds"
#: Microphone frames that are sent, and reports of what was played.
FRAMES, REPORTS = 400, 400
_clock = time.thread_time_ns


@dataclass
class Round:
    """CPU ns by kind of frame, and the garbage collector's longest pause in ms."""

    spent: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    pause_ms: float = 0.0


async def _converse(who: str, where: Servers, client: Any, *, parsed: bool) -> Round:
    """Play the conversation once."""
    found = Round()
    spent = found.spent
    before = _clock()
    async with connected(who, where, "burst", client=client) as (connection, app):
        call = otel_realtime.current_conversation()
        receive = app.recv if parsed else app.recv_bytes
        await receive()
        spent[OPEN].append(_clock() - before)
        done = 0
        while done < TURNS:
            before = _clock()
            frame = await receive()
            if not parsed:
                kind = _kind_of(frame)
            else:
                kind = frame.type
                if who == LANGSMITH and kind == DELTA:
                    app.record_agent_audio(PCM)
            spent[kind].append(_clock() - before)
            if kind == "response.output_item.done" and b"function_call" in (
                frame if isinstance(frame, bytes) else b""
            ):
                await _answer(connection, done, spent)
            done += kind == "response.output_audio_transcript.done"
        await _speak(connection, spent)
        call = otel_realtime.current_conversation()
        if call is not None and who == OURS:
            _report(call, spent)
        before = _clock()
    spent[CLOSE].append(_clock() - before)
    return found


def _kind_of(frame: bytes) -> str:
    return frame[9 : frame.index(b'"', 9)].decode()


async def _answer(connection: Any, turn: int, spent: dict[str, list[int]]) -> None:
    before = _clock()
    item = {"type": "function_call_output", "call_id": call_id(turn), "output": '{"ok":true}'}
    await connection.conversation.item.create(item=item)
    spent[RESULT].append(_clock() - before)


async def _speak(connection: Any, spent: dict[str, list[int]]) -> None:
    audio = base64.b64encode(PCM[:1920]).decode()
    for _ in range(FRAMES):
        before = _clock()
        await connection.input_audio_buffer.append(audio=audio)
        spent[MICROPHONE].append(_clock() - before)


def _report(call: otel_realtime.Conversation, spent: dict[str, list[int]]) -> None:
    for number in range(REPORTS):
        before = _clock()
        call.played("item_a1", 0, number * 5)
        spent[PLAYED].append(_clock() - before)


def _round(who: str, where: Servers, client: Any, *, parsed: bool) -> Round:
    """One conversation with one tracer, and nothing of the one before."""
    gc.collect()
    pauses: list[float] = []
    began = 0.0

    def watch(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - began)

    counted = where.counted()
    gc.callbacks.append(watch)
    try:
        with traced(who, where):
            found = asyncio.run(_converse(who, where, client, parsed=parsed))
    finally:
        gc.callbacks.remove(watch)
    if who == LANGSMITH:
        client.flush()
        if where.counted() == counted:
            raise NothingTraced(who)
    found.pause_ms = max(pauses, default=0.0) * 1000
    return found


def _tenth(values: list[int]) -> float:
    """A tenth of the values are less: what a send costs where the socket takes it at once."""
    return sorted(values)[len(values) // 10]


def _per_round(rounds: Iterable[Round], kind: str, of: Callable[[list[int]], float]) -> list[float]:
    return [of(each.spent[kind]) * US for each in rounds if each.spent[kind]]


def _events(rounds: Iterable[Round]) -> list[float]:
    """Mean cost of an event that is no delta, for each round: with all that comes only now and then."""
    return [
        fmean(
            ns
            for kind, all_ns in each.spent.items()
            if "." in kind and kind != DELTA
            for ns in all_ns
        )
        * US
        for each in rounds
    ]


def _without_network() -> tuple[float, float]:
    """CPU us of a microphone frame that is sent nowhere, tapped and bare: a real send varies too much."""
    bare, _ = asyncio.run(harness.speak(5 * FRAMES, tapped=False))
    with harness.ours(record=True):
        tapped, _ = asyncio.run(harness.speak(5 * FRAMES, tapped=True))
    return tapped * 1e6, bare * 1e6


#: Who is measured against which client: LangSmith's wrapper needs parsed events.
_PAIRS = ((OURS, False), (SILENT, False), (UNSAMPLED, False), (OURS, True), (LANGSMITH, True))


def measure(rounds: int) -> list[Figure]:
    """Return what each kind of frame adds."""
    found: dict[tuple[str, bool], list[Round]] = defaultdict(list)
    with servers() as where:
        client = langsmith_client(where)
        for number in range(rounds + 1):
            for who, parsed in ((BARE, False), (BARE, True), *_PAIRS):
                one = _round(who, where, client, parsed=parsed)
                if number:  # the first one warms up
                    found[who, parsed].append(one)
    figures = floors()
    span_us = figures[0].least
    goals = {OURS: 1.5, SILENT: 1.0, UNSAMPLED: 0.3}
    for who, parsed in _PAIRS:
        name = f"{who}{' (parsed)' if parsed and who == OURS else ''}"
        ours, bare = found[who, parsed], found[BARE, parsed]
        for kind, of in ((DELTA, median), (MICROPHONE, _tenth)):
            figures.append(
                added(
                    "frames",
                    f"added per {kind}",
                    name,
                    "us",
                    _per_round(ours, kind, of),
                    _per_round(bare, kind, of),
                    None if parsed else goals[who],
                )
            )
        goal = {LANGSMITH: None, UNSAMPLED: 0.3}.get(who, 2 * span_us)
        figures.append(
            added("frames", f"added per {EVENTS}", name, "us", _events(ours), _events(bare), goal)
        )
    kinds = sorted(
        kind for kind in found[OURS, False][0].spent if kind not in (DELTA, MICROPHONE, PLAYED)
    )
    for kind in kinds:
        figures.append(
            added(
                "frames",
                f"added per {kind}",
                OURS,
                "us",
                _per_round(found[OURS, False], kind, median),
                _per_round(found[BARE, False], kind, median),
            )
        )
    sends = [_without_network() for _ in range(rounds)]
    figures.append(
        added(
            "frames",
            f"added per {MICROPHONE}, without a network",
            OURS,
            "us",
            [tapped for tapped, _ in sends],
            [bare for _, bare in sends],
            goals[OURS],
        )
    )
    reports = _per_round(found[OURS, False], PLAYED, median)
    figures.append(figure("frames", f"a {PLAYED}", OURS, "us", reports))
    for who, parsed in ((BARE, False), (OURS, False), (LANGSMITH, True)):
        pauses = [each.pause_ms for each in found[who, parsed]]
        figures.append(
            figure("frames", "longest pause of the garbage collector", who, "ms", pauses)
        )
        kind_us = _per_round(found[who, parsed], DELTA, median)
        figures.append(figure("frames", f"whole cost of a {DELTA}", who, "us", kind_us))
    return figures


if __name__ == "__main__":
    print(json.dumps([each.what for each in measure(1)]))
