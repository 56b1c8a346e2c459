"""A question as sound, for clients that send nothing else: PCM16 at 24 kHz, then silence."""

from __future__ import annotations

import math
from array import array
from typing import Final

_RATE: Final = 24_000
_WAVE: Final = [
    int(8_000 * math.sin(2 * math.pi * 330 * at / _RATE)) for at in range(_RATE * 6 // 10)
]
#: 0.6 s of a tone, 0.4 s of silence.
QUESTION: Final = array("h", _WAVE).tobytes() + bytes(_RATE * 2 * 4 // 10)
