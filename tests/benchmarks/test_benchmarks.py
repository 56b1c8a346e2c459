"""The benchmarks run; what they measure is looked at by people, never by a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_suite_prints_its_table() -> None:
    """One round of what an event costs, ours and LangSmith's wrapper side by side."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "frames", "--rounds", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == run.returncode, run.stderr
    rows = [line.split("  ")[0] for line in run.stdout.splitlines() if "recording" in line]
    assert [
        "otel-realtime, recording off",
        "langsmith wrap_realtime, recording off",
        "otel-realtime, recording on",
        "langsmith wrap_realtime, recording on",
    ] == rows
