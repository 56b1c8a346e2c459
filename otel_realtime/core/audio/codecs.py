"""What audio of the Realtime API sounds like: bytes of a source become 16-bit samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.formats import ALAW, MULAW, AudioFormat

Samples = npt.NDArray[np.int16]


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


_TABLES: Final[Mapping[str, Samples]] = {MULAW: _mulaw_table(), ALAW: _alaw_table()}


def decode(raw: bytes, audio_format: AudioFormat) -> Samples:
    """Turn source bytes into 16-bit samples at the format's own rate.

    A trailing part of a sample is left out. PCM comes through bit-exact and is a view of ``raw``.
    """
    table = _TABLES.get(audio_format.encoding)
    if table is not None:
        return table[np.frombuffer(raw, np.uint8)]
    return np.frombuffer(raw, "<i2", len(raw) // 2)
