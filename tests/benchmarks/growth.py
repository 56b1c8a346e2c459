"""What an event costs in a conversation that is long in one respect, and in one four times as long."""

from __future__ import annotations

import time

import otel_realtime
from tests.benchmarks import harness
from tests.benchmarks.numbers import Figure, figure
from tests.support.growth import BLOCK, MS, STORIES, Step, session

MICRO = 1e6
SHORT, LONG = 1_000, 4_000
BEGAN_NS = 1_780_000_000 * 1_000_000_000


def tell(call: otel_realtime.Conversation, steps: list[Step]) -> None:
    """Report a conversation with its times."""
    at_ns = BEGAN_NS
    for step in steps:
        at_ns += step.ms * MS
        if step.way == "played":
            call.played(step.event["item_id"], 0, step.event["ms"], at_ns=at_ns)
        elif step.way == "tap":
            call.record_agent_audio(BLOCK, item_id=step.event["item_id"], at_ns=at_ns)
        else:
            (call.sent if step.way == "sent" else call.received)(step.event, at_ns=at_ns)


def _measure(name: str, n: int) -> tuple[float, float]:
    """Seconds per event: on the app's thread, and of everything until it is delivered."""
    steps = [session(), *STORIES[name](n)]
    with harness.ours(record=True):
        began, cpu = time.perf_counter(), time.thread_time()
        with otel_realtime.conversation() as call:
            tell(call, steps)
            cpu = time.thread_time() - cpu
        otel_realtime.flush(60)
        whole = time.perf_counter() - began
    return cpu / len(steps), whole / len(steps)


def measure(rounds: int) -> list[Figure]:
    """Return the cost of one event by how long the conversation is: where it rises, something grows."""
    figures = []
    for name in STORIES:
        for n in (SHORT, LONG):
            found = [_measure(name, n) for _ in range(rounds)]
            what = f"{name}, one of {n:,}"
            app, whole = ([one[i] * MICRO for one in found] for i in (0, 1))
            figures.append(figure("growth", what, "app's thread", "us", app))
            figures.append(figure("growth", what, "until delivered", "us", whole))
    return figures
