"""The energy of a source by frames."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.energy import EnergyTable
from tests.support.calls import silence, tone
from tests.support.speech import at_level, noise

MS = 1_000_000


def table(*pieces: np.ndarray) -> EnergyTable:
    """The energies of the pieces."""
    found = EnergyTable()
    for piece in pieces:
        found.feed(piece, 24_000)
    return found


def test_the_size_of_the_pieces_does_not_matter() -> None:
    """Nor does when it is asked."""
    audio = np.concatenate((tone(100), silence(400), tone(140), silence(380)))
    expected = [1] * 5 + [0] * 20 + [1] * 7 + [0] * 19
    for size in (1, 7, 480, 1_000, audio.size):
        found = EnergyTable()
        for at in range(0, audio.size, size):
            found.feed(audio[at : at + size], 24_000)
            assert found.frames == min(at + size, audio.size) // 480
        assert expected == found.voiced().astype(int).tolist()


def test_a_part_is_told_by_itself() -> None:
    """From a frame to another, as if there were no others: live as when it is looked at again."""
    found = table(tone(1_000, level=500), silence(1_000), tone(1_000, level=500))
    assert [True] * 10 + [False] * 40 == found.voiced(40, 90).tolist()
    assert found.voiced(0, 10).all()


def test_a_change_of_rate_loses_no_time() -> None:
    """What did not fill a frame counts as silence, so later frames stay where they belong."""
    found = EnergyTable()
    for _ in range(4):
        found.feed(tone(30), 24_000)
        found.feed(tone(10)[::3], 8_000)
    assert 7 == found.frames  # the last ten wait for more

    later = EnergyTable()
    for _ in range(50):
        later.feed(tone(10), 24_000)
        later.feed(silence(10)[::3], 8_000)
    later.feed(tone(200), 24_000)
    assert [False] * 50 + [True] * 10 == later.voiced().tolist()


def test_feed_tells_at_once_whether_there_may_be_voice() -> None:
    """Also in a last frame that is not full yet, and in one of many."""
    found = EnergyTable()
    assert not found.feed(silence(25), 24_000)
    assert found.feed(tone(5), 24_000)
    assert found.feed(silence(10), 24_000)  # which completes the frame
    assert not found.feed(silence(20), 24_000)
    assert found.feed(np.concatenate((silence(100), tone(20), silence(80))), 24_000)
    assert not found.feed(silence(0), 24_000)
    assert found.feed(np.concatenate((silence(100), tone(10))), 24_000)


def test_what_is_quiet_depends_on_the_noise() -> None:
    """At first below -45 dBFS; then what does not stand out from the line's hiss."""
    hiss = at_level(noise("line", 3, np.random.default_rng(1)), -38).astype("<i2")
    found = EnergyTable()
    told = [found.feed(hiss[at : at + 480], 24_000) for at in range(0, hiss.size, 480)]
    assert all(told[:50])
    assert not any(told[60:])
    assert found.feed(tone(20, level=3_000), 24_000)
    assert 50 <= found.loud_frames <= 70


def test_soft_speech_is_not_quiet_once_silence_is_known() -> None:
    """It is not left out where a late microphone catches up."""
    found = EnergyTable()
    soft = tone(20, level=80)
    assert not found.feed(soft, 24_000)
    found.feed(silence(2_000), 24_000)
    assert found.feed(soft, 24_000)


def test_lost_audio_counts_as_silence() -> None:
    """Later frames keep their position."""
    found = table(tone(200))
    found.skip(350 * MS)
    found.skip(10 * MS)
    found.feed(tone(200), 24_000)
    assert [1] * 10 + [0] * 18 + [1] * 10 == found.voiced().astype(int).tolist()


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
    one_by_one, at_once = EnergyTable(), EnergyTable()
    expected = [one_by_one.feed(chunk, 24_000) for chunk in chunks]
    found: list[bool] = []
    bounds = sorted({0, *(min(cut, len(chunks)) for cut in cuts), len(chunks)})
    for first, last in itertools.pairwise(bounds):
        some = chunks[first:last]
        found += at_once.feed_chunks(np.concatenate(some), [part.size for part in some], 24_000)
    assert expected == found
    assert one_by_one.loud_frames == at_once.loud_frames
    assert one_by_one.voiced().tolist() == at_once.voiced().tolist()
