"""Checks run side by side, and none holds up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from otel_realtime.doctor.model import Check, Result, Surroundings
from otel_realtime.doctor.runner import run_checks
from tests.support.doctor import here


def result(id_: str) -> Result:
    """A result that says nothing."""
    return Result(id=id_, title=id_, status="ok", seen="")


def test_they_run_at_the_same_time() -> None:
    """Each waits for the other, so they could not run in turn."""
    barrier = threading.Barrier(3, timeout=5)

    def look(_: Surroundings) -> Iterator[Result]:
        barrier.wait()
        yield result("met")

    checks = [Check(id=str(n), group="", look=look) for n in range(3)]
    assert [["ok"]] * 3 == [
        [one.status for one in found] for found in run_checks(checks, here(), 5)
    ]


@pytest.mark.alone
def test_one_that_hangs_is_left_with_what_it_found() -> None:
    """The total time holds, and the others are whole."""
    ends = threading.Event()

    def hang(_: Surroundings) -> Iterator[Result]:
        yield result("first")
        ends.wait(20)

    began = time.monotonic()
    checks = [
        Check(id="hangs", group="", look=hang),
        Check(id="fine", group="", look=lambda _: [result("fine")]),
    ]
    hung, fine = run_checks(checks, here(), 0.3)
    ends.set()
    assert time.monotonic() - began < 2
    assert [("first", "ok"), ("hangs", "warn")] == [(one.id, one.status) for one in hung]
    assert "did not end within 0.3 s" == hung[1].seen
    assert ["fine"] == [one.id for one in fine]


def test_one_that_raises_costs_itself_only() -> None:
    """It is said as what it is."""

    def fall(_: Surroundings) -> Iterator[Result]:
        yield result("first")
        raise RuntimeError("no")

    ((_, failed),) = run_checks([Check(id="falls", group="", look=fall)], here(), 5)
    assert ("warn", "the check failed: RuntimeError: no") == (failed.status, failed.seen)
