"""Whose word counts for what was heard: a tap's as long as it speaks, else the model's."""

from __future__ import annotations

from tests.support.calls import PER_MS, Call, spans, tone
from tests.support.taps import facts, play, report


def test_a_tap_that_ends_hands_back_to_the_model(call: Call) -> None:
    """The next answer is heard by the model, which has learned the buffer, and says so."""
    call.hear(1_000, tone(1_000))
    play(call, 1_200, tone(1_000))
    call.hear(5_000, tone(4_000), "item_b", "resp_2")
    _, right = call.close(12_000)
    assert spans(right) == [(1_200 * PER_MS, 2_200 * PER_MS), (5_200 * PER_MS, 9_200 * PER_MS)]
    assert (1_000, 1_000, "tap", False) == facts(call)
    assert (4_000, 4_000, "estimated", False) == facts(call, "item_b")


def test_positions_that_end_hand_back_to_the_model(call: Call) -> None:
    """Also in the midst of an item, which then plays on from there."""
    call.hear(1_000, tone(5_000))
    report(call, 1_200, 1_000)
    call.hear(9_000, tone(4_000), "item_b", "resp_2")
    _, right = call.close(20_000)
    assert spans(right) == [(1_200 * PER_MS, 6_200 * PER_MS), (9_200 * PER_MS, 13_200 * PER_MS)]
    assert (5_000, 5_000, "estimated", False) == facts(call)
    assert (4_000, 4_000, "estimated", False) == facts(call, "item_b")
