"""The recording against a reference player of which everything is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from otel_realtime.core.audio.user_side import UserPlacement
from tests.simulation.__main__ import COLUMNS, numbers, table
from tests.simulation.judge import Verdict, judge
from tests.simulation.microphone import CLIP
from tests.simulation.sound import FORMATS
from tests.simulation.styles import STYLES, Moment, Style

CALLS = 6
PRECISE = ("played", "audio", "audio+items")
MOMENT = Moment(at=1_000.0, item="item_1", first_at=500.0, received=2_000.0, played=450.0)
MS_NS = 1_000_000
#: Until a player shows what it buffers, jitter is taken to be absorbed up to here, whoever it is.
ASSUMED_MS = 80
#: A block of a device; half a second of talk a minute.
BLOCK_MS, TALK_S = 20, 0.5
#: What version 0.1.0 reached on the same conversations: ``--json 6`` with its package on the path.
BEFORE = json.loads(Path(__file__).with_name("version_0_1_0.json").read_text())
#: Nobody can tell such a client from one that stops its player when it cancels, which most do.
UNKNOWABLE = frozenset({"push to talk: cancel, plays on"})
#: What was nearer to the truth by chance: the client claims less than was heard, and so the end is too
#: early; holes of 20 ms that nobody heard moved it back.
BY_CHANCE = frozenset({("twilio: marks, agents claim", "end", "p95")})
#: Where the device of a prompt player stalls once, its claim says that it is late, and the later answers
#: of the call are taken to begin so late, too; version 0.1.0 took every player to begin at once.
STALLED = frozenset(
    {
        ("begins 0 ms after the first", "start", "p95"),
        ("begins 40 ms after the first", "start", "p95"),
        ("begins 40 ms after the first", "end", "p95"),
        ("begins 100 ms after the first", "heard", "max"),
    }
)


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


def allowed_ms(style: Style, late: float, *, end: bool) -> float:
    """How far a boundary may be from the truth."""
    if style.tap in PRECISE:
        # A block of the device. Where the network lets it run dry, lateness looks the same.
        return 60 if style.late and style.pace.jitter else 20
    if style.tap == "marks":
        return max(100, late)  # known only once a chunk, and not of an item's first one
    return late + 120 if end else max(late, ASSUMED_MS) + BLOCK_MS


def test_the_agents_sound_is_where_it_was_heard(style: Style, verdicts: list[Verdict]) -> None:
    """With a tap within 20 ms, else no more off than the player is late, plus 120 ms at a cut."""
    if style.name in UNKNOWABLE:
        return
    for verdict in verdicts:
        late = verdict.late
        assert all(abs(one) <= allowed_ms(style, late, end=False) for one in verdict.start)
        if not style.claim(MOMENT):  # else the client says where it ends
            assert all(abs(one) <= allowed_ms(style, late, end=True) for one in verdict.end)
        if style.tap in PRECISE:
            assert verdict.sources <= {"tap"}
            assert [] == verdict.holes  # what a callback is late, the device's buffer has


def test_a_truncate_keeps_exactly_what_it_claims(style: Style, verdicts: list[Verdict]) -> None:
    """Unless a tap knows better."""
    kept = [one for verdict in verdicts for one in verdict.kept]
    if not style.tap:
        assert all(abs(one) < 1 for one in kept)
    assert bool(kept) == (style.claim(MOMENT) is not None)


def test_what_is_said_to_be_heard_is_in_the_file(style: Style, verdicts: list[Verdict]) -> None:
    """To the millisecond, and nothing is in it that nobody sent."""
    assert sum(verdict.foreign for verdict in verdicts) == 0
    assert all(abs(one) <= 1 for verdict in verdicts for one in verdict.file)
    if style.tap in PRECISE:  # to a block of the device
        assert all(abs(one) <= 20 for verdict in verdicts for one in verdict.heard)


def test_the_user_is_where_they_spoke(style: Style, verdicts: list[Verdict]) -> None:
    """After stalls, backlogs, mutes and a push to talk, and with a clock that is off; whole."""
    assert all(abs(one) <= 60 for verdict in verdicts for one in verdict.user)
    if style.sends != CLIP:
        assert all(one == 0 for verdict in verdicts for one in verdict.lost)
    assert any(verdict.user for verdict in verdicts) == (style.sends != CLIP)


def test_talk_is_speech_whatever_the_line(style: Style, verdicts: list[Verdict]) -> None:
    """Within half a second a minute; the agent's, and what both do, where a tap knows its place."""
    if style.sends == CLIP:
        return
    talk = [one for verdict in verdicts for one in verdict.user_talk]
    if style.tap in PRECISE:
        talk += [one for of in verdicts for one in (*of.agent_talk, *of.overlap, *of.dead_air)]
    assert all(abs(one) <= TALK_S for one in talk)


def test_the_file_is_as_long_as_the_call(verdicts: list[Verdict]) -> None:
    """Hearing ends with it."""
    assert all(abs(one) <= 50 for verdict in verdicts for one in verdict.length)


def test_no_client_is_recorded_worse_than_by_version_0_1_0(
    style: Style, verdicts: list[Verdict]
) -> None:
    """Unless it is as good as can be asked for."""
    if style.name in UNKNOWABLE:
        return
    before, now = BEFORE[style.name], numbers(verdicts)[style.name]
    worse = {
        (column, name): (before[column][name], value)
        for column, spread in now.items()
        for name, value in spread.items()
        if name in ("median", "p95", "max", "sum")
        and (style.name, column, name) not in BY_CHANCE | STALLED
        and value > max(before.get(column, {}).get(name, math.inf), _good(style, column)) * 1.1
    }
    assert {} == worse


def _good(style: Style, column: str) -> float:
    """What nobody hears, or what cannot be known."""
    if style.sends == CLIP and column == "lost":
        return math.inf  # version 0.1.0 let files outlast the call: no end of a clip was lost
    if column in ("start", "end", "heard") and sum(style.buffering.late) < 2 * ASSUMED_MS:
        return ASSUMED_MS + BLOCK_MS
    return TALK_S if COLUMNS.get(column) else 0.0 if column == "holes" else BLOCK_MS


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
