"""Files are replaced whole or not at all, and keep their mode, their links and their kind."""

from __future__ import annotations

import os
import stat
import wave
from pathlib import Path

import numpy as np
import pytest
import wavinfo

from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.delivery.attachments import encode
from otel_realtime.editing import wav as wav_module
from otel_realtime.editing.files import silence
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import About
from otel_realtime.recording.chunks import wav_header
from otel_realtime.recording.comments import read_comments
from otel_realtime.recording.description import pack_description
from otel_realtime.recording.labels import Label, pack_labels

RATE = 8_000
MS = 1_000_000
STRETCH = Stretch(250 * MS, 500 * MS)


def recording(path: Path, seconds: int = 1) -> Path:
    """A recording without a zero in it."""
    path.write_bytes(wav_header(seconds * RATE, RATE) + b"\x07" * (seconds * RATE * 4))
    return path


def loud(path: Path) -> list[tuple[int, int]]:
    """Where the user's side is loud, in ms."""
    samples = np.frombuffer(path.read_bytes()[44:], "<i2")[::2]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], samples != 0, [0]))))
    return [(int(a) // 8, int(b) // 8) for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o440])
def test_in_place(tmp_path: Path, mode: int) -> None:
    """The same name, mode and size; nothing else is left in the folder."""
    path = recording(tmp_path / "a.wav")
    size = path.stat().st_size
    path.chmod(mode)
    assert STRETCH == silence(path, STRETCH)
    assert [(0, 250), (500, 1_000)] == loud(path)
    assert (mode, size) == (stat.S_IMODE(path.stat().st_mode), path.stat().st_size)
    assert ["a.wav"] == os.listdir(tmp_path)


def test_to_another_file(tmp_path: Path) -> None:
    """The original stays; what was there before is replaced, and is as readable as it was."""
    path, out = recording(tmp_path / "a.wav"), tmp_path / "b.wav"
    before = path.read_bytes()
    silence(path, STRETCH, out)
    assert (before, [(0, 250), (500, 1_000)]) == (path.read_bytes(), loud(out))
    out.write_bytes(b"old")
    out.chmod(0o604)
    silence(path, STRETCH, out)
    assert (0o604, [(0, 250), (500, 1_000)]) == (stat.S_IMODE(out.stat().st_mode), loud(out))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is silenced."""
    path, link = recording(tmp_path / "a.wav"), tmp_path / "link.wav"
    link.symlink_to(path)
    silence(link, STRETCH)
    assert (True, [(0, 250), (500, 1_000)]) == (link.is_symlink(), loud(path))


def test_what_goes_wrong_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, in the middle of it."""

    def fail(*given: object) -> None:
        raise OSError(28, "No space left on device")

    path = recording(tmp_path / "a.wav")
    before = path.read_bytes()
    monkeypatch.setattr(wav_module, "silence", fail)
    with pytest.raises(RecordingError, match="No space left"):
        silence(path, STRETCH)
    assert (before, ["a.wav"]) == (path.read_bytes(), os.listdir(tmp_path))


def test_it_ends_with_the_recording(tmp_path: Path) -> None:
    """And says so."""
    path = recording(tmp_path / "a.wav")
    assert Stretch(250 * MS, 1_000 * MS) == silence(path, Stretch(250 * MS, 10**15))
    assert [(0, 250)] == loud(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp3", b"ID3 and so on", "is no recording: neither WAV nor FLAC nor Ogg"),
        ("a.wav", b"", "is no recording"),
        ("a.wav", b"RIFF1234AVI and so on", "is no WAV file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """Whatever their name says."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        silence(path, STRETCH)
    assert content == path.read_bytes()


def test_what_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    """One line each, no traceback."""
    path, loop = recording(tmp_path / "a.wav"), tmp_path / "loop.wav"
    loop.symlink_to(loop)
    for source, out, message in (
        (tmp_path / "b.wav", None, "No such file"),
        (tmp_path, None, "is not a file"),
        (loop, None, "cannot silence"),
        (path, tmp_path / "no" / "b.wav", "No such file"),
        (path, tmp_path / "b.flac", "written as WAV"),
    ):
        with pytest.raises(RecordingError, match=message):
            silence(source, STRETCH, out)


def test_a_stretch_that_it_does_not_have(tmp_path: Path) -> None:
    """Beyond the end, or of a side of a file with one channel."""
    path = recording(tmp_path / "a.wav")
    with pytest.raises(RecordingError, match=r"is only 1\.000 s long"):
        silence(path, Stretch(1_000 * MS, 2_000 * MS))
    mono = tmp_path / "mono.wav"
    header = bytearray(wav_header(RATE, RATE))
    header[22:24], header[32:34] = b"\1\0", b"\2\0"
    mono.write_bytes(bytes(header) + b"\x07" * (4 * RATE))
    with pytest.raises(RecordingError, match="has no sides"):
        silence(mono, Stretch(0, MS, "user"))
    silence(mono, STRETCH)


def described(path: Path) -> Path:
    """A recording that this package made, a second long."""
    about = About(thread_id="t", trace_id="ab" * 16, start_ns=1_795_000_000_000_000_000)
    behind = pack_description(about, RATE, -20.0) + pack_labels([Label(4_000, 8, "turn 1: user")])
    path.write_bytes(wav_header(RATE, RATE, len(behind)) + b"\x07" * (RATE * 4) + behind)
    return path


def test_a_recording_of_ours_says_what_was_silenced(tmp_path: Path) -> None:
    """A label more each time, and no loudness any more; all else as before."""
    path = described(tmp_path / "a.wav")
    before = wavinfo.WavInfoReader(str(path))
    silence(path, STRETCH)
    silence(path, Stretch(0, 1 * MS, "user"))
    read = wavinfo.WavInfoReader(str(path))
    assert [
        (0, 8, "redacted: user"),
        (2_000, 2_000, "redacted: both sides"),
        (4_000, 8, "turn 1: user"),
    ] == [(cue["frame"], cue["length"], cue["label"]) for cue in read.cues.to_dict().values()]
    assert {**before.bext.to_dict(), "loudness_value": 327.67} == read.bext.to_dict()
    assert before.info.to_dict() == read.info.to_dict()
    assert path.stat().st_size - 8 == int.from_bytes(path.read_bytes()[4:8], "little")
    with wave.open(str(path)) as file:
        assert RATE == file.getnframes()


@pytest.mark.parametrize("name", ["flac", "opus"])
def test_an_encoded_recording_of_ours_says_so_too(tmp_path: Path, name: str) -> None:
    """A chapter more; the other comments stay."""
    pytest.importorskip("soundfile")
    path = encode(described(tmp_path / "a.wav"), name)
    before = read_comments(path)
    assert before is not None
    silence(path, STRETCH)
    assert [
        *before[:-2],
        "CHAPTER001=00:00:00.250",
        "CHAPTER001NAME=redacted: both sides",
        "CHAPTER002=00:00:00.500",
        "CHAPTER002NAME=turn 1: user",
    ] == read_comments(path)
    assert {path.name, "a.wav"} == set(os.listdir(tmp_path))
