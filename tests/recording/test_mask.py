"""Silence and beeps in a channel, sample by sample, however it is cut into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.redactions import BEEP, Stretch
from otel_realtime.recording.mask import BEEP_LEVEL, Mask

RATE = 8_000
MS = 1_000_000


def masked(stretches: list[Stretch], blocks: list[int], dtype: Any = np.int16) -> np.ndarray:
    """A second of ones, masked block by block."""
    channel = np.ones(RATE, dtype)
    mask, start = Mask(stretches, "user", RATE), 0
    for size in [*blocks, RATE]:
        end = min(start + size, RATE)
        mask.apply(channel[start:end], start)
        start = end
    return channel


MILLISECONDS = st.tuples(st.integers(0, 1_200), st.integers(0, 1_200)).map(sorted)


@given(st.lists(MILLISECONDS, max_size=8), st.lists(st.integers(1, 3_000), max_size=10))
def test_inside_is_silent_outside_is_untouched(spans: list[list[int]], blocks: list[int]) -> None:
    """Whatever overlaps, touches, is empty or lies beyond the end."""
    expected = np.ones(RATE, np.int16)
    for start, end in spans:
        expected[start * 8 : end * 8] = 0
    stretches = [Stretch(start * MS, end * MS) for start, end in spans]
    assert np.array_equal(expected, masked(stretches, blocks))


def test_a_sample_that_is_touched_is_silent() -> None:
    """A stretch need not begin or end with a sample."""
    silent = np.flatnonzero(masked([Stretch(124_999, 250_001)], []) == 0)
    assert [0, 1, 2] == silent.tolist()


def test_the_other_side_stays() -> None:
    """Both sides, this one, the other one."""
    assert 0 == masked([Stretch(0, 1_000 * MS)], []).sum()
    assert 0 == masked([Stretch(0, 1_000 * MS, "user")], []).sum()
    assert RATE == masked([Stretch(0, 1_000 * MS, "agent")], []).sum()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_a_beep_is_the_same_in_any_blocks(dtype: Any) -> None:
    """It covers all of its stretch, begins and ends softly, and is not too loud."""
    beep = [Stretch(200 * MS, 700 * MS, "user", BEEP)]
    whole = masked(beep, [], dtype)
    assert np.array_equal(whole, masked(beep, [1, 17, 1_600, 1_601, 3_000], dtype))
    inside, full = whole[1_600:5_600].astype(float), 1.0
    if np.issubdtype(dtype, np.integer):
        full = float(np.iinfo(dtype).max)
    assert (whole[:1_600] == 1).all()
    assert (whole[5_600:] == 1).all()
    assert abs(inside).max() == pytest.approx(BEEP_LEVEL * full, rel=0.01)
    assert (0.0, 0.0) == (inside[0], inside[-1])
    spectrum = abs(np.fft.rfft(inside))
    assert 1_000 == int(spectrum.argmax()) * RATE // len(inside)


def test_silence_wins_over_a_beep() -> None:
    """Two who asked for the same place."""
    both = masked([Stretch(0, 500 * MS, None, BEEP), Stretch(250 * MS, 750 * MS)], [])
    assert 0 == abs(both[2_000:6_000]).sum()
    assert abs(both[:2_000]).max() > 1_000
