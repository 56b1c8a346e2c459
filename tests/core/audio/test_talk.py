"""Who talks when in a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.energy import EnergyTable
from otel_realtime.core.audio.formats import PCM16
from otel_realtime.core.audio.segments import Segment
from otel_realtime.core.audio.talk import (
    SideSources,
    Stretches,
    TalkTimes,
    joined,
    measure_talk,
    reported_stretches_of,
    stretches_of,
)
from otel_realtime.core.audio.vad_reports import Reported
from tests.support.calls import silence, tone
from tests.support.speech import at_level, noise

MS = 1_000_000


def table(*pieces: np.ndarray) -> EnergyTable:
    """The energies of the pieces."""
    found = EnergyTable()
    for piece in pieces:
        found.feed(piece, 24_000)
    return found


def segment(start_ms: int, position_ms: int, length_ms: int) -> Segment:
    """A stretch of a side's audio at its place in the recording."""
    return Segment(start_ms * MS, position_ms * 48, length_ms * 48, PCM16, position_ms * MS)


NOTHING = [(EnergyTable(), [])]


def measured_talk(user: SideSources, agent: SideSources, length_ms: int) -> TalkTimes:
    """The talk times of a recording."""
    return measure_talk(stretches_of(user), stretches_of(agent), length_ms * MS)


def test_talk_times_follow_the_timeline() -> None:
    """Only what was heard counts, where it was heard."""
    user = table(tone(1_000), silence(1_000), tone(1_000))
    agent = table(tone(2_000))
    measured = measured_talk(
        [(user, [segment(0, 0, 2_000), segment(5_000, 2_000, 1_000)])],
        [(agent, [segment(500, 0, 1_000)])],
        7_000,
    )
    assert measured.user_s == pytest.approx(2.0)
    assert measured.agent_s == pytest.approx(1.0)
    assert measured.overlap_s == pytest.approx(0.5)
    assert measured.dead_air_s == pytest.approx(7.0 - 2.5)


def test_nobody_talks() -> None:
    """A call without audio is dead air."""
    measured = measured_talk(NOTHING, NOTHING, 3_000)
    assert (measured.user_s, measured.agent_s, measured.overlap_s) == (0, 0, 0)
    assert measured.dead_air_s == 3.0


def test_the_longest_silence_is_the_callers_too() -> None:
    """From the start to the end, wherever nobody talks."""
    user, agent = table(tone(1_000)), table(tone(1_000))
    side = [(user, [segment(2_500, 0, 1_000)])]
    other = [(agent, [segment(4_000, 0, 1_000)])]
    assert 2.5 == pytest.approx(measured_talk(side, other, 6_000).longest_silence_s)
    assert 4.0 == pytest.approx(measured_talk(side, other, 9_000).longest_silence_s)
    assert 3.0 == measured_talk(NOTHING, NOTHING, 3_000).longest_silence_s


@pytest.mark.parametrize(
    ("agent_ms", "over_s"),
    [
        (500, 1.5),  # in the middle of the user's words
        (1_040, 0.96),  # in the pause between two of them, who talk on
        (2_500, 0.0),  # afterwards
        (0, 0.0),  # the user barges in
    ],
)
def test_who_began_tells_who_talks_over_whom(agent_ms: int, over_s: float) -> None:
    """The user talks from 200 ms to 2,000 ms with a pause of 100 ms after 1,000 ms."""
    user = table(tone(800), silence(100), tone(900))
    agent = table(tone(3_000))
    measured = measured_talk(
        [(user, [segment(200, 0, 1_800)])], [(agent, [segment(agent_ms, 0, 3_000)])], 8_000
    )
    assert over_s == pytest.approx(measured.agent_over_user_s, abs=0.05)
    assert measured.agent_over_user_s <= measured.overlap_s + 1e-9


def test_a_pause_between_words_is_one_in_the_recording() -> None:
    """Up to 300 ms of it; in the audio that was sent they may adjoin, with a mute between them."""
    words = table(tone(500), silence(300), tone(500))
    whole = stretches_of([(words, [segment(1_000, 0, 1_300)])])
    muted = stretches_of([(words, [segment(1_000, 0, 600), segment(3_000, 600, 700)])])
    assert [[1.0, 2.3]] == np.round(whole, 6).tolist()
    assert [[1.0, 1.5], [3.2, 3.7]] == np.round(muted, 6).tolist()


def reported(
    *speech: tuple[float, float], prefix_ms: int | None = 300, silence_ms: int | None = 500
) -> list[Reported]:
    """What the VAD says of utterances, in ms, with its padding around them."""
    found = []
    for start, end in speech:
        within = (start - (prefix_ms or 300), end + (silence_ms or 500))
        known = (None if prefix_ms is None else start, None if silence_ms is None else end)
        first, last = (None if at is None else round(at * MS) for at in known)
        found.append(Reported((round(within[0] * MS), round(within[1] * MS)), first, last))
    return found


def told(audio: np.ndarray, reports: Sequence[Reported], *silences: tuple[int, int]) -> list[Any]:
    """Where the user talks; the audio begins with the recording."""
    side = [(table(audio), [segment(0, 0, audio.size // 24)])]
    every = [(start * MS, end * MS) for start, end in silences]
    return np.round(reported_stretches_of(side, reports, every), 6).tolist()


HISS = at_level(noise("line", 12, np.random.default_rng(2)), -30).astype("<i2")
ALWAYS = (0, 3_600_000)


def test_the_servers_times_rule() -> None:
    """In noise that hides the speech, and where the room is loud and nobody speaks."""
    assert [[2.0, 4.0], [6.0, 7.5]] == told(HISS, reported((2_000, 4_000), (6_000, 7_500)), ALWAYS)
    echo = np.concatenate((silence(2_000), tone(1_000), silence(2_000), tone(2_000)))
    assert [[2.0, 3.0]] == told(echo, reported((2_000, 3_000)), ALWAYS)
    assert [[2.0, 3.0], [5.0, 7.0]] == told(echo, reported((2_000, 3_000)), (0, 4_500))


def test_the_energy_says_where_exactly() -> None:
    """Within 150 ms of the server's times; what is farther off is something else."""
    speech = np.concatenate((silence(2_000), tone(1_000), silence(600), tone(900), silence(2_000)))
    assert [[2.0, 4.5]] == told(speech, reported((2_080, 4_420)), ALWAYS)
    assert [[1.7, 4.8]] == told(speech, reported((1_700, 4_800)), ALWAYS)


def test_without_known_padding_the_energy_says_it_all() -> None:
    """Semantic VAD, and the beginning of the audio, where there is less than the padding."""
    speech = np.concatenate((silence(2_000), tone(1_000), silence(600), tone(900), silence(2_000)))
    unknown = reported((1_900, 5_000), prefix_ms=None, silence_ms=None)
    assert [[2.0, 4.5]] == told(speech, unknown, ALWAYS)
    assert [[1.6, 5.5]] == told(HISS, unknown, ALWAYS)


def test_talk_is_only_where_there_is_audio() -> None:
    """Not in a pause of the recording, whatever the server heard of it."""
    words = table(tone(3_000))
    side = [(words, [segment(1_000, 0, 1_000), segment(3_000, 2_000, 1_000)])]
    found = reported_stretches_of(side, reported((1_000, 4_000)), [])
    assert [[1.0, 2.0], [3.0, 4.0]] == np.round(found, 1).tolist()


sides = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 60)), max_size=12).map(
    lambda pairs: joined(np.array(sorted((a / 10, (a + n) / 10) for a, n in pairs)).reshape(-1, 2))
)


@given(sides, sides)
def test_times_agree_with_counting_moments(user: Stretches, agent: Stretches) -> None:
    """Every 10 ms of a minute and a bit."""
    at = np.arange(0.005, 70, 0.01)

    def talks(side: Stretches) -> np.ndarray:
        return np.array([(side[:, 0] <= t) & (t < side[:, 1]) for t in at]).any(axis=1)

    one, other = talks(user), talks(agent)
    measured = measure_talk(user, agent, 70_000 * MS)
    assert measured.user_s == pytest.approx(one.sum() / 100, abs=0.02)
    assert measured.agent_s == pytest.approx(other.sum() / 100, abs=0.02)
    assert measured.overlap_s == pytest.approx((one & other).sum() / 100, abs=0.02)
    assert measured.dead_air_s == pytest.approx((~one & ~other).sum() / 100, abs=0.02)
    assert 0 <= measured.agent_over_user_s <= measured.overlap_s + 1e-6
