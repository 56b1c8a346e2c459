"""What is known of the player's buffer after some observations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.player_buffer import (
    ASSUMED_NS,
    LATEST,
    MOST_NS,
    TOLERANCE_NS,
    PlayerBuffer,
)

MS = 1_000_000


def observed(*buffers_ms: int, tap: bool = False) -> PlayerBuffer:
    """A buffer of which nothing but this is known."""
    found = PlayerBuffer()
    found.assume(ASSUMED_NS)
    for buffer_ms in buffers_ms:
        found.observe(buffer_ms * MS, tap=tap)
    return found


def test_it_is_assumed_until_it_is_known() -> None:
    """As what it may be at most; and nothing, if nobody assumes anything."""
    found = [observed(), observed(200), PlayerBuffer()]
    found[2].observe(200 * MS, tap=True)
    assert [(0, ASSUMED_NS, False), (200 * MS, 0, True), (0, 0, False)] == [
        (one.ns, one.spare_ns, one.known) for one in found
    ]


@pytest.mark.parametrize(
    ("buffers_ms", "ns"),
    [
        ((200,), 200 * MS),
        ((200, 240), 200 * MS),
        ((200, 700, 220), 220 * MS),
        ((0,), 0),
        ((-20,), 0),
        ((-21,), 0),
        ((1_000,), MOST_NS),
        ((1_001,), 0),
        ((300, 300, 300, 100, 100, 100), 100 * MS),
    ],
    ids=str,
)
def test_the_latest_few_count(buffers_ms: tuple[int, ...], ns: int) -> None:
    """But for what no buffer explains."""
    assert ns == observed(*buffers_ms).ns


def test_a_tap_knows_better_than_a_claim() -> None:
    """Whichever came first."""
    found = observed(240, tap=True)
    for _ in range(LATEST):
        found.observe(400 * MS, tap=False)
    assert 240 * MS == found.ns


@given(st.lists(st.tuples(st.integers(-100, 1_200), st.booleans())), st.integers(0, 20))
def test_what_is_taken_back_leaves_no_trace(seen: list[tuple[int, bool]], kept: int) -> None:
    """The same as if it had never been observed; and it stays within bounds."""
    found, never = observed(), observed()
    for number, (buffer_ms, tap) in enumerate(seen):
        found.observe(buffer_ms * MS, tap=tap)
        if number < kept:
            never.observe(buffer_ms * MS, tap=tap)
    found.forget(never.observations)
    assert (never.ns, never.known) == (found.ns, found.known)
    assert 0 <= found.ns <= MOST_NS
    assert TOLERANCE_NS < ASSUMED_NS
