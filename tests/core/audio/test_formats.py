"""Formats: sizes, durations, names on the wire."""

from __future__ import annotations

import pytest

from otel_realtime.core.audio.formats import NS_PER_S, PCM16, AudioFormat, parse_format


def test_sizes_are_whole_samples() -> None:
    """A duration holds as many bytes as samples fit."""
    assert PCM16.size(NS_PER_S // 1_000) == 48
    assert PCM16.size(NS_PER_S // 24_000) == 0  # 41666 ns, a third of a ns short of a sample
    assert PCM16.size(NS_PER_S // 24_000 + 1) == 2
    assert PCM16.duration_ns(48_000) == NS_PER_S
    assert AudioFormat("audio/pcmu", 8_000).duration_ns(8_000) == NS_PER_S


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "audio/pcm", "rate": 24_000}, PCM16),
        ({"type": "audio/pcm"}, PCM16),
        ({"type": "audio/pcm", "rate": 16_000}, AudioFormat("audio/pcm", 16_000)),
        ({"type": "audio/pcmu"}, AudioFormat("audio/pcmu", 8_000)),
        ({"type": "audio/pcmu", "rate": 24_000}, AudioFormat("audio/pcmu", 8_000)),
        ({"type": "audio/pcma", "rate": "fast"}, AudioFormat("audio/pcma", 8_000)),
        ("pcm16", PCM16),
        ("g711_ulaw", AudioFormat("audio/pcmu", 8_000)),
        ("mp3", None),
        ({"type": ["audio/pcm"]}, None),
        ({"type": "audio/pcm", "rate": 0.5}, None),
        ({"type": "audio/pcm", "rate": -1}, None),
        (None, None),
    ],
)
def test_formats_as_sessions_name_them(value: object, expected: AudioFormat | None) -> None:
    """GA objects and beta names."""
    assert parse_format(value) == expected


def test_g711_is_8_khz_whatever_is_claimed() -> None:
    """A tap, too, may take its rate from a session that is wrong."""
    claimed = AudioFormat("audio/pcmu", 24_000)
    assert (8_000, NS_PER_S) == (claimed.rate_hz, claimed.duration_ns(8_000))
    assert claimed == AudioFormat("audio/pcmu", 8_000)


def test_a_format_reads_back_what_it_wrote() -> None:
    """Journals hold formats in the GA spelling."""
    for audio_format in (PCM16, AudioFormat("audio/pcma", 8_000)):
        assert parse_format(audio_format.to_wire()) == audio_format
