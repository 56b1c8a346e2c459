"""WAV files of any kind: the samples of the stretch change, and not one other byte."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.redactions import BEEP, SILENCE, Stretch
from otel_realtime.editing.wav import read_layout, silence
from otel_realtime.errors import RecordingError

RATE = 8_000
MS = 1_000_000
#: Format tag and bits -> the byte of silence.
KINDS = {
    (1, 8): 0x80,
    (1, 16): 0,
    (1, 24): 0,
    (1, 32): 0,
    (3, 32): 0,
    (3, 64): 0,
    (6, 8): 0xD5,
    (7, 8): 0xFF,
}
LABELS = b"LIST" + struct.pack("<I", 9) + b"adtlcard!" + b"\0"  # of an odd size, so padded
CUES = b"cue " + struct.pack("<II", 4, 0)


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk, padded to an even size."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(
    frames: int,
    *,
    tag: int = 1,
    bits: int = 16,
    channels: int = 2,
    extensible: bool = False,
    size: int | None = None,
) -> bytes:
    """A WAV whose every byte of sound is 7, with chunks before and behind the sound."""
    width = bits // 8
    form = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, RATE, RATE * width * channels,
        width * channels, bits,
    )  # fmt: skip
    if extensible:
        guid = b"\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
        form += struct.pack("<HHIHH", 22, bits, 3, tag, 0) + guid
    sound = chunk(b"data", b"\x07" * (frames * width * channels))
    if size is not None:
        sound = b"data" + struct.pack("<I", size) + sound[8:]
    body = b"WAVE" + LABELS + chunk(b"fmt ", form) + CUES + sound + LABELS
    return b"RIFF" + struct.pack("<I", len(body)) + body


def silenced(raw: bytes, *stretches: Stretch) -> bytes:
    """The file afterwards."""
    file = io.BytesIO(raw)
    for stretch in stretches:
        silence(file, read_layout(file), stretch)
    return file.getvalue()


def frames_of(raw: bytes, width: int, channels: int) -> np.ndarray:
    """The bytes of the sound, shape (frames, channels, width)."""
    at = raw.index(b"data") + 8
    size = struct.unpack("<I", raw[at - 4 : at])[0]
    return np.frombuffer(raw[at : at + size], np.uint8).reshape(-1, channels, width)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("tag", "bits"), KINDS)
def test_every_kind_of_samples(tag: int, bits: int, extensible: bool) -> None:
    """Silent inside, on the side that was asked for; every other byte of the file is the same."""
    raw = wav(RATE, tag=tag, bits=bits, extensible=extensible)
    found = silenced(raw, Stretch(250 * MS, 500 * MS, "agent"), Stretch(500 * MS, 625 * MS))
    expected = frames_of(raw, bits // 8, 2).copy()
    expected[2_000:4_000, 1] = KINDS[tag, bits]
    expected[4_000:5_000] = KINDS[tag, bits]
    assert np.array_equal(expected, frames_of(found, bits // 8, 2))
    at = raw.index(b"data") + 8
    end = at + RATE * 2 * bits // 8
    assert (raw[:at], raw[end:]) == (found[:at], found[end:])


@given(st.integers(0, 30_000), st.integers(0, 30_000), st.sampled_from([None, "user", "agent"]))
def test_any_stretch(first: int, last: int, side: str | None) -> None:
    """In thirds of a millisecond, over more than one block, and beyond the end."""
    first, last = sorted((first, last))
    raw = wav(2 * RATE + 5)
    found = silenced(raw, Stretch(first * MS // 3, last * MS // 3, side))
    low, high = first * 8 // 3, -(-last * 8 // 3)
    expected = frames_of(raw, 2, 2).copy()
    if first * MS // 3 < last * MS // 3:
        expected[low:high, {"user": [0], "agent": [1], None: [0, 1]}[side]] = 0
    assert len(raw) == len(found)
    # A third of a millisecond is no whole number of ns: a sample at an edge may go either way.
    assert np.count_nonzero(expected != frames_of(found, 2, 2)) <= 2 * 2 * 2


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_number_of_channels(channels: int) -> None:
    """All of them, where no side is named."""
    raw = wav(RATE, channels=channels)
    found = frames_of(silenced(raw, Stretch(0, 500 * MS)), 2, channels)
    assert not found[:4_000].any()
    assert (found[4_000:] == 7).all()


@pytest.mark.parametrize(("tag", "bits", "dtype"), [(1, 16, "<i2"), (1, 32, "<i4"), (3, 32, "<f4")])
def test_a_beep(tag: int, bits: int, dtype: str) -> None:
    """Where samples are numbers, over the edges of blocks."""
    raw = wav(3 * RATE, tag=tag, bits=bits)
    found = silenced(raw, Stretch(500 * MS, 2_500 * MS, None, BEEP))
    samples = frames_of(found, bits // 8, 2).reshape(-1).view(dtype).reshape(-1, 2).astype(float)
    full = 1.0 if tag == 3 else 2.0 ** (bits - 1)
    tone = samples[4_000:20_000, 0] / full
    assert abs(tone).max() == pytest.approx(0.1, rel=0.01)
    assert 1_000 == int(abs(np.fft.rfft(tone)).argmax()) * RATE // len(tone)
    assert np.array_equal(samples[:, 0], samples[:, 1])


@pytest.mark.parametrize(("tag", "bits"), [(1, 8), (1, 24), (6, 8), (7, 8)])
def test_a_beep_that_it_cannot_hold(tag: int, bits: int) -> None:
    """It says so before it changes anything."""
    raw = wav(RATE, tag=tag, bits=bits)
    file = io.BytesIO(raw)
    with pytest.raises(RecordingError, match="cannot hold a beep"):
        silence(file, read_layout(file), Stretch(0, MS, None, BEEP))
    assert raw == file.getvalue()


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 10**9])
def test_a_file_that_does_not_know_its_length(size: int) -> None:
    """Written as a stream, or cut off: it goes to the end of the file."""
    raw = wav(RATE, size=size)[: -len(LABELS)]
    file = io.BytesIO(raw)
    assert RATE == read_layout(file).frames
    silence(file, read_layout(file), Stretch(0, 10**12, None, SILENCE))
    at = raw.index(b"data") + 8
    assert bytes(len(raw) - at) == file.getvalue()[at:]


def test_a_file_beyond_four_gigabytes() -> None:
    """RF64: the size of the sound stands in a chunk of its own."""
    raw = wav(RATE, size=0xFFFF_FFFF)
    sizes = chunk(b"ds64", struct.pack("<QQQI", len(raw), RATE * 4, RATE, 0))
    found = read_layout(io.BytesIO(b"RF64" + raw[4:12] + sizes + raw[12:]))
    assert (RATE, 1_000 * MS) == (found.frames, found.length_ns)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no WAV file"),
        (b"RIFF1234AVI ", "no WAV file"),
        (wav(RATE)[:40], "no sound in it"),
        (b"RIFF1234WAVE" + chunk(b"data", b"1234"), "does not say what its samples are"),
        (wav(RATE, tag=2), r"unknown kind \(format 2, 16 bits\)"),
        (wav(RATE, channels=0), "unknown kind"),
        (wav(RATE, bits=64), "unknown kind"),
    ],
)
def test_what_cannot_be_read_is_named(raw: bytes, message: str) -> None:
    """In one line."""
    with pytest.raises(RecordingError, match=message):
        read_layout(io.BytesIO(raw))


@given(st.binary(max_size=200), st.integers(0, 250))
def test_no_damage_is_an_exception(noise: bytes, at: int) -> None:
    """A header with anything in it is read, or refused."""
    raw = bytearray(wav(20))
    raw[at : at + len(noise)] = noise
    file: Any = io.BytesIO(bytes(raw))
    try:
        layout = read_layout(file)
        silence(file, layout, Stretch(0, 10**12))
    except RecordingError:
        pass
    assert len(raw) == len(file.getvalue())
