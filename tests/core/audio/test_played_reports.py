"""Positions that the app reports, against what was on the wire: by the sample."""

from __future__ import annotations

from tests.support.calls import PER_MS, Call, spans, tone
from tests.support.taps import MS, facts, report


def test_positions_ahead_of_the_clock_are_no_playback(call: Call) -> None:
    """The same for ``played``."""
    call.hear(1_000, tone(3_000))
    call.track.played(1_100 * MS, "item_a", 0, 3_000)
    call.received(2_000, "input_audio_buffer.speech_started")
    call.close(6_000)
    assert (3_000, 1_000, "estimated", True) == facts(call)


def test_a_pause_of_the_player_is_a_gap(call: Call) -> None:
    """Reports that go on after seconds tell that it was held, not that the tap was gone."""
    call.hear(1_000, tone(2_000))
    report(call, 1_100, 500)
    for position in range(520, 2_001, 20):
        call.track.played((4_600 + position) * MS, "item_a", 0, position)
    _, right = call.close(9_000)
    assert spans(right) == [(1_100 * PER_MS, 1_600 * PER_MS), (5_100 * PER_MS, 6_600 * PER_MS)]
    assert (2_000, 2_000, "tap", False) == facts(call)


def test_late_and_coarse_reports_shift_nothing(call: Call) -> None:
    """Only the earliest origin counts, and a cut bounds what the last report left open."""
    call.hear(1_000, tone(3_000))
    for position, late in ((250, 40), (500, 90), (750, 10)):
        call.track.played((1_200 + position + late) * MS, "item_a", 0, position)
    call.received(2_080, "input_audio_buffer.speech_started")
    _, right = call.close(9_000)
    assert spans(right) == [(1_210 * PER_MS, 2_080 * PER_MS)]
    assert (3_000, 870, "tap", True) == facts(call)


def test_a_queued_item_that_was_never_reported_was_not_heard(call: Call) -> None:
    """The model would have begun it."""
    call.hear(1_000, tone(500), "item_a")
    call.hear(1_050, tone(2_000), "item_b")
    report(call, 1_300, 500)
    call.received(1_805, "input_audio_buffer.speech_started")
    call.close(9_000)
    assert (500, 500, "tap", False) == facts(call)
    assert facts(call, "item_b")[1:] == (20, "tap", True)


def test_facts_of_a_call_in_progress(call: Call) -> None:
    """What may still be played is not over."""
    call.hear(1_000, tone(3_000))
    report(call, 1_200, 400)
    audio = call.track.item("item_a")
    assert audio is not None
    assert (audio.heard_ms, audio.audible_from_t) == (400, 1_200 * MS)
    assert audio.audible_until_t >= 1_600 * MS
