"""FLAC and Ogg Opus: silent inside, as long as before; FLAC is the same to the sample outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_realtime.core.audio.redactions import BEEP, Stretch
from otel_realtime.editing.encoded import read_layout, silence
from otel_realtime.errors import RecordingError

soundfile = pytest.importorskip("soundfile")

RATE = 24_000
MS = 1_000_000


def noise(frames: int, channels: int = 2) -> np.ndarray:
    """Loud, and without a zero."""
    found = np.random.default_rng(3).integers(1, 8_000, (frames, channels))
    return found.astype("<i2")


def written(path: Path, samples: np.ndarray, **options: Any) -> Path:
    """A file with tags."""
    with soundfile.SoundFile(
        path, "w", samplerate=RATE, channels=samples.shape[1], **options
    ) as file:
        file.title, file.artist = "call 7", "the agent"
        file.write(samples)
    return path


@pytest.mark.parametrize(("subtype", "dtype"), [("PCM_16", "int16"), ("PCM_24", "int32")])
@pytest.mark.parametrize("side", ["user", "agent", None])
def test_flac_is_exact(tmp_path: Path, subtype: str, dtype: str, side: str | None) -> None:
    """The other side, and everything before and after, bit for bit; the tags, too."""
    samples = noise(3 * RATE + 7)
    path = written(tmp_path / "a.flac", samples, format="FLAC", subtype=subtype)
    whole, _ = soundfile.read(path, dtype=dtype)
    silence(path, tmp_path / "b.part", Stretch(900 * MS, 2_100 * MS, side))
    found, rate_hz = soundfile.read(tmp_path / "b.part", dtype=dtype)
    expected = whole.copy()
    expected[900 * 24 : 2_100 * 24, {"user": [0], "agent": [1], None: [0, 1]}[side]] = 0
    assert RATE == rate_hz
    assert np.array_equal(expected, found)
    with soundfile.SoundFile(tmp_path / "b.part") as file:
        assert ("FLAC", subtype, "call 7", "the agent") == (
            file.format, file.subtype, file.title, file.artist,
        )  # fmt: skip


def test_opus_is_silent_and_as_long(tmp_path: Path) -> None:
    """Lossy outside, nothing inside; the other side goes on."""
    samples = noise(3 * RATE + 7)
    path = written(tmp_path / "a.ogg", samples, format="OGG", subtype="OPUS")
    silence(path, tmp_path / "b.part", Stretch(1_000 * MS, 2_000 * MS, "user"))
    found, rate_hz = soundfile.read(tmp_path / "b.part", dtype="int16")
    assert (RATE, len(samples)) == (rate_hz, len(found))
    inside = found[1_100 * 24 : 1_900 * 24].astype(float)
    assert abs(inside[:, 0]).max() < 80
    assert abs(inside[:, 1]).max() > 2_000
    assert abs(found[: 900 * 24, 0].astype(float)).max() > 2_000
    with soundfile.SoundFile(tmp_path / "b.part") as file:
        assert ("OGG", "OPUS", "call 7") == (file.format, file.subtype, file.title)


def test_a_beep(tmp_path: Path) -> None:
    """As in a WAV."""
    path = written(tmp_path / "a.flac", noise(RATE), format="FLAC", subtype="PCM_16")
    silence(path, tmp_path / "b.part", Stretch(0, 500 * MS, None, BEEP))
    found, _ = soundfile.read(tmp_path / "b.part", dtype="int16")
    assert 3_276 == abs(found[: 500 * 24]).max()


def test_the_layout(tmp_path: Path) -> None:
    """Channels and length."""
    path = written(tmp_path / "a.flac", noise(RATE, 1), format="FLAC", subtype="PCM_16")
    layout = read_layout(path)
    assert (1, 1_000 * MS) == (layout.channels, layout.length_ns)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """In one line."""
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC and nothing else")
    with pytest.raises(RecordingError, match="cannot read"):
        read_layout(path)
    with pytest.raises(RecordingError, match="cannot silence"):
        silence(path, tmp_path / "b.part", Stretch(0, MS))


def test_without_soundfile_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra, by its name."""
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(RecordingError, match=r"otel-realtime\[audio-formats\]"):
        read_layout(tmp_path / "a.flac")
