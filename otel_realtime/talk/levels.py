"""Measures how loud a device is, for the screen and the summary."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Level of digital silence, which has no logarithm; below the lowest level of 16 bits (-90 dBFS).
SILENT_DB: Final = -96.0
#: How fast the shown level falls; slow enough that a short sound can be seen.
FALL_DB_PER_S: Final = 40.0
_FULL_SCALE: Final = 32_768.0


class Level:
    """The level of one device; its callback writes it, and the screen reads it.

    Attributes:
        now_db: recent RMS, dBFS, which falls slowly.
        peak_db: highest sample so far, dBFS.
        clipped: number of blocks with a sample at full scale.
    """

    def __init__(self) -> None:
        self.now_db = SILENT_DB
        self.peak_db = SILENT_DB
        self.clipped = 0

    def feed(self, samples: npt.NDArray[Any], rate_hz: int) -> None:
        """Measure one block of 16-bit samples, ``(frames, channels)``."""
        if not samples.size:
            return
        values = samples.astype(np.float64) / _FULL_SCALE
        peak = float(np.abs(values).max())
        rms_db = _db(math.sqrt(float(np.square(values).mean())))
        fallen_db = self.now_db - FALL_DB_PER_S * len(samples) / rate_hz
        self.now_db = max(rms_db, fallen_db, SILENT_DB)
        self.peak_db = max(self.peak_db, _db(peak))
        self.clipped += peak >= 32_767 / _FULL_SCALE


def _db(level: float) -> float:
    return max(20 * math.log10(level), SILENT_DB) if level > 0 else SILENT_DB
