"""``make bench``: a table of what tracing adds, ours beside LangSmith's wrapper, in one run.

Figures are medians of several rounds, the two taking turns, so that a machine whose speed drifts
does not favour either.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import warnings
from collections.abc import Callable
from statistics import median

from tests.benchmarks import bench_render, close, growth, harness
from tests.benchmarks.conversation import TURNS, whole

MICRO = 1e6


def per_frame(rounds: int) -> None:
    """Added CPU on the app's task per audio delta and per spanned event."""
    frames = whole()
    deltas = sum(harness.kinds(frames))
    others = len(frames) - deltas
    events = harness.sdk_events(frames)
    runs = asyncio.run
    rows: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, cost: harness.Cost, base: harness.Cost) -> None:
        added = ((cost.deltas - base.deltas) / deltas, (cost.others - base.others) / others)
        rows.setdefault(name, []).append(added)

    for _ in range(rounds):
        for record in (False, True):
            label = "recording on" if record else "recording off"
            with harness.ours(record=record):
                base = runs(harness.bare(frames))
                note(f"otel-realtime, {label}", runs(harness.through_ours(frames)), base)
            base = runs(harness.bare_sdk(frames, events))
            traced = runs(harness.through_langsmith(frames, events, record=record))
            note(f"langsmith wrap_realtime, {label}", traced, base)
    print(f"\nadded CPU on the app's task ({TURNS} turns, {deltas} deltas, {others} other events)")
    print(f"{'':44}{'us / audio delta':>18}{'us / other event':>18}")
    for name, found in rows.items():
        per_delta = median(cost[0] for cost in found) * MICRO
        per_event = median(cost[1] for cost in found) * MICRO
        print(f"{name:44}{per_delta:18.2f}{per_event:18.1f}")


def main() -> None:
    """Run the suite, or the parts that are named."""
    parts: dict[str, Callable[[int], None]] = {
        "frames": per_frame,
        "close": close.report,
        "render": bench_render.report,
        "growth": growth.report,
    }
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for name in options.parts or parts:
        parts[name](options.rounds)


if __name__ == "__main__":
    main()
