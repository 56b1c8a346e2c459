"""Positions that the app reports, against what was on the wire: by the sample."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio import played_reports
from otel_realtime.core.audio.played_reports import PartReports
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


def test_what_plays_is_not_placed_at_each_report(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A player that reports every 20 ms, and a query after each: one placing, at the end."""
    placed: list[int] = []
    place = played_reports._place
    monkeypatch.setattr(played_reports, "_place", lambda *given: placed.append(1) or place(*given))
    call.hear(1_000, tone(3_000))
    for position in range(20, 3_001, 20):
        call.track.played((1_200 + position) * MS, "item_a", 0, position)
        audio = call.track.item("item_a")
        assert audio is not None
        assert (position, 1_200 * MS) == (audio.heard_ms, audio.audible_from_t)
    _, right = call.close(9_000)
    assert spans(right) == [(1_200 * PER_MS, 4_200 * PER_MS)]
    assert 2 == len(placed)  # here once, and once for the recording


@pytest.mark.parametrize("step", [20, 50, 100])
@pytest.mark.parametrize("late", [40, 90])
@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_a_report_that_is_late_is_no_hole(call: Call, step: int, late: int, which: str) -> None:
    """Also the last one, which nothing follows."""
    call.hear(1_000, tone(2_000))
    number = {"first": step, "middle": 1_000, "last": 2_000}[which]
    last = 0
    for position in range(step, 2_001, step):
        last = max(last, 1_200 + position + (late if position == number else 0))
        call.track.played(last * MS, "item_a", 0, position)
    _, right = call.close(9_000)
    assert spans(right) == [(1_200 * PER_MS, 3_200 * PER_MS)]
    assert (2_000, 2_000, "tap", False) == facts(call)


def test_a_late_last_report_takes_nothing_from_what_a_cut_left(call: Call) -> None:
    """The player went on until the cut, by one step at most."""
    call.hear(1_000, tone(3_000))
    for position in range(100, 1_001, 100):
        late = 90 if position == 1_000 else 0
        call.track.played((1_200 + position + late) * MS, "item_a", 0, position)
    call.received(2_295, "input_audio_buffer.speech_started")
    _, right = call.close(9_000)
    assert spans(right) == [(1_200 * PER_MS, 2_295 * PER_MS)]
    assert (3_000, 1_095, "tap", True) == facts(call)


def test_a_pause_before_the_last_reports_is_a_gap(call: Call) -> None:
    """If it is longer than a device's buffer."""
    call.hear(1_000, tone(1_000))
    report(call, 1_100, 960)
    call.track.played(2_380 * MS, "item_a", 0, 980)
    call.track.played(2_400 * MS, "item_a", 0, 1_000)
    _, right = call.close(9_000)
    assert spans(right) == [(1_100 * PER_MS, 2_060 * PER_MS), (2_360 * PER_MS, 2_400 * PER_MS)]


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 60)), min_size=1, max_size=30),
    st.integers(0, 13_000),
)
def test_runs_are_the_steps_without_jitter(steps: list[tuple[int, int]], kept_ms: int) -> None:
    """Each step begins at the earliest origin of its report and all later ones, or adjoins."""
    reports, t, position = PartReports(), 0, 0
    for step, late in steps:
        position += step
        t = max(t, position + late)
        reports.add(t * MS, position * MS)
    runs = list(reports.runs(kept_ms * MS))
    assert kept_ms * MS == sum(high - low for _, low, high in runs)
    assert [low for _, low, _ in runs[1:]] == [high for _, _, high in runs[:-1]]
    ends = [start + high - low for start, low, high in runs]
    assert all(start >= end for (start, _, _), end in zip(runs[1:], ends, strict=False))
    assert all(start >= low for start, low, _ in runs)
