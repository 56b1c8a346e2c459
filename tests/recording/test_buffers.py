"""What apps hand over as audio: read as 16-bit mono, or refused."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.recording.buffers import RefusedAudio, as_bytes, as_pcm16, sound_in

SAMPLES = np.array([0, 1, -1, 1_000, -1_000, 32_767, -32_768, 5], np.int16)
RAW = SAMPLES.astype("<i2").tobytes()
FLOATS = SAMPLES.astype(np.float32) / 32_768


class Tensor:
    """An array of another library."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._values


def strided(values: np.ndarray) -> np.ndarray:
    """The same values, not beside each other."""
    wide = np.zeros(values.size * 3, values.dtype)
    wide[::3] = values
    return wide[::3]


@pytest.mark.parametrize(
    "audio",
    [
        RAW,
        bytearray(RAW),
        memoryview(RAW),
        memoryview(RAW).cast("h"),
        memoryview(strided(SAMPLES)),
        array.array("h", SAMPLES.tolist()),
        (ctypes.c_int16 * SAMPLES.size)(*SAMPLES.tolist()),
        RAW + b"\x07",
        SAMPLES,
        SAMPLES.astype(">i2"),
        SAMPLES.reshape(-1, 1),
        SAMPLES.reshape(1, -1),
        strided(SAMPLES),
        SAMPLES.astype(np.int32) << 16,
        FLOATS,
        FLOATS.astype(np.float64),
        FLOATS.astype(">f8"),
        FLOATS.reshape(-1, 1),
        np.column_stack((FLOATS, FLOATS)),
        np.column_stack((SAMPLES, SAMPLES)),
        np.stack((np.tile(SAMPLES, 5), np.tile(SAMPLES, 5)))[:, : SAMPLES.size + 32],
        memoryview(FLOATS),
        array.array("f", FLOATS.tolist()),
        SAMPLES.tolist(),
        tuple(FLOATS.tolist()),
        Tensor(FLOATS),
    ],
    ids=lambda audio: f"{type(audio).__name__}-{getattr(audio, 'dtype', '')}",
)
def test_the_same_sound_in_whatever_shape_it_comes(audio: Any) -> None:
    """Rightly converted; half a sample at the end is left out."""
    assert RAW == as_pcm16(audio)[: len(RAW)]


def test_channels_are_averaged() -> None:
    """Also where their sum exceeds 16 bits."""
    stereo = np.array([[32_767, 32_765], [-100, 100], [7, 0]], np.int16)
    assert [32_766, 0, 4] == np.frombuffer(as_pcm16(stereo), "<i2").tolist()


def test_what_exceeds_full_scale_is_clipped() -> None:
    """What is no number is silence."""
    loud = np.array([2.0, -2.0, np.inf, -np.inf, np.nan, 1.0, 1e308], np.float64)
    expected = [32_767, -32_768, 32_767, -32_768, 0, 32_767, 32_767]
    assert expected == np.frombuffer(as_pcm16(loud), "<i2").tolist()
    assert [32_767, -32_768] == np.frombuffer(as_pcm16([40_000, -40_000]), "<i2").tolist()


@pytest.mark.parametrize(
    "audio",
    [b"", b"\x01", [], np.empty(0, np.float32), np.empty((0, 2), np.int16), memoryview(b"")],
    ids=lambda one: repr(one).split(" at 0x")[0],
)
def test_nothing_is_no_sound(audio: Any) -> None:
    """And no mistake."""
    assert b"" == as_pcm16(audio)


@pytest.mark.parametrize(
    "audio",
    [
        None,
        5,
        "text",
        {},
        object(),
        np.int16(5),
        SAMPLES.astype(np.uint8),
        SAMPLES.astype(np.int8),
        SAMPLES.astype(np.uint16),
        SAMPLES.astype(np.int64),
        SAMPLES.astype(bool),
        SAMPLES.astype(complex),
        SAMPLES.astype(object),
        array.array("H", [1, 2]),
        SAMPLES.reshape(2, 2, 2),
        np.zeros((64, 64), np.int16),
        ["a"],
        [[1], [2, 3]],
        [None, 1],
        [2**70],
        np.zeros(3, "datetime64[ns]"),
    ],
    ids=lambda audio: repr(audio).split(" at 0x")[0][:40],
)
def test_what_cannot_be_understood_is_refused(audio: Any) -> None:
    """Never recorded as noise."""
    with pytest.raises(RefusedAudio):
        as_pcm16(audio)


@pytest.mark.parametrize("audio", [SAMPLES, FLOATS, bytearray(RAW), array.array("h", [1, 2])])
def test_what_is_kept_is_a_copy(audio: Any) -> None:
    """A callback's buffer is overwritten as soon as it returns."""
    found = as_pcm16(audio)
    before = bytes(found)
    audio[:] = audio[::-1]
    assert before == found


def test_bytes_of_another_encoding_stay_as_they_are() -> None:
    """Also an odd number of them."""
    assert b"\x7f\x80\x00" == as_bytes(bytearray(b"\x7f\x80\x00"))
    for wrong in ("text", SAMPLES, FLOATS, array.array("h", [1, 2])):
        with pytest.raises(RefusedAudio):
            as_bytes(wrong)


@given(st.lists(st.integers(-32_768, 32_767)))
def test_integers_of_16_bits_survive_as_floats(samples: list[int]) -> None:
    """Bit for bit."""
    exact = np.array(samples, np.int16)
    assert exact.astype("<i2").tobytes() == as_pcm16(exact.astype(np.float32) / 32_768)


def voice(level: float) -> np.ndarray:
    """A voice-like sound: floats between -1 and 1."""
    at = np.arange(960) / 48_000
    found: np.ndarray = level * np.sin(2 * np.pi * 220 * at) * np.sin(2 * np.pi * 3 * at + 0.5)
    return found.astype(np.float32)


@pytest.mark.parametrize("level", [1.0, 0.1, 0.003])
@pytest.mark.parametrize("of", [bytes, bytearray, memoryview])
def test_bytes_that_can_only_be_floats_are_read_as_floats(level: float, of: Any) -> None:
    """The buffers of sounddevice's raw streams do not say what they hold."""
    expected = np.rint(voice(level) * 32_768).clip(-32_768, 32_767).astype("<i2")
    assert expected.tobytes() == as_pcm16(of(voice(level).tobytes()))
    faded = np.concatenate((np.zeros(800, np.float32), voice(level)[:160]))
    assert bytes(1_600) == as_pcm16(of(faded.tobytes()))[:1_600]
    assert 2 * 960 == len(as_pcm16(of(faded.tobytes())))
    quantised = (expected / 32_768).astype(np.float32)
    assert expected.tobytes() == as_pcm16(of(quantised.tobytes()))


LOUD: list[np.ndarray] = [
    voice(0.5),
    np.full(960, 0.5),
    np.full(960, 16_000 / 32_768),
    np.sign(voice(1.0)) * 0.45,
    np.full(960, 0.43) + voice(0.05),
    np.zeros(960),
    np.random.default_rng(1).uniform(-1, 1, 960),
]


@pytest.mark.parametrize("sound", LOUD)
def test_bytes_of_16_bit_samples_stay_what_they_are(sound: np.ndarray) -> None:
    """However loud: constant, square, noise."""
    raw = np.rint(sound * 32_767).astype("<i2").tobytes()
    assert raw == as_pcm16(raw)


def test_floats_on_the_scale_of_integers_are_refused() -> None:
    """Clipped, they would be noise at full scale."""
    with pytest.raises(RefusedAudio, match="32768"):
        as_pcm16((voice(0.5) * 32_768).astype(np.float32))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0, 0, (0, 240)), (24, 48, (24, 264)), (23, 23, (0, 286)), (0, 100, (0, 240))],
)
def test_the_sound_of_a_block_is_without_the_zeros_around_it(
    before: int, after: int, expected: tuple[int, int]
) -> None:
    """From one millisecond of them on; those within it stay."""
    sound = np.full(240, 5, np.int16)
    sound[100:150] = 0
    block = np.concatenate((np.zeros(before, np.int16), sound, np.zeros(after, np.int16)))
    assert expected == sound_in(block, 24_000)
    assert (0, 0) == sound_in(np.zeros(480, np.int16), 24_000)
