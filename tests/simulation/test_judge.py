"""The recording against a reference player of which everything is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otel_realtime.core.audio.user_side import UserPlacement
from tests.simulation.__main__ import FORMATS, table
from tests.simulation.judge import Verdict, judge
from tests.simulation.styles import STYLES, Moment, Style

CALLS = 16
PRECISE = ("played", "audio", "audio+items")
MOMENT = Moment(at=1_000.0, item="item_1", first_at=500.0, received=2_000.0, played=450.0)
MS_NS = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings go."""
    return tmp_path_factory.mktemp("simulation")


@pytest.fixture(params=STYLES, ids=lambda style: style.name, scope="module")
def style(request: pytest.FixtureRequest) -> Style:
    """One kind of client."""
    found: Style = request.param
    return found


@pytest.fixture(scope="module")
def verdicts(style: Style, folder: Path) -> list[Verdict]:
    """What the judge says of this client's calls, in all formats."""
    return [
        judge(seed, style, FORMATS[seed % len(FORMATS)], folder / f"{STYLES.index(style)}-{seed}")
        for seed in range(CALLS)
    ]


def allowed_ms(style: Style, latency: float, *, end: bool) -> float:
    """How far a boundary may be from the truth."""
    if style.tap in PRECISE:
        return 20
    if style.tap == "marks":
        return max(100, latency)  # known only once a chunk, and not of an item's first one
    return latency + (120 if end else 1)


def test_the_agents_sound_is_where_it_was_heard(style: Style, verdicts: list[Verdict]) -> None:
    """With a tap within 20 ms, else no more off than the player is late, plus 120 ms at a cut."""
    for verdict in verdicts:
        late = verdict.latency
        assert all(abs(one) <= allowed_ms(style, late, end=False) for one in verdict.starts)
        assert all(abs(one) <= allowed_ms(style, late, end=True) for one in verdict.ends)
        if style.tap in PRECISE:  # to a block of the device, before each gap
            assert all(abs(one) <= 40 for one in verdict.surplus)
            assert verdict.sources <= {"tap"}


def test_a_truncate_keeps_exactly_what_it_claims(style: Style, verdicts: list[Verdict]) -> None:
    """Unless a tap knows better."""
    kept = [one for verdict in verdicts for one in verdict.kept]
    if not style.tap:
        assert all(abs(one) < 1 for one in kept)
    assert bool(kept) == (style.claim(MOMENT) is not None)


def test_the_user_is_where_they_spoke(verdicts: list[Verdict]) -> None:
    """After stalls, backlogs, mutes and a push to talk, and with a clock that is off."""
    assert all(abs(one) <= 60 for verdict in verdicts for one in verdict.user)


def test_the_file_is_as_long_as_the_call(verdicts: list[Verdict]) -> None:
    """Until the close, or the end of the last audio that is kept."""
    assert all(abs(verdict.length) <= 50 for verdict in verdicts)


def test_the_table_names_every_client(verdicts: list[Verdict], style: Style) -> None:
    """``python -m tests.simulation`` prints it."""
    assert style.name in table(verdicts)


@pytest.mark.parametrize("ppm", [-100, 100])
def test_an_hour_does_not_drift(ppm: int) -> None:
    """A microphone whose clock is 100 ppm off is as true at the end of the hour as at its start."""
    placement, errors, offset = UserPlacement(), [], 0
    for number in range(36_000):
        begin = number * 100 * (1 + ppm / 1e6)
        sent = begin + 100 * (1 + ppm / 1e6)
        placement.append(round(sent * MS_NS), offset, 4_800, quiet=number % 80 >= 40)
        offset += 4_800
        if number % 80 == 5 and number > 80:
            at = placement.time_at((number - 80) * 100 * MS_NS)
            assert at is not None
            errors.append(at / MS_NS - (number - 80) * 100 * (1 + ppm / 1e6))
    assert np.abs(errors).max() <= 60
    assert np.abs(errors[-20:]).max() <= 60
