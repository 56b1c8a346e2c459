"""A clip: exactly the samples of a stretch."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest

from otel_realtime.sandbox.clips import clip
from tests.support.kept_call import write_wav

SAMPLES = np.arange(16_000, dtype="<i2").reshape(-1, 2)  # one second at 8 kHz


def frames(data: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(data)) as file:
        assert (2, 2, 8000) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


@pytest.mark.parametrize(("start", "end"), [(0, 1000), (250, 500), (999, 1000), (900, 5000)])
def test_the_stretch_and_nothing_else(start: int, end: int, tmp_path: Path) -> None:
    """Both sides; up to the end of the recording."""
    path = write_wav(tmp_path / "a.wav", SAMPLES)
    assert SAMPLES[start * 8 : end * 8].tolist() == frames(clip(path, start, end)).tolist()


def test_of_flac(tmp_path: Path) -> None:
    """A clip is WAV whatever the recording is."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.flac", SAMPLES, 8000)
    assert SAMPLES[800:1600].tolist() == frames(clip(tmp_path / "a.flac", 100, 200)).tolist()


@pytest.mark.parametrize(("start", "end"), [(500, 500), (600, 500), (-1, 500), (1000, 2000)])
def test_no_stretch(start: int, end: int, tmp_path: Path) -> None:
    """Empty, backwards, before the start, behind the end."""
    with pytest.raises(ValueError):
        clip(write_wav(tmp_path / "a.wav", SAMPLES), start, end)
