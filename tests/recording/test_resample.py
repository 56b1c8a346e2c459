"""Sound at another rate: no borders, no delay, and silence stays silent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.codecs import Samples
from otel_realtime.recording.resample import Resampler
from tests.support.streams import bounded

HZ = 440.0


def sine(ms: int, rate_hz: int, level: float = 8_000.0) -> Samples:
    """A tone at some rate."""
    n = np.arange(ms * rate_hz // 1_000)
    return np.round(level * np.sin(2 * np.pi * HZ * n / rate_hz)).astype(np.int16)


def resampled(samples: Samples, from_hz: int, to_hz: int, *cuts: int) -> Samples:
    """All of it, fed in blocks that end at these samples."""
    stream = Resampler(from_hz, to_hz)
    found = [stream.feed(block) for block in np.split(samples, sorted(cuts))]
    return np.concatenate([*found, stream.finish()])


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(8_000, 24_000), (16_000, 24_000), (24_000, 48_000), (48_000, 24_000)]
)
def test_it_begins_at_once_and_lasts_as_long(from_hz: int, to_hz: int) -> None:
    """The same tone at the same time, to a few units of 16 bits."""
    found = resampled(sine(500, from_hz), from_hz, to_hz)
    expected = sine(500, to_hz).astype(np.int32)
    assert abs(found.size - expected.size) <= 1
    inner = slice(200, expected.size - 200)
    assert np.abs(found[inner] - expected[inner]).max() <= 3


@bounded
@given(st.lists(st.integers(0, 2_000), max_size=6))
def test_blocks_have_no_borders(cuts: list[int]) -> None:
    """However the samples come, empty blocks included."""
    samples = sine(125, 16_000)
    whole = resampled(samples, 16_000, 24_000)
    assert np.array_equal(whole, resampled(samples, 16_000, 24_000, *cuts))


def test_silence_stays_silent() -> None:
    """Nothing is dithered."""
    assert not resampled(np.zeros(8_000, np.int16), 8_000, 24_000).any()


def test_the_loudest_sound_does_not_wrap() -> None:
    """What the filter makes of it beyond 16 bits is cut."""
    loud = np.where(sine(200, 8_000) > 0, 32_767, -32_768).astype(np.int16)
    found = resampled(loud, 8_000, 24_000)
    quarter = found[600:1_200]
    assert (32_767, -32_768) == (quarter.max(), quarter.min())
    jumps = np.abs(np.diff(quarter.astype(np.int32)))
    assert jumps.max() < 40_000


def test_channels_do_not_mix() -> None:
    """Two columns are two streams."""
    both = np.stack([sine(100, 16_000), np.zeros(1_600, np.int16)], axis=1)
    stream = Resampler(16_000, 48_000, 2)
    found = np.concatenate([stream.feed(both), stream.finish()])
    assert (2, False) == (found.shape[1], bool(found[:, 1].any()))
    assert np.array_equal(resampled(both[:, 0], 16_000, 48_000), found[:, 0])
