"""What is to be silenced, collected: nothing is lost, nothing counts twice, nothing is too long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.redactions import (
    BEEP,
    BY_CALL,
    BY_HOOK,
    COMPLETE,
    PARTIAL,
    SILENCE,
    Redactions,
    Stretch,
    Words,
    intervals_of,
    merge,
)

WORDS = Words("user", "u")
PLACES = {WORDS: (100, 200), Words("agent", "a"): (300, 500), Words("user", "u", 1, 2): (150, 160)}


def stretches(redactions: Redactions, length_ns: int = 1_000) -> list[Stretch]:
    """What is silenced, with the places above."""
    return redactions.stretches(PLACES.get, length_ns)


def test_nothing_was_asked_for() -> None:
    """Then there is nothing, and it costs nothing."""
    assert (False, []) == (bool(Redactions()), stretches(Redactions()))


def test_stretches_and_words_in_order() -> None:
    """Each once, words where they lie now."""
    redactions = Redactions()
    redactions.add(700, 800, "agent", BEEP, "command")
    for _ in range(3):
        redactions.add(0, 50)
        redactions.add_words(WORDS)
    assert [
        Stretch(0, 50, None, SILENCE, BY_CALL),
        Stretch(100, 200, "user", SILENCE, BY_HOOK),
        Stretch(700, 800, "agent", BEEP, "command"),
    ] == stretches(redactions)


@pytest.mark.parametrize(("start", "end"), [(50, 50), (60, 50), (1_000, 2_000), (5_000, 6_000)])
def test_what_is_empty_or_beyond_the_end_silences_nothing(start: int, end: int) -> None:
    """A recording of 1,000 ns."""
    redactions = Redactions()
    redactions.add(start, end)
    assert [] == stretches(redactions)


def test_what_reaches_beyond_the_end_ends_there() -> None:
    """Padding at the end of a call is no error."""
    redactions = Redactions()
    redactions.add(900, 10**15)
    assert [(900, 1_000)] == [(each.start_ns, each.end_ns) for each in stretches(redactions)]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ((), (None, SILENCE, BY_CALL)),
        (("agent",), ("agent", SILENCE, BY_CALL)),
        (("nobody", "whistle", 7), (None, SILENCE, BY_CALL)),
        (([], {}, None), (None, SILENCE, BY_CALL)),
        (("user", BEEP, "later version"), ("user", BEEP, "later version")),
    ],
)
def test_what_is_not_said_plainly_hides_more(about: Any, expected: Any) -> None:
    """A record of a damaged journal, or of a later version."""
    redactions = Redactions()
    redactions.add(1, 2, *about)
    assert [Stretch(1, 2, *expected)] == stretches(redactions)


def test_a_partial_text_holds_until_it_is_complete() -> None:
    """Then what its whole text says holds, and stays."""
    redactions = Redactions()
    redactions.add_words(WORDS, PARTIAL)
    redactions.add_words(Words("agent", "a"), PARTIAL)
    assert [(100, 200), (300, 500)] == intervals_of(stretches(redactions), "user") + intervals_of(
        stretches(redactions), "agent"
    )
    redactions.add_words(WORDS, COMPLETE)
    redactions.add_words(Words("user", "u", 1, 2))
    redactions.add_words(WORDS, COMPLETE)
    assert [(150, 160)] == intervals_of(stretches(redactions), "user")
    assert [(300, 500)] == intervals_of(stretches(redactions), "agent")


def test_words_that_were_never_heard_are_nowhere() -> None:
    """An answer that was cut before its first sample."""
    redactions = Redactions()
    redactions.add_words(Words("agent", "unheard"))
    assert (True, []) == (bool(redactions), stretches(redactions))


def test_a_side_has_its_own_and_what_is_for_both() -> None:
    """By kind, too."""
    asked = [Stretch(0, 10), Stretch(5, 20, "user"), Stretch(30, 40, "agent", BEEP)]
    assert [(0, 20)] == intervals_of(asked, "user")
    assert [(0, 10), (30, 40)] == intervals_of(asked, "agent")
    assert [(30, 40)] == intervals_of(asked, "agent", BEEP)
    assert [] == intervals_of(asked, "user", BEEP)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50))))
def test_merging_keeps_the_time_as_it_is(intervals: list[tuple[int, int]]) -> None:
    """Point by point; ordered, apart from each other, none of them empty."""
    merged = merge(intervals)
    covered = [any(start <= point < end for start, end in intervals) for point in range(51)]
    assert covered == [any(start <= point < end for start, end in merged) for point in range(51)]
    bounds = np.array(merged).reshape(-1)
    assert bool((np.diff(bounds) > 0).all())
