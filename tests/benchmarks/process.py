"""What calls cost a whole process: everything on, in real time, each tracer in a process of its own.

CPU is that of the process, all threads, from before the tracer is imported until all is delivered; what
the same calls cost a bare client is taken off.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.client import BARE, KEEPING, LANGSMITH, OURS, NothingTraced
from tests.benchmarks.numbers import Figure, added, figure
from tests.benchmarks.server import ROOT, Servers, compiled, servers

#: Calls at a time, and for how long, in seconds.
CALLS, SECONDS = 20, 30.0
#: Threads of ours, by what their names begin with.
THREADS = {
    "otel-realtime-writer": "the writer",
    "otel-realtime-spans": "encoding and sending spans",
    "otel-realtime-finisher": "rendering",
    "otel-realtime-posts": "posts of root runs",
    "otel-realtime-uploads": "uploads of recordings",
    "otel-realtime-chores": "imports, once a process",
}


def child(who: str, where: Servers, calls: int, seconds: float) -> dict[str, Any]:
    """Hold some calls in a new process; return what it says of itself."""
    ports = (str(where.realtime), str(where.langsmith))
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.callers",
        who,
        *ports,
        str(calls),
        str(seconds),
    ]
    before = where.counted()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=compiled(),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 120,
    )
    if done.returncode:
        raise NothingTraced(f"{who}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    after = where.counted()
    found["sent"] = {
        name: [count - before.get(name, (0, 0))[0], size - before.get(name, (0, 0))[1]]
        for name, (count, size) in after.items()
        if count > before.get(name, (0, 0))[0]
    }
    if who != BARE and sum(size for _, size in found["sent"].values()) < 1000 * calls:
        raise NothingTraced(f"{who}: LangSmith got {found['sent']}")
    return found


def _minutes(found: dict[str, Any]) -> float:
    return float(found["calls"] * found["seconds"] / 60)


def _cpu(rounds: Sequence[dict[str, Any]]) -> list[float]:
    return [each["cpu_ms"] / _minutes(each) for each in rounds]


def _of_threads(rounds: Sequence[dict[str, Any]], begins: str) -> list[float]:
    """CPU ms per call-minute of the threads whose names begin so."""
    return [
        sum(ms for thread, ms in each["threads"].items() if thread.startswith(begins))
        / _minutes(each)
        for each in rounds
    ]


def measure(rounds: int, calls: int = CALLS, seconds: float = SECONDS) -> list[Figure]:
    """Return CPU per call-minute by tracer and thread, bytes per leg, and the loop's longest gap."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with servers() as where:
        tracers = (BARE, OURS, KEEPING, LANGSMITH)
        for who in tracers:  # whose modules are compiled when it counts
            child(who, where, 1, 1.0)
        for _ in range(rounds):
            for who in tracers:
                found[who].append(child(who, where, calls, seconds))
    part, unit = "process", "ms per call-minute"
    bare = _cpu(found[BARE])
    figures = [figure(part, f"CPU of {calls} calls", BARE, unit, bare)]
    wrapper = added(
        part, f"added CPU, {calls} calls", LANGSMITH, unit, _cpu(found[LANGSMITH]), bare
    )
    goal = round(0.6 * wrapper.least)
    figures.append(
        added(part, f"added CPU, {calls} calls", OURS, unit, _cpu(found[OURS]), bare, goal)
    )
    figures.append(wrapper)
    figures.append(
        added(part, f"added CPU, {calls} calls", KEEPING, unit, _cpu(found[KEEPING]), bare)
    )
    starts = [each["start_ms"] for each in found[OURS]]
    figures.append(figure(part, "import and set-up, once", OURS, "ms", starts))
    for begins, name in THREADS.items():
        values = _of_threads(found[OURS], begins)
        goal_ms = 40.0 if name == "the writer" else None
        figures.append(figure(part, f"  {name}", OURS, unit, values, goal_ms))
    app, without = (_of_threads(found[who], "MainThread") for who in (OURS, BARE))
    figures.append(added(part, "  the app's thread, added", OURS, unit, app, without))
    for who in (BARE, OURS, LANGSMITH):
        gaps = [each["gap_ms"] for each in found[who]]
        figures.append(figure(part, "longest gap of the app's loop", who, "ms", gaps))
        # Below 100 the machine was too busy for calls in real time: the figures are of shorter ones.
        held = [100 * each["held"] for each in found[who]]
        figures.append(figure(part, "real time that was held", who, "%", held))
    for who in (OURS, LANGSMITH):
        names = sorted({name for each in found[who] for name in each["sent"]})
        for name in names:
            sizes = [
                each["sent"].get(name, [0, 0])[1] / 1000 / _minutes(each) for each in found[who]
            ]
            figures.append(figure(part, f"sent: {name}", who, "kB per call-minute", sizes))
    return figures


def scale(rounds: int) -> list[Figure]:
    """Return CPU and memory of 1, 10 and 100 calls in real time, and of 1,000 that are open."""
    figures: list[Figure] = []
    with servers() as where:
        for calls in (1, 10, 100):
            seconds = 8.0
            bare, ours = (
                [child(who, where, calls, seconds) for _ in range(min(rounds, 2))]
                for who in (BARE, OURS)
            )
            figures.append(
                added(
                    "scale",
                    f"added CPU, {calls} calls",
                    OURS,
                    "ms per call-minute",
                    _cpu(ours),
                    _cpu(bare),
                )
            )
            memory = [
                (one["peak_mb"] - other["peak_mb"]) / calls
                for one, other in zip(ours, bare, strict=True)
            ]
            figures.append(
                figure("scale", f"added memory, {calls} calls", OURS, "MB a call", memory)
            )
        opened = child("open", where, 1000, 10.0)
    figures.append(
        figure("scale", "memory, 1000 open calls", OURS, "MB a call", [opened["call_mb"]])
    )
    figures.append(
        figure("scale", "CPU, 1000 open calls", OURS, "ms per call-minute", _cpu([opened]))
    )
    return figures
