"""Memory of calls by their length: ``python -m tests.benchmarks.memory MINUTES`` is one of them."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from otel_realtime.core.audio.formats import PCM16
from otel_realtime.recording.render import render
from tests.benchmarks.bench_render import written
from tests.benchmarks.callers import peak_mb
from tests.benchmarks.numbers import Figure, figure
from tests.benchmarks.server import of_new_process

LENGTHS = (1, 10, 60)
GOAL_MB = 16.0


def of_a_call(minutes: int) -> dict[str, float]:
    """Write and render a call in this process; return the peaks in MB beyond a call of a minute."""
    with tempfile.TemporaryDirectory() as scratch:
        render(written(Path(scratch) / "first", 1, PCM16, PCM16), Path(scratch) / "first.wav")
        before = peak_mb()
        folder = written(Path(scratch) / "call", minutes, PCM16, PCM16)
        while_written = peak_mb() - before
        render(folder, Path(scratch) / "call.wav")
        return {"written": while_written, "rendered": peak_mb() - before}


def measure(_: int) -> list[Figure]:
    """Return the peaks of some lengths, each in a process of its own."""
    figures = []
    for minutes in LENGTHS:
        for what, peak in of_new_process("memory", str(minutes)).items():
            what = f"a call of {minutes} min {what}"
            figures.append(figure("memory", what, "otel-realtime", "MB more", [peak], GOAL_MB))
    return figures


if __name__ == "__main__":
    print(json.dumps(of_a_call(int(sys.argv[1]))))
