"""Small calls kept as files: rows ``{"dir", "event", "t_ms"}``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import otel_realtime

CASES = Path(__file__).parents[1] / "cases"
#: When each of them starts, epoch ns.
START_NS = 1_800_000_000_000_000_000


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def play(call: otel_realtime.Conversation, path: Path) -> None:
    """Report every row of a file with its time."""
    for row in rows(path):
        report = call.sent if row["dir"] == "sent" else call.received
        report(row["event"], at_ns=START_NS + row["t_ms"] * 1_000_000)
