"""Prints how far recordings are from the truth, by the style of client.

``python -m tests.simulation [--json] [conversations per style]``
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.simulation.judge import Verdict, judge
from tests.simulation.sound import FORMATS
from tests.simulation.styles import STYLES, Style

#: Columns, and how many digits they have after the point.
COLUMNS = {
    "start": 0,
    "end": 0,
    "heard": 0,
    "file": 0,
    "kept": 0,
    "user": 0,
    "lost": 0,
    "over": 0,
    "length": 0,
    "wait": 0,
    "user_talk": 2,
    "agent_talk": 2,
    "overlap": 2,
    "dead_air": 2,
}


def conversations(count: int, styles: Sequence[Style] = STYLES) -> list[Verdict]:
    """Judge ``count`` conversations of each style, in turn in each format."""
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        for number, style in enumerate(styles):
            for seed in range(count):
                name = Path(folder) / f"{number}-{seed}"
                verdicts.append(judge(seed, style, FORMATS[seed % len(FORMATS)], name))
    return verdicts


def numbers(verdicts: Sequence[Verdict]) -> dict[str, dict[str, dict[str, float]]]:
    """By style and column: how many there are, median, 95th percentile and most of their sizes.

    Of holes, which most items have none of: how many, how long together, and the longest.
    """
    found = {}
    for style in dict.fromkeys(verdict.style for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.style == style]
        row = {name: _spread([one for of in own for one in getattr(of, name)]) for name in COLUMNS}
        holes = [hole for verdict in own for hole in verdict.holes]
        row["holes"] = {"n": len(holes), "sum": sum(holes), "max": max(holes, default=0.0)}
        found[style] = {"calls": {"n": len(own)}, **row}
    return found


def _spread(errors: Sequence[float]) -> dict[str, float]:
    if not errors:
        return {"n": 0}
    sizes = np.abs(errors)
    median, high = (float(one) for one in np.percentile(sizes, (50, 95)))
    return {"n": len(errors), "median": median, "p95": high, "max": float(sizes.max())}


def table(verdicts: Sequence[Verdict]) -> str:
    """One line a style: median/95th percentile/most of the absolute errors.

    In ms, talk times in seconds a minute; of holes number/ms together/longest.
    """
    head = [f"{'client':36}", f"{'calls':>5}", f"{'holes':>12}"]
    lines = [" ".join([*head, *(f"{name:>{_width(name)}}" for name in COLUMNS)])]
    for style, row in numbers(verdicts).items():
        holes = row["holes"]
        cells = [f"{holes['n']:.0f}/{holes['sum']:.0f}/{holes['max']:.0f}"]
        cells += [_cell(row[name], digits) for name, digits in COLUMNS.items()]
        widths = (12, *(_width(name) for name in COLUMNS))
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(" ".join([f"{style:36}", f"{row['calls']['n']:5}", *aligned]))
    return "\n".join(lines)


def _width(name: str) -> int:
    return 15 if COLUMNS[name] else 12


def _cell(spread: dict[str, float], digits: int) -> str:
    if not spread["n"]:
        return "-"
    return "/".join(f"{spread[name]:.{digits}f}" for name in ("median", "p95", "max"))


if __name__ == "__main__":
    given = [one for one in sys.argv[1:] if one != "--json"]
    judged = conversations(int(given[0]) if given else 30)
    print(json.dumps(numbers(judged), indent=1) if "--json" in sys.argv[1:] else table(judged))
