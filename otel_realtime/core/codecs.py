"""Audio formats of the Realtime API: sizes, durations and samples.

A format is named as on the wire: GA sessions say ``{"type": "audio/pcm", "rate": 24000}``,
beta sessions say ``"pcm16"``. Sources keep audio as received, so everything that counts bytes
goes through :class:`AudioFormat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How the bytes of one side are to be read.

    Attributes:
        encoding: ``audio/pcm`` (16 bit, little endian, mono), ``audio/pcmu`` or ``audio/pcma``.
        rate_hz: samples per second.
    """

    encoding: str = "audio/pcm"
    rate_hz: int = 24_000

    @property
    def width(self) -> int:
        """Bytes per sample."""
        return _WIDTHS[self.encoding]

    @property
    def bytes_per_s(self) -> int:
        """Bytes per second of audio."""
        return self.width * self.rate_hz

    def duration_ns(self, nbytes: int) -> int:
        """How long ``nbytes`` of audio play, rounded down."""
        return nbytes * NS // self.bytes_per_s

    def size(self, duration_ns: int) -> int:
        """Bytes of the whole samples that fit into a duration."""
        return duration_ns * self.rate_hz // NS * self.width

    def to_wire(self) -> dict[str, object]:
        """The format as a GA session names it."""
        return {"type": self.encoding, "rate": self.rate_hz}


_WIDTHS: Final[Mapping[str, int]] = {"audio/pcm": 2, "audio/pcmu": 1, "audio/pcma": 1}
_BETA_NAMES: Final[Mapping[str, AudioFormat]] = {
    "pcm16": AudioFormat(),
    "g711_ulaw": AudioFormat("audio/pcmu", 8_000),
    "g711_alaw": AudioFormat("audio/pcma", 8_000),
}
PCM16: Final = AudioFormat()
"""What a session uses unless it says otherwise: PCM16 at 24 kHz."""


def parse_format(value: object) -> AudioFormat | None:
    """Read a format as GA (an object) or beta sessions (a name) give it; None if unknown."""
    if isinstance(value, str):
        return _BETA_NAMES.get(value)
    if not isinstance(value, Mapping):
        return None
    encoding = value.get("type")
    if not isinstance(encoding, str) or encoding not in _WIDTHS:
        return None
    rate = value.get("rate") or (24_000 if encoding == "audio/pcm" else 8_000)
    if type(rate) is not int or not 1_000 <= rate <= 384_000:
        return None
    return AudioFormat(encoding, rate)


def _mulaw_table() -> Samples:
    """ITU-T G.711 mu-law: 8 bits, inverted; sign, 3 bits of exponent, 4 of mantissa."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    """ITU-T G.711 A-law: 8 bits, even bits inverted; the lowest segment has no hidden bit."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES: Final[Mapping[str, Samples]] = {"audio/pcmu": _mulaw_table(), "audio/pcma": _alaw_table()}


def decode(raw: bytes, audio_format: AudioFormat) -> Samples:
    """Turn source bytes into 16-bit samples at the format's own rate.

    A trailing part of a sample is left out. PCM comes through bit-exact and is a view of ``raw``.
    """
    table = _TABLES.get(audio_format.encoding)
    if table is not None:
        return table[np.frombuffer(raw, np.uint8)]
    return np.frombuffer(raw, "<i2", len(raw) // 2)
