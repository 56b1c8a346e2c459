"""What ``make bench-check`` finds, and what it lets pass."""

from __future__ import annotations

import pytest

from tests.benchmarks.check import (
    BASELINE,
    LEAST_ROOM,
    MOST_ROOM,
    Ratio,
    compare,
    judge,
    ratio_of,
    read,
)

QUIET = Ratio(4.0, 0.01)


def test_a_ratio_is_that_of_the_minima() -> None:
    """A round that was disturbed says nothing; its distance is the noise."""
    found = ratio_of([9.0, 4.0, 4.0, 4.4, 30.0], [2.0, 1.0, 1.0, 1.0, 2.0])
    assert 4.0 == found.ratio
    assert 0.1 == pytest.approx(found.noise, abs=0.06)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5, 5.0])
def test_a_cost_that_doubled_fails_however_noisy_it_was(noise: float) -> None:
    """On a machine that is as busy as it likes."""
    dearer = compare({"event": QUIET}, {"event": Ratio(8.0, noise)})
    assert ["event"] == [*dearer]
    assert "2.00 times as much" in dearer["event"]


@pytest.mark.parametrize(
    ("ratio", "noise", "passes"),
    [
        (4.0 * (1 + LEAST_ROOM) - 0.01, 0.0, True),
        (4.0 * (1 + LEAST_ROOM) + 0.01, 0.0, False),
        (6.7, 0.25, True),  # three times its own noise
        (7.1, 0.25, False),
        (4.0 * (1 + MOST_ROOM) - 0.01, 9.0, True),
        (1.0, 0.0, True),  # cheaper
    ],
)
def test_noise_gives_room(ratio: float, noise: float, passes: bool) -> None:
    """That of this run or of the baseline, whichever is more, within bounds."""
    found = {"event": Ratio(ratio, noise)}
    assert passes is not bool(compare({"event": QUIET}, found))
    assert passes is not bool(compare({"event": Ratio(4.0, noise)}, {"event": Ratio(ratio, 0.0)}))


def test_what_is_missing_on_either_side_fails() -> None:
    """A measurement that fell away would hide what it measured."""
    assert {"event", "delta"} == compare({"event": QUIET}, {"delta": QUIET}).keys()


def test_only_what_is_dearer_each_time_fails() -> None:
    """A neighbour that woke up in one run costs another run, and no more."""
    disturbed = [{"event": Ratio(9.0, 0.0)}, {"event": Ratio(4.1, 0.0)}]
    runs = iter(disturbed)
    found, dearer = judge({"event": QUIET}, lambda: next(runs))
    assert ({"event": Ratio(4.1, 0.0)}, {}) == (found, dearer)
    runs = iter([{"event": Ratio(8.0, 0.0)}] * 3)
    assert ["event"] == [*judge({"event": QUIET}, lambda: next(runs))[1]]


def test_the_stored_baseline_is_one() -> None:
    """Of every measurement, each a cost."""
    baseline = read(BASELINE)
    assert {
        "event",
        "audio delta",
        "microphone frame",
        "played() report",
        "the writer",
        "encoding of a span",
    } == baseline.keys()
    assert all(each.ratio > 0 for each in baseline.values())
