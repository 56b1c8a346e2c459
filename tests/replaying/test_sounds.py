"""Audio beside a log is found by its name, and read or refused in words."""

from __future__ import annotations

import base64
import wave
from pathlib import Path

import numpy as np
import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.replaying.sounds import beside


def wav(
    path: Path, samples: np.ndarray, rate: int = 8_000, channels: int = 1, width: int = 2
) -> None:  # type: ignore[type-arg]
    """Write a WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def test_tracks_of_both_sides(tmp_path: Path) -> None:
    """Of several channels the mean counts."""
    log = tmp_path / "x.jsonl"
    wav(tmp_path / "x.user.wav", np.array([1, 3, 5, 7], "<i2"), channels=2)
    wav(tmp_path / "x.agent.wav", np.zeros(16_000, "<i2"), rate=16_000)
    found = beside(log)
    assert found.user is not None
    assert ([2, 6], 8_000) == (list(found.user.samples), found.user.rate_hz)
    assert (0.25, 1_000.0, None) == (found.user_ms, found.agent_ms, found.sent)


def test_what_was_sent_is_shared_out_among_the_appends(tmp_path: Path) -> None:
    """Whole samples, all of them."""
    sent = np.arange(1_000, dtype="<i2").tobytes()
    (tmp_path / "x.pcm").write_bytes(sent)
    found = beside(tmp_path / "x.jsonl")
    chunks = [base64.b64decode(found.append(n, 7) or "") for n in range(7)]
    assert sent == b"".join(chunks)
    assert {0} == {len(chunk) % 2 for chunk in chunks}
    assert round(found.user_ms or 0, 3) == round(1_000 / 24, 3)


def test_nothing_beside(tmp_path: Path) -> None:
    """Then the log's own audio counts."""
    found = beside(tmp_path / "x.jsonl")
    assert (None, None, None) == (found.user_ms, found.agent_ms, found.append(0, 1))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With the file's name and what is wanted."""
    (tmp_path / "x.user.wav").write_bytes(b"RIFF")
    with pytest.raises(
        ConfigError, match=r"cannot read .*x\.user\.wav: .*PCM of 16 bits is wanted"
    ):
        beside(tmp_path / "x.jsonl")
    wav(tmp_path / "x.user.wav", np.zeros(8, "u1"), width=1)
    with pytest.raises(ConfigError, match="samples of 8 bits: PCM of 16 bits is wanted"):
        beside(tmp_path / "x.jsonl")


def test_a_rate_of_nothing_is_refused(tmp_path: Path) -> None:
    """A header may claim any."""
    path = tmp_path / "x.user.wav"
    wav(path, np.zeros(8, "<i2"))
    data = bytearray(path.read_bytes())
    data[24:28] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="0 Hz"):
        beside(tmp_path / "x.jsonl")
