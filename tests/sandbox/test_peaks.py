"""Peaks: each side's loudest sample per bucket, in every resolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otel_realtime.sandbox.peaks import LEVELS_MS, Peaks
from tests.support.kept_call import write_wav


def recording(path: Path, rate: int = 8000, seconds: int = 3) -> np.ndarray:
    """A quiet user in the first second, a loud agent in the second."""
    samples = np.zeros((rate * seconds, 2), "<i2")
    samples[:rate, 0] = 2048
    samples[rate : 2 * rate, 1] = -32768
    write_wav(path, samples, rate)
    return samples


def buckets(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, 2)


@pytest.mark.parametrize("rate", [8000, 24_000, 22_050])
@pytest.mark.parametrize("level", range(len(LEVELS_MS)))
def test_each_side_where_it_is_loud(level: int, rate: int, tmp_path: Path) -> None:
    """The root of the loudest sample, user and agent in turn; borders do not drift."""
    recording(tmp_path / "a.wav", rate)
    found = buckets(Peaks(tmp_path / "peaks").read(tmp_path / "a.wav", level))
    per_second = 1000 / LEVELS_MS[level]
    assert abs(len(found) - 3 * per_second) < 1
    assert found[: int(per_second), 0].tolist() == [64] * int(per_second)
    middle = found[int(1.2 * per_second) + 1 : int(1.9 * per_second)]
    assert all([0, 255] == bucket for bucket in middle.tolist())
    assert found[int(2.1 * per_second) + 1 :].max(initial=0) == 0


def test_a_part_of_a_level(tmp_path: Path) -> None:
    """From a bucket on, so many of them; behind the end there are none."""
    recording(tmp_path / "a.wav")
    peaks = Peaks(tmp_path / "peaks")
    whole = peaks.read(tmp_path / "a.wav", 1)
    assert whole[2 * 40 : 2 * 60] == peaks.read(tmp_path / "a.wav", 1, 40, 20)
    assert b"" == peaks.read(tmp_path / "a.wav", 1, 10_000, 20)


def test_a_changed_recording_is_read_again(tmp_path: Path) -> None:
    """One that was silenced meanwhile, say."""
    path = tmp_path / "a.wav"
    recording(path)
    peaks = Peaks(tmp_path / "peaks")
    assert buckets(peaks.read(path, 4)).max() == 255
    write_wav(path, np.zeros((9000, 2), "<i2"))
    assert buckets(peaks.read(path, 4)).max() == 0


def test_flac_is_read_too(tmp_path: Path) -> None:
    """With the extra."""
    soundfile = pytest.importorskip("soundfile")
    samples = recording(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.flac", samples, 8000)
    peaks = Peaks(tmp_path / "peaks")
    assert peaks.read(tmp_path / "a.wav", 2) == peaks.read(tmp_path / "a.flac", 2)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF____WAVEfmt ", b"no audio at all" * 99])
def test_what_is_no_audio_is_refused(content: bytes, tmp_path: Path) -> None:
    """By an error that says so."""
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError):
        Peaks(tmp_path / "peaks").read(tmp_path / "a.wav", 0)
