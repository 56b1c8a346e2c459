"""The two clocks of a conversation."""

from __future__ import annotations

import time

from otel_realtime.clock import REPLAY_NS, Clock
from otel_realtime.core.protocol.responses import Moment

START = 1_700_000_000_000_000_000


def test_times_are_measured_from_the_start() -> None:
    """Wall time for spans, monotonic time for the recording."""
    clock = Clock.now()
    one = clock.moment()
    two = clock.moment()
    assert 0 <= one.t <= two.t <= clock.t()
    assert clock.start_ns <= one.at_ns <= two.at_ns <= time.time_ns()
    assert not clock.is_replay


def test_wall_time_never_runs_backwards() -> None:
    """A clock that was set back holds at the latest time it told."""
    ahead = time.time_ns() + 3_600_000_000_000
    clock = Clock(ahead, time.monotonic_ns())
    assert ahead == clock.moment().at_ns


def test_the_times_of_an_app_are_the_recordings_clock_too() -> None:
    """From the first one on; they cannot run backwards either."""
    clock = Clock.now()
    clock.rebase(START)
    assert Moment(0, START) == clock.moment(START)
    assert Moment(50, START + 50) == clock.moment(START + 50)
    assert Moment(50, START + 50) == clock.moment(START + 20)
    assert Moment(50, START + 50) == clock.moment()
    assert 50 == clock.t()
    assert clock.is_replay


def test_an_app_that_counts_live_is_no_replay() -> None:
    """Its times lie in the present."""
    clock = Clock.now()
    clock.moment(time.time_ns())
    assert not clock.is_replay
    clock = Clock.now()
    clock.rebase(time.time_ns() - 2 * REPLAY_NS)
    assert clock.is_replay


def test_a_time_as_a_float_becomes_an_int() -> None:
    """Spans take nothing else."""
    clock = Clock.now()
    clock.rebase(float(START))  # type: ignore[arg-type]
    moment = clock.moment(float(START + 1024))  # type: ignore[arg-type]
    assert (int, int) == (type(moment.t), type(moment.at_ns))
    assert Moment(1024, START + 1024) == moment
