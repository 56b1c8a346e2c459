"""What failed requests may cost a destination: a burst, then so much per second."""

from __future__ import annotations

import gc
import itertools

import pytest

from otel_realtime.langsmith import budget as budgets
from otel_realtime.langsmith.budget import ASK_AGAIN_S, Allowance, Budget, budget_for


class Clock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(budgets, "time", made)
    return made


def repeats(budget: Budget, clock: Clock, seconds: float, size: int = 0) -> int:
    """How many requests are repeated within some seconds if all of them fail."""
    until, sent = clock.now + seconds, 0
    while clock.now < until:
        wait_s = budget.take(size)
        if not wait_s:
            budget.repeated(size, answered=False)
            sent += 1
        clock.now += max(wait_s, 0.01)
    return sent


def test_repeats_that_fail_are_a_burst_and_then_a_few(clock: Clock) -> None:
    """However many deliveries there are, and however often somebody flushes."""
    budget = Budget(Allowance(30, 1.0), Allowance(100, 1.0))
    assert 30 <= repeats(budget, clock, 5) <= 36
    assert 550 <= repeats(budget, clock, 600) <= 601


def test_bytes_of_recordings_are_bounded_apart(clock: Clock) -> None:
    """A request without a recording goes while a large one waits."""
    budget = Budget(Allowance(30, 1.0), Allowance(100.0, 1.0))
    assert 4 <= repeats(budget, clock, 300, size=100) <= 6
    budget.failed(100)
    assert (0.0, True) == (budget.take(), budget.take(100) > 0)


def test_what_is_answered_gives_back_more_than_it_took(clock: Clock) -> None:
    """So after an outage what has gathered goes side by side."""
    budget = Budget(Allowance(10, 1.0), Allowance(1000.0, 1.0))
    for _ in range(40):
        budget.failed(100)
    assert ASK_AGAIN_S == budget.take(100)
    clock.now += 2_000
    in_flight: list[int] = []
    for number in range(200):
        if not budget.take(100):
            in_flight.append(number)
        if len(in_flight) > 4:
            budget.repeated(100, answered=True)
            in_flight.pop()
    assert len(in_flight) >= 4
    assert 0 == budget.take(100)


def test_first_attempts_never_ask(clock: Clock) -> None:
    """They are charged when they fail, by what they cost, and no further than one of them."""
    budget = Budget(Allowance(10, 1.0), Allowance(100.0, 1.0))
    for _ in range(1_000):
        budget.failed(5_000)
    waits = itertools.takewhile(bool, (budget.take(5_000) for _ in itertools.count()))
    waited = 0.0
    for wait_s in waits:
        waited += wait_s
        clock.now += wait_s
    assert 5_000 == pytest.approx(waited)


def test_one_budget_for_a_destination() -> None:
    """As long as somebody delivers there."""
    first = budget_for(("http://a", "key"))
    assert first is budget_for(("http://a", "key"))
    assert first is not budget_for(("http://a", "other key"))
    del first
    gc.collect()
    assert ("http://a", "key") not in budgets._budgets
