"""Prints how far recordings are from the truth, by the style of client.

``python -m tests.simulation [conversations per style]``
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otel_realtime.core.audio.formats import ALAW, MULAW, PCM16, AudioFormat
from tests.simulation.judge import Verdict, judge
from tests.simulation.styles import STYLES

FORMATS = (PCM16, AudioFormat(MULAW, 8_000), AudioFormat(ALAW, 8_000))


def conversations(count: int) -> list[Verdict]:
    """Judge ``count`` conversations of each style, in turn in each format."""
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        for style in STYLES:
            for seed in range(count):
                name = Path(folder) / f"{STYLES.index(style)}-{seed}"
                verdicts.append(judge(seed, style, FORMATS[seed % len(FORMATS)], name))
    return verdicts


def table(verdicts: Sequence[Verdict]) -> str:
    """One line a style: median/95th percentile/largest of the absolute errors in ms."""
    head = ("start", "end", "heard", "kept-claim", "user")
    lines = [f"{'client':36} {'calls':>5} {'items':>5} " + " ".join(f"{one:>13}" for one in head)]
    for style in dict.fromkeys(verdict.style for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.style == style]
        errors = [
            _spread([error for verdict in own for error in getattr(verdict, name)])
            for name in ("starts", "ends", "surplus", "kept", "user")
        ]
        items = sum(len(verdict.surplus) for verdict in own)
        lines.append(
            f"{style:36} {len(own):5} {items:5} " + " ".join(f"{one:>13}" for one in errors)
        )
    return "\n".join(lines)


def _spread(errors: Sequence[float]) -> str:
    if not errors:
        return "-"
    sizes = np.abs(errors)
    low, high = np.percentile(sizes, (50, 95))
    return f"{low:.0f}/{high:.0f}/{sizes.max():.0f}"


if __name__ == "__main__":
    print(table(conversations(int(sys.argv[1]) if len(sys.argv) > 1 else 30)))
