"""Energy: who talked when."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.energy import VoiceMeter, measure_talk
from otel_realtime.core.audio.formats import PCM16
from otel_realtime.core.audio.segments import Segment
from tests.support.calls import silence, tone

MS = 1_000_000


def meter(*pieces: np.ndarray) -> VoiceMeter:
    """A meter that has heard the pieces."""
    found = VoiceMeter()
    for piece in pieces:
        found.feed(piece, 24_000)
    return found


def segment(start_ms: int, position_ms: int, length_ms: int) -> Segment:
    """A stretch of a side's audio at its place in the recording."""
    return Segment(start_ms * MS, position_ms * 48, length_ms * 48, PCM16, position_ms * MS)


def test_frames_above_the_threshold_are_voice() -> None:
    """-45 dBFS, whatever the size of the pieces."""
    audio = np.concatenate((tone(100), silence(60), tone(40, level=300), tone(40, level=220)))
    expected = [1] * 5 + [0] * 3 + [1] * 2 + [0] * 2
    for size in (1, 7, 480, 1_000, audio.size):
        pieces = [audio[at : at + size] for at in range(0, audio.size, size)]
        assert expected == list(meter(*pieces).voiced)


def test_a_change_of_rate_loses_no_time() -> None:
    """What did not fill a frame counts as silence, so later frames stay where they belong."""
    found = VoiceMeter()
    for _ in range(4):
        found.feed(tone(30), 24_000)
        found.feed(tone(10)[::3], 8_000)

    assert [1, 0, 1, 0, 1, 0, 1] == list(found.voiced)  # the last ten wait for more


def test_feed_tells_whether_there_was_voice() -> None:
    """Also in a last frame that is not full yet, and in what it completes."""
    found = VoiceMeter()
    assert not found.feed(silence(25), 24_000)
    assert found.feed(tone(5), 24_000)
    assert found.feed(silence(10), 24_000)
    assert not found.feed(silence(20), 24_000)
    assert not found.feed(silence(0), 24_000)


def test_lost_audio_counts_as_silence() -> None:
    """Later frames keep their position."""
    found = meter(tone(20))
    found.skip(50 * MS)
    found.skip(10 * MS)
    found.feed(tone(20), 24_000)
    assert list(found.voiced) == [1, 0, 0, 0, 1]


def test_talk_times_follow_the_timeline() -> None:
    """Only what was heard counts, where it was heard."""
    user = meter(tone(1_000), silence(1_000), tone(1_000))
    agent = meter(tone(2_000))
    measured = measure_talk(
        [(user, [segment(0, 0, 2_000), segment(5_000, 2_000, 1_000)])],
        [(agent, [segment(500, 0, 1_000)])],
        7_000 * MS,
    )
    assert measured.user_s == pytest.approx(2.0)
    assert measured.agent_s == pytest.approx(1.0)
    assert measured.overlap_s == pytest.approx(0.5)
    assert measured.dead_air_s == pytest.approx(7.0 - 2.5)


def test_nobody_talks() -> None:
    """A call without audio is dead air."""
    measured = measure_talk([(VoiceMeter(), [])], [(VoiceMeter(), [])], 3_000 * MS)
    assert (measured.user_s, measured.agent_s, measured.overlap_s) == (0, 0, 0)
    assert measured.dead_air_s == 3.0


def test_the_longest_silence_is_the_callers_too() -> None:
    """From the start to the end, wherever nobody talks."""
    user, agent = meter(tone(1_000)), meter(tone(1_000))
    side = [(user, [segment(2_500, 0, 1_000)])]
    other = [(agent, [segment(4_000, 0, 1_000)])]
    assert 2.5 == pytest.approx(measure_talk(side, other, 6_000 * MS).longest_silence_s)
    assert 4.0 == pytest.approx(measure_talk(side, other, 9_000 * MS).longest_silence_s)
    assert (
        3.0
        == measure_talk([(VoiceMeter(), [])], [(VoiceMeter(), [])], 3_000 * MS).longest_silence_s
    )


@pytest.mark.parametrize(
    ("agent_ms", "over_s"),
    [
        (500, 1.4),  # in the middle of the user's words
        (1_040, 0.9),  # in the pause between two of them
        (2_500, 0.0),  # afterwards
        (0, 0.0),  # the user barges in
    ],
)
def test_who_began_tells_who_talks_over_whom(agent_ms: int, over_s: float) -> None:
    """The user talks from 200 ms to 2,000 ms with a pause of 100 ms after 1,000 ms."""
    user = meter(tone(800), silence(100), tone(900))
    agent = meter(tone(3_000))
    measured = measure_talk(
        [(user, [segment(200, 0, 1_800)])], [(agent, [segment(agent_ms, 0, 3_000)])], 8_000 * MS
    )
    assert over_s == pytest.approx(measured.agent_over_user_s, abs=0.05)
    assert measured.agent_over_user_s <= measured.overlap_s + 1e-9


@given(
    sizes=st.lists(st.integers(0, 1_500), min_size=1, max_size=12),
    cuts=st.lists(st.integers(1, 12), max_size=4),
    loud=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_chunks_at_once_are_measured_as_one_by_one(
    sizes: list[int], cuts: list[int], loud: list[bool]
) -> None:
    """Wherever they are joined: the same frames, and the same answer for each chunk."""
    chunks = [
        np.full(size, 2_000 * is_loud, np.int16) for size, is_loud in zip(sizes, loud, strict=False)
    ]
    one_by_one, at_once = VoiceMeter(), VoiceMeter()
    expected = [one_by_one.feed(chunk, 24_000) for chunk in chunks]
    found: list[bool] = []
    bounds = sorted({0, *(min(cut, len(chunks)) for cut in cuts), len(chunks)})
    for first, last in itertools.pairwise(bounds):
        some = chunks[first:last]
        found += at_once.feed_chunks(np.concatenate(some), [part.size for part in some], 24_000)
    assert (expected, one_by_one.voiced) == (found, at_once.voiced)
