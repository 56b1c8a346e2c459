"""The speech files in the package."""

from __future__ import annotations

import numpy as np
import pytest

from otel_realtime.demo import make_voices
from otel_realtime.demo.speech import (
    VOICES,
    _mulaw_codes,
    mulaw_table,
    script,
    silence,
    tone,
    utterance,
)


def test_the_mulaw_table_is_that_of_g711() -> None:
    """Corner values of G.711's decoder, of 32768."""
    values = np.round(mulaw_table() * 32768).astype(int)
    expected = {
        0x00: -32124,
        0x80: 32124,
        0x7E: -8,
        0xFE: 8,
        0x7F: 0,
        0xFF: 0,
        0xF0: 120,
        0x8F: 16764,
    }
    assert expected == {code: int(values[code]) for code in expected}


def test_encoding_finds_the_nearest_code() -> None:
    """Decoding what was encoded gives the same values again."""
    table = mulaw_table()
    codes = np.frombuffer(make_voices.encode(table), np.uint8)
    assert np.array_equal(table, table[codes])


def test_a_written_file_reads_back() -> None:
    """The WAV writer and reader agree, for an odd length too."""
    codes = bytes(range(255))
    assert codes == _mulaw_codes(make_voices.wav(codes)).tobytes()


def test_what_is_no_mulaw_wav_is_refused() -> None:
    """A clear error instead of noise."""
    with pytest.raises(ValueError, match="not a WAV file"):
        _mulaw_codes(b"nonsense, and more of it")


@pytest.mark.parametrize("name", list(script()))
def test_every_line_of_the_script_has_its_sound(name: str) -> None:
    """Each file decodes to speech at a good level, as long as its samples say."""
    spoken = utterance(name)
    samples = np.frombuffer(spoken.pcm, "<i2")
    assert 20_000 < np.abs(samples.astype(int)).max() < 26_000
    file = _mulaw_codes((VOICES / f"{name}.wav").read_bytes())
    assert len(file) // 2 * 3 == len(samples)


def test_the_voices_stay_small() -> None:
    """They are shipped in the package."""
    assert sum(path.stat().st_size for path in VOICES.iterdir()) < 750_000


def test_silence_and_tones_have_the_length_asked_for() -> None:
    """24 samples a millisecond, two bytes each."""
    assert (len(silence(0.01)), len(tone(440, 0.01))) == (480, 480)
