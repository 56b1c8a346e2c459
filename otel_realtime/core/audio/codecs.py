"""Decodes audio of the Realtime API: bytes of a source become 16-bit samples.

G.711 is decoded by table, because Python 3.13 removed ``audioop`` (PEP 594).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.formats import ALAW, MULAW, AudioFormat

#: 16-bit samples of one channel.
Samples = npt.NDArray[np.int16]


def _mulaw_table() -> Samples:
    """Return the 256 values of mu-law (https://www.itu.int/rec/T-REC-G.711).

    A code is stored inverted: one sign bit, three exponent bits, four mantissa bits. The encoder
    adds a bias of 0x84 so that every segment has a hidden leading bit.
    """
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    """Return the 256 values of A-law (https://www.itu.int/rec/T-REC-G.711).

    A code is stored with its even bits inverted. There is no bias, so the lowest segment has no
    hidden leading bit.
    """
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + 8  # the middle of the quantization interval
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES: Final[Mapping[str, Samples]] = {MULAW: _mulaw_table(), ALAW: _alaw_table()}


def decode(raw: bytes, audio_format: AudioFormat) -> Samples:
    """Decode source bytes into 16-bit samples at the format's own rate.

    An incomplete sample at the end is left out.

    Returns:
        Samples of shape ``(n,)``. PCM is bit-exact and a read-only view of ``raw``.
    """
    table = _TABLES.get(audio_format.encoding)
    if table is not None:
        return table[np.frombuffer(raw, np.uint8)]
    return np.frombuffer(raw, "<i2", len(raw) // 2)
