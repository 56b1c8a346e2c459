"""Samples of each encoding."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import PCM16, AudioFormat


def test_pcm_comes_through_bit_exact() -> None:
    """Little endian, 16 bits; half a sample at the end is left out."""
    samples = np.array([0, 1, -1, 32_767, -32_768], "<i2")
    assert samples.tolist() == decode(samples.tobytes() + b"\x01", PCM16).tolist()


@pytest.mark.parametrize(
    ("encoding", "code", "sample"),
    [
        ("audio/pcmu", 0x00, -32_124),
        ("audio/pcmu", 0x80, 32_124),
        ("audio/pcmu", 0xFF, 0),
        ("audio/pcmu", 0x7F, 0),
        ("audio/pcmu", 0xA5, 6_652),
        ("audio/pcma", 0xD5, 8),
        ("audio/pcma", 0x55, -8),
        ("audio/pcma", 0x2A, -32_256),
        ("audio/pcma", 0xAA, 32_256),
        ("audio/pcma", 0xC5, 264),
    ],
)
def test_g711_codes(encoding: str, code: int, sample: int) -> None:
    """Values of ITU-T G.711 on the scale of 16 bits."""
    assert decode(bytes([code]), AudioFormat(encoding, 8_000)).tolist() == [sample]


def test_g711_agrees_with_the_standard_library() -> None:
    """All 512 codes, where Python still has a decoder."""
    audioop = pytest.importorskip("audioop")
    codes = bytes(range(256))
    for encoding, reference in (("pcmu", audioop.ulaw2lin), ("pcma", audioop.alaw2lin)):
        decoded = decode(codes, AudioFormat(f"audio/{encoding}", 8_000))
        assert decoded.tolist() == np.frombuffer(reference(codes, 2), np.int16).tolist()


@pytest.mark.parametrize(
    ("encoding", "digest"),
    [
        ("audio/pcmu", "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"),
        ("audio/pcma", "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174"),
    ],
)
def test_g711_tables_are_what_they_were(encoding: str, digest: str) -> None:
    """SHA-256 of what Python's own decoder, gone since 3.13, made of the 256 codes."""
    decoded = decode(bytes(range(256)), AudioFormat(encoding, 8_000)).astype("<i2")
    assert digest == hashlib.sha256(decoded.tobytes()).hexdigest()
