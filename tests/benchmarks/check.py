"""``make bench-check``: has anything become dearer than the stored baseline says?

Compared are ratios to floors of the same run (a bare span, a base64 decoding, a queue append), of minima
of thread CPU time over interleaved rounds: they hold on a slow machine, and on a busy one. A ratio may
exceed the baseline by the noise that this run and the baseline measured of themselves. What exceeds it is
measured again, twice: only what is dearer each time fails.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import background, harness
from tests.benchmarks.conversation import PCM, whole
from tests.benchmarks.numbers import bare_span, floors, least_ns, machine, spread_of

BASELINE = Path(__file__).parent / "baseline.json"
#: A ratio may exceed its baseline by so much at least, and at most, whatever the noise was: a cost that
#: has doubled fails in any case.
LEAST_ROOM, MOST_ROOM = 0.5, 0.9
#: Room is so many times the noise.
NOISES = 3.0
ROUNDS, TRIES = 5, 3
FRAMES = 2_000


@dataclass(frozen=True)
class Ratio:
    """A cost in floors.

    Attributes:
        ratio: minimum of the cost by minimum of its floor.
        noise: width of the middle half of the rounds, by their median.
    """

    ratio: float
    noise: float


def ratio_of(costs: list[float], floor: list[float]) -> Ratio:
    """Return the ratio of some rounds."""
    each = [cost / base for cost, base in zip(costs, floor, strict=True)]
    return Ratio(min(costs) / min(floor), abs(spread_of(each) / (median(each) or 1.0)))


def room(baseline: Ratio, found: Ratio) -> float:
    """Return by which part a ratio may exceed its baseline."""
    return min(max(NOISES * max(baseline.noise, found.noise), LEAST_ROOM), MOST_ROOM)


def compare(baseline: Mapping[str, Ratio], found: Mapping[str, Ratio]) -> dict[str, str]:
    """Return what is dearer than it was, and how much; also what was not measured."""
    dearer = {name: "was not measured" for name in baseline if name not in found}
    for name, now in found.items():
        before = baseline.get(name)
        if before is None:
            dearer[name] = "has no baseline: make bench-check ARGS=--accept"
        elif now.ratio > before.ratio * (1 + room(before, now)):
            dearer[name] = (
                f"{now.ratio:.2f} floors, {before.ratio:.2f} before: {now.ratio / before.ratio:.2f} "
                f"times as much, where {1 + room(before, now):.2f} is noise"
            )
    return dearer


def best(one: Ratio, other: Ratio) -> Ratio:
    """Return the lower ratio of two runs, with the larger noise."""
    return Ratio(min(one.ratio, other.ratio), max(one.noise, other.noise))


def measure(rounds: int = ROUNDS) -> dict[str, Ratio]:
    """Return all ratios of this run."""
    frames = whole(deltas=100, tools=True)
    deltas = sum(harness.kinds(frames))
    others = len(frames) - deltas
    span, decode = bare_span(), base64.b64decode
    audio = base64.b64encode(PCM)
    kinds = ("event", "delta", "microphone", "played", "span", "base64", "append")
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    append = floors(1)[3]
    for number in range(rounds + 1):
        base = asyncio.run(harness.bare(frames))
        bare_sent, _ = asyncio.run(harness.speak(FRAMES, tapped=False))
        with harness.ours(record=True):
            cost = asyncio.run(harness.through_ours(frames))
            sent, played = asyncio.run(harness.speak(FRAMES, tapped=True))
        if not number:  # the first one warms up
            continue
        seconds["event"].append((cost.others - base.others) / others)
        seconds["delta"].append((cost.deltas - base.deltas) / deltas)
        seconds["microphone"].append(sent - bare_sent)
        seconds["played"].append(played)
        seconds["span"].append(least_ns(span, 500, 1)[0] / 1e9)
        seconds["base64"].append(least_ns(lambda: decode(audio), 500, 1)[0] / 1e9)
        seconds["append"].append(floors(1)[3].least / 1e6)
    assert append.least > 0
    found = {
        "event": ratio_of(seconds["event"], seconds["span"]),
        "audio delta": ratio_of(seconds["delta"], seconds["append"]),
        "microphone frame": ratio_of(seconds["microphone"], seconds["append"]),
        "played() report": ratio_of(seconds["played"], seconds["append"]),
    }
    writer = background.writer(rounds)
    per_minute = [ns * 1e-6 * background.base64_frames() for ns in _decoding(len(writer), audio)]
    found["the writer"] = ratio_of(writer, per_minute)
    encoded, _ = background.encode(background.spans_of_a_call(), rounds)
    spans = [us * 1e-3 for us in least_ns(span, 500, rounds)]
    found["encoding of a span"] = ratio_of(encoded, spans)
    return found


def _decoding(rounds: int, audio: bytes) -> list[float]:
    return least_ns(lambda: base64.b64decode(audio), 500, rounds)


def read(path: Path) -> dict[str, Ratio]:
    """Return a stored baseline."""
    stored = json.loads(path.read_text())["ratios"]
    return {name: Ratio(**ratio) for name, ratio in stored.items()}


def judge(
    baseline: Mapping[str, Ratio], again: Callable[[], dict[str, Ratio]], tries: int = TRIES
) -> tuple[dict[str, Ratio], dict[str, str]]:
    """Measure until nothing is dearer, at most so often; return the best ratios and what is dearer."""
    found = again()
    dearer = compare(baseline, found)
    for _ in range(tries - 1):
        if not dearer:
            break
        repeated = again()
        found = {name: best(found.get(name, now), now) for name, now in repeated.items()}
        dearer = compare(baseline, found)
    return found, dearer


def main() -> int:
    """Compare, or store a new baseline."""
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument(
        "--accept", action="store_true", help="store what is measured as the baseline"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    if options.accept:
        found, again = measure(), measure()
        ratios = {name: asdict(best(found[name], again[name])) for name in found}
        BASELINE.write_text(json.dumps({"machine": machine(), "ratios": ratios}, indent=1) + "\n")
        print(f"stored {BASELINE}")
        return 0
    baseline = read(BASELINE)
    found, dearer = judge(baseline, measure)
    for name, now in found.items():
        before = baseline.get(name)
        was = "" if before is None else f"{before.ratio:10.2f} before"
        print(f"{name:24}{now.ratio:10.2f} floors{was}  {dearer.get(name, 'ok')}")
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
