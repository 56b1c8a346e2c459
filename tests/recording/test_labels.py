"""Labels are read where they were put: by other readers, and by ours."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import wavinfo
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.recording.about import Mark
from otel_realtime.recording.chunks import chunks_of, wav_header
from otel_realtime.recording.labels import Label, labels_of, pack_labels, read_labels

soundfile = pytest.importorskip("soundfile")

MS = 1_000_000
RATE = 8_000


def written(path: Path, behind: bytes, frames: int = 4_000) -> Path:
    """A silent WAV with chunks behind its samples."""
    path.write_bytes(wav_header(frames, RATE, len(behind)) + bytes(frames * 4) + behind)
    return path


def ours(path: Path) -> list[Label]:
    """What we read."""
    with path.open("rb") as file:
        return read_labels(file, list(chunks_of(file)))


LABELS = [Label(0, 800, "turn 1: user"), Label(1_234, 0, "barge-in"), Label(3_999, 1, "turn 22")]


def test_two_other_readers_find_every_label(tmp_path: Path) -> None:
    """Place, length and text; libsndfile's log lists what it understood."""
    path = written(tmp_path / "a.wav", pack_labels(LABELS))
    assert LABELS == ours(path)
    found = wavinfo.WavInfoReader(str(path)).cues.to_dict().values()
    assert LABELS == [Label(one["frame"], one.get("length", 0), one["label"]) for one in found]
    with soundfile.SoundFile(path) as sound:
        log = sound.extra_info
    assert ["0", "1234", "3999"] == re.findall(r"Cue ID : .* Offset : +(\d+)", log)
    assert [label.text for label in LABELS] == re.findall(r"labl : \d+ : (.*)", log)
    assert "***" not in log


def test_without_labels_there_is_no_chunk() -> None:
    """Nothing to read, nothing to skip."""
    assert b"" == pack_labels([])


def test_marks_become_samples() -> None:
    """At the nearest sample, within the recording; what lies behind its end has no label."""
    marks = [
        Mark(2_000 * MS, 3_000 * MS, "behind the end"),
        Mark(1_000 * MS, 1_000 * MS, "cut at the end"),
        Mark(900 * MS, 2**63, "paused until the end"),
        Mark(-5 * MS, 62_562_500, "from the beginning"),
    ]
    assert [
        Label(0, 501, "from the beginning"),
        Label(7_200, 800, "paused until the end"),
        Label(7_999, 1, "cut at the end"),
    ] == labels_of(marks, RATE, RATE)
    assert [] == labels_of(marks, 0, RATE)


def test_a_sample_that_32_bits_do_not_hold_has_the_last_that_they_do() -> None:
    """After 49 hours."""
    (label,) = labels_of([Mark(600_000_000 * MS, 0, "late")], 2**33, RATE)
    assert 2**32 - 2 == label.frame
    pack_labels([label])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_for_chunks_are_read_without_an_error(body: bytes, cues: bool) -> None:
    """A file may be anybody's."""
    from io import BytesIO

    name, begin = (b"cue ", b"\x09\0\0\0") if cues else (b"LIST", b"adtl")
    content = begin + body
    chunk = name + struct.pack("<I", len(content)) + content
    file = BytesIO(wav_header(0, RATE, len(chunk)) + chunk)
    for label in read_labels(file, list(chunks_of(file))):
        assert 0 <= label.frame < 2**32


def test_a_cut_within_the_last_sample_has_a_label() -> None:
    """A call ends at any time, its recording with a whole sample."""
    end = RATE * 1_000_000_000 // RATE
    sample = 1_000_000_000 // RATE
    for late, expected in ((0, [RATE - 1]), (sample - 1, [RATE - 1]), (2 * sample, [])):
        marks = [Mark(end + late, end + late, "cut by the client")]
        assert expected == [label.frame for label in labels_of(marks, RATE, RATE)]
