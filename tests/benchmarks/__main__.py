"""``make bench``: what tracing costs, ours beside LangSmith's wrapper, in one run.

A table is printed part by part. A run of all parts also writes ``.github/bench.json`` and the plots
beside it. Tracers take turns, so that a machine whose speed drifts favours none; a tracer that traced
nothing fails the run. ``least`` is what something costs where nothing disturbs.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import background, close, frames, growth, memory, plots, process
from tests.benchmarks.numbers import Figure, dumped, machine, table
from tests.benchmarks.server import ROOT

PARTS: dict[str, Callable[[int], list[Figure]]] = {
    "frames": frames.measure,
    "background": background.measure,
    "process": process.measure,
    "scale": process.scale,
    "memory": memory.measure,
    "close": close.measure,
    "growth": growth.measure,
}
#: Rounds of a part, where it takes so long that fewer have to do.
MOST_ROUNDS = {"process": 3, "close": 3, "growth": 2}


def main() -> None:
    """Run the suite, or the parts that are named."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    on = machine()
    print(f"{on['cpu']}, {on['cpus']} CPUs, Python {on['python']}, load {on['load']}")
    figures: list[Figure] = []
    for name in options.parts or PARTS:
        began = time.perf_counter()
        found = PARTS[name](min(options.rounds, MOST_ROUNDS.get(name, options.rounds)))
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)\n{table(found)}", flush=True)
        figures += found
    if not options.parts:
        plots.draw(figures, ROOT / ".github")
        options.json = options.json or ROOT / ".github" / "bench.json"
    if options.json:
        options.json.write_text(dumped(figures) + "\n")


if __name__ == "__main__":
    main()
