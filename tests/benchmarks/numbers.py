"""Figures of a benchmark: what was measured in several rounds, how it spreads, and its goal."""

from __future__ import annotations

import base64
import json
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.conversation import PCM, delta

US = 1e-3  # of a nanosecond


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        part: the benchmark it comes from.
        what: what was measured.
        who: whose cost it is.
        unit: of the values.
        least: the smallest of all rounds: what it costs where nothing disturbs.
        median: of all rounds.
        spread: from the first to the third quarter of the rounds.
        goal: what it should not exceed, if there is a goal.
    """

    part: str
    what: str
    who: str
    unit: str
    least: float
    median: float
    spread: float
    goal: float | None = None


def spread_of(values: Sequence[float]) -> float:
    """Return the width of the middle half of some values."""
    if len(values) < 3:
        return max(values) - min(values)
    first, _, third = quantiles(values, n=4, method="inclusive")
    return third - first


def figure(
    part: str, what: str, who: str, unit: str, values: Iterable[float], goal: float | None = None
) -> Figure:
    """Return the figure of some rounds."""
    found = list(values)
    return Figure(part, what, who, unit, min(found), median(found), spread_of(found), goal)


def added(
    part: str,
    what: str,
    who: str,
    unit: str,
    traced: Sequence[float],
    bare: Sequence[float],
    goal: float | None = None,
) -> Figure:
    """Return what something adds: minima against minima, and round against round."""
    differences = [one - other for one, other in zip(traced, bare, strict=True)]
    return Figure(
        part,
        what,
        who,
        unit,
        min(traced) - min(bare),
        median(differences),
        spread_of(differences),
        goal,
    )


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table."""
    what = max((len(each.what) for each in figures), default=0) + 2
    who = max((len(each.who) for each in figures), default=0) + 2
    lines = [f"{'':{what + who}}{'least':>10}{'median':>10}{'spread':>9}{'goal':>8}  unit"]
    for each in figures:
        goal = "" if each.goal is None else f"{each.goal:.4g}"
        numbers = f"{each.least:10.2f}{each.median:10.2f}{each.spread:9.2f}{goal:>8}"
        lines.append(f"{each.what:{what}}{each.who:{who}}{numbers}  {each.unit}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def dumped(figures: Sequence[Figure]) -> str:
    """Return figures and machine as JSON text."""
    return json.dumps(
        {"machine": machine(), "figures": [asdict(each) for each in figures]}, indent=1
    )


def least_ns(call: Callable[[], object], times: int, rounds: int = 7) -> list[float]:
    """Return CPU ns of one call on this thread, for each of some rounds of ``times`` calls."""
    found = []
    for _ in range(rounds):
        before = time.thread_time_ns()
        for _ in range(times):
            call()
        found.append((time.thread_time_ns() - before) / times)
    return found


def bare_span() -> Callable[[], object]:
    """Return a function that makes a span of the plain SDK with 12 attributes, exported to nothing."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Drop(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Drop(), max_queue_size=100_000))
    tracer = provider.get_tracer("bench")
    attributes = {f"some.attribute.{number}": f"value {number}" for number in range(12)}
    return lambda: tracer.start_span("event", attributes=attributes).end()


def floors(rounds: int = 7) -> list[Figure]:
    """What cannot be less: the work that every tracer has to do, done once and nothing else."""
    frame = delta(1)
    text, audio = frame.decode(), base64.b64encode(PCM)
    queue: deque[tuple[int, bytes]] = deque(maxlen=1000)
    clock = time.monotonic_ns
    works: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("a bare span with 12 attributes", bare_span(), 500),
        ("json.loads of an audio delta", lambda: json.loads(text), 500),
        ("base64 of an audio delta", lambda: base64.b64decode(audio), 500),
        ("a clock read and a queue append", lambda: queue.append((clock(), frame)), 5_000),
    )
    return [
        figure("floors", what, "floor", "us", [ns * US for ns in least_ns(call, times, rounds)])
        for what, call, times in works
    ]
