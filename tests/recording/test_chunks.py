"""Sizes in the header fit the file, below 4 GiB and beyond it; chunks are found in any file."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import wavinfo

from otel_realtime.recording.about import About
from otel_realtime.recording.chunks import (
    UNKNOWN,
    WAV_HEADER,
    chunk,
    chunks_of,
    resize,
    wav_header,
)
from otel_realtime.recording.description import pack_description
from otel_realtime.recording.labels import Label, pack_labels

soundfile = pytest.importorskip("soundfile")

#: Frames whose samples fill a RIFF to its last byte: what is counted besides is the header from
#: byte 8 on, and one size means "unknown".
MOST_FRAMES = (UNKNOWN - 1 - (WAV_HEADER.size - 8)) // 4


def test_a_chunk_is_padded_but_says_its_own_length() -> None:
    """Chunks begin at even positions."""
    assert b"abcd\x03\0\0\0xyz\0" == chunk(b"abcd", b"xyz")
    assert b"abcd\x02\0\0\0xy" == chunk(b"abcd", b"xy")


@pytest.mark.parametrize(("frames", "behind"), [(0, 0), (24_000, 0), (24_000, 1_234)])
def test_a_small_file_is_a_riff_with_its_samples_at_byte_44(frames: int, behind: int) -> None:
    """The header knows what will stand behind the samples."""
    header = wav_header(frames, 24_000, behind)
    riff, size, *_, length = WAV_HEADER.unpack(header)
    assert (b"RIFF", frames * 4 + behind + 36, frames * 4) == (riff, size, length)


def test_a_file_beyond_4_gib_is_an_rf64() -> None:
    """From the first size on that 32 bits do not hold; then no size stands in 32 bits."""
    assert 44 == len(wav_header(MOST_FRAMES, 24_000))
    for frames, behind in ((MOST_FRAMES + 1, 0), (MOST_FRAMES, 4)):
        header = wav_header(frames, 24_000, behind)
        assert (b"RF64", UNKNOWN, b"WAVE", b"ds64", 28) == struct.unpack("<4sI4s4sI", header[:20])
        sizes = struct.unpack("<QQQI", header[20:48])
        assert (72 + frames * 4 + behind, frames * 4, frames, 0) == sizes
        assert (b"data", UNKNOWN) == struct.unpack("<4sI", header[72:])


def test_chunks_of_a_file_that_is_cut_off_or_none() -> None:
    """As far as it goes; what is no WAV has none; a size beyond the end is cut there."""
    whole = wav_header(2, 8_000, 12) + b"12345678" + chunk(b"abcd", b"xyz")
    found = [(each.name, each.at, each.size) for each in chunks_of(BytesIO(whole))]
    assert [(b"fmt ", 20, 16), (b"data", 44, 8), (b"abcd", 60, 3)] == found
    assert (b"data", 44, 3) == [
        (each.name, each.at, each.size) for each in chunks_of(BytesIO(whole[:47]))
    ][-1]
    for length in range(len(whole)):
        assert len(list(chunks_of(BytesIO(whole[:length])))) <= 3
    assert [] == list(chunks_of(BytesIO(b"fLaC" + whole)))


def test_the_size_of_a_large_sound_is_that_of_its_ds64() -> None:
    """As much of it as the file has."""
    file = BytesIO(wav_header(MOST_FRAMES + 1, 8_000) + b"1234")
    assert [(b"ds64", 28), (b"fmt ", 16), (b"data", 4)] == [
        (each.name, each.size) for each in chunks_of(file)
    ]


@pytest.mark.parametrize("frames", [2, MOST_FRAMES + 1])
def test_a_header_follows_what_is_added_behind(frames: int) -> None:
    """In 32 bits, or in 64."""
    file = BytesIO(wav_header(frames, 8_000) + bytes(20))
    resize(file)
    raw = file.getvalue()
    at, form = (4, "<I") if raw[:4] == b"RIFF" else (20, "<Q")
    assert len(raw) - 8 == struct.unpack_from(form, raw, at)[0]


@pytest.mark.soak
def test_readers_read_a_recording_of_12_hours(tmp_path: Path) -> None:
    """Its last sample, and what stands behind it; the file is sparse: it takes 100 KB."""
    frames = MOST_FRAMES + 24_000 * 60
    about = About(thread_id="t", trace_id="ab" * 16, start_ns=1_800_000_000_000_000_000)
    labels = [Label(0, 24_000, "turn 1: user"), Label(frames - 24_000, 9, "turn 2: agent")]
    behind = pack_description(about, 24_000) + pack_labels(labels)
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.write(wav_header(frames, 24_000, len(behind)))
        file.seek((frames - 2) * 4, 1)
        file.write(np.array([1, 2, 3, 4], "<i2").tobytes() + behind)
    with soundfile.SoundFile(path) as sound:
        assert (frames, "RF64") == (sound.frames, sound.format)
        sound.seek(frames - 2)
        assert [[1, 2], [3, 4]] == sound.read(9, dtype="int16").tolist()
    read = wavinfo.WavInfoReader(str(path))
    assert (frames, "ab" * 16) == (read.data.frame_count, read.bext.originator_ref)
    assert [0, frames - 24_000] == [cue["frame"] for cue in read.cues.to_dict().values()]
