"""The two clocks of a conversation."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime import diagnostics
from otel_realtime.clock import AHEAD_NS, MAX_GAP_NS, REPLAY_NS, Clock
from otel_realtime.core.protocol.responses import Moment

START = 1_700_000_000_000_000_000


def test_times_are_measured_from_the_start() -> None:
    """Wall time for spans, monotonic time for the recording."""
    clock = Clock.now()
    one = clock.moment()
    two = clock.moment()
    assert 0 <= one.t <= two.t <= clock.t()
    assert clock.start_ns <= one.at_ns <= two.at_ns <= clock.wall() <= time.time_ns()
    assert not clock.is_replay


@pytest.mark.parametrize("name", ["time_ns", "monotonic_ns"])
def test_a_clock_that_an_apps_test_broke_is_not_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation that is closed meanwhile has its end."""
    clock = Clock.now()
    monkeypatch.setattr(time, name, lambda: pytest.fail("told by the app's function"))
    assert clock.start_ns <= clock.end().at_ns


def test_wall_time_never_runs_backwards() -> None:
    """A clock that was set back holds at the latest time it told."""
    ahead = time.time_ns() + 3_600_000_000_000
    clock = Clock(ahead, time.monotonic_ns())
    assert ahead == clock.moment().at_ns == clock.wall()


def test_the_times_of_an_app_are_the_recordings_clock_too() -> None:
    """From the first one on; they cannot run backwards either."""
    clock = Clock.now()
    clock.rebase(START)
    assert Moment(0, START) == clock.moment(START)
    assert Moment(50, START + 50) == clock.moment(START + 50)
    assert Moment(50, START + 50) == clock.moment(START + 20)
    assert Moment(50, START + 50) == clock.moment()
    assert START + 50 == clock.wall()
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


def test_a_call_that_is_told_faster_than_it_was_lived_is_a_replay() -> None:
    """Whether it began now, or lies in the future."""
    now = time.time_ns()
    for start in (now, now + 3 * REPLAY_NS):
        clock = Clock.now()
        clock.rebase(start)
        clock.moment(start + 2 * AHEAD_NS)
        assert clock.is_replay


def test_a_time_as_a_float_becomes_an_int() -> None:
    """Spans take nothing else."""
    clock = Clock.now()
    clock.rebase(float(START))  # type: ignore[arg-type]
    moment = clock.moment(float(START + 1024))  # type: ignore[arg-type]
    assert (int, int) == (type(moment.t), type(moment.at_ns))
    assert Moment(1024, START + 1024) == moment


S = 1_000_000_000
FAR = 1_000_000 * S  # 11.6 days


@pytest.fixture
def clock() -> Clock:
    """A clock that the app has set."""
    found = Clock.now()
    found.rebase(START)
    return found


def seen(clock: Clock, *times: int) -> list[int]:
    """When events are taken to have happened; all times in s since the start."""
    moments = [clock.moment(START + t * S) for t in times]
    assert all(moment.t == moment.at_ns - START for moment in moments)
    return [moment.t // S for moment in moments]


def test_one_wrong_time_holds_up_nothing(clock: Clock) -> None:
    """It counts as the one before; the right ones after it stay right."""
    assert [1, 2, 2, 3, 4] == seen(clock, 1, 2, FAR // S, 3, 4)
    assert [4, 5, 6] == seen(clock, -FAR // S, 5, 6)
    assert 2 == clock.jumps


def test_a_clock_that_was_set_goes_on_from_the_jump(clock: Clock) -> None:
    """Forward or back: what lies between later times is kept."""
    ahead = FAR // S
    assert [1, 1, 2, 3] == seen(clock, 1, ahead, ahead + 1, ahead + 2)
    assert [3, 5, 6] == seen(clock, -500, -498, -497)
    assert 2 == clock.jumps


def test_a_long_silence_is_believed_up_to_an_hour(clock: Clock) -> None:
    """More than that is not: a call has no such gap, but clocks that are set do."""
    assert [3_600] == seen(clock, 3_600)
    assert MAX_GAP_NS == 3_600 * S
    assert [3_600] == seen(clock, 3_600 + 3_601)
    assert 1 == clock.jumps


def test_threads_may_report_a_little_out_of_order(clock: Clock) -> None:
    """That is no jump."""
    clock.moment(START + 2 * S)
    assert 2 * S == clock.moment(START + 2 * S - 900_000_000).t
    assert (0, [3]) == (clock.jumps, seen(clock, 3))


def test_streams_that_are_reported_one_after_the_other_catch_up(clock: Clock) -> None:
    """The second one begins seconds before the end of the first: noticed, and not moved."""
    assert [4, 5, 5, 5, 6] == seen(clock, 4, 5, 0, 4, 6)
    assert 1 == clock.jumps


def test_who_tells_a_call_live_may_wait_after_its_last_event() -> None:
    """For the play-out of the answer; a replay is over with its last event."""
    clock = Clock.now()
    clock.rebase(clock.start_ns)
    given = clock.moment(time.time_ns())
    time.sleep(0.05)
    waited = clock.end()
    assert 0.05e9 <= waited.t - given.t < 5e9
    assert waited.t - given.t == waited.at_ns - given.at_ns
    clock = Clock.now()
    clock.rebase(START)
    clock.moment(START + 5)
    time.sleep(0.01)
    assert Moment(5, START + 5) == clock.end()


def test_a_jump_is_told_and_said_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """However often it happens."""
    diagnostics.REGISTER.forget("time jump")
    told: list[tuple[int, bool]] = []
    clock.on_jump = lambda *jump: told.append(jump)
    seen(clock, 1, FAR // S, 2, -FAR // S, 3)
    assert [(1, True), (2, False)] == told
    (said,) = [record.getMessage() for record in caplog.records]
    assert "at_ns lies 999999 s after the one before" in said


@given(st.lists(st.integers(-FAR, FAR), max_size=20))
def test_whatever_the_app_gives_time_is_bounded(times: list[int]) -> None:
    """It never runs back, and no step is longer than an hour."""
    clock = Clock.now()
    clock.rebase(START)
    last = 0
    for t in times:
        now = clock.moment(START + t).t
        assert 0 <= now - last <= MAX_GAP_NS
        last = now
