"""How loud a device is."""

from __future__ import annotations

import numpy as np
import pytest

from otel_realtime.talk.levels import FALL_DB_PER_S, SILENT_DB, Level

RATE = 24_000


def block(value: int, frames: int = 480) -> np.ndarray:
    """A block of one value."""
    return np.full((frames, 1), value, np.int16)


def test_silence_has_no_level() -> None:
    """Neither before anything came nor after zeros."""
    level = Level()
    level.feed(block(0), RATE)
    level.feed(block(0, 0), RATE)
    assert (SILENT_DB, SILENT_DB, 0) == (level.now_db, level.peak_db, level.clipped)


def test_full_scale_is_0_dbfs_and_clipped() -> None:
    """Half of it is 6 dB less."""
    level = Level()
    level.feed(block(-32_768), RATE)
    assert (0.0, 0.0, 1) == (level.now_db, level.peak_db, level.clipped)
    half = Level()
    half.feed(block(16_384), RATE)
    assert (pytest.approx(-6.02, abs=0.01), 0) == (half.peak_db, half.clipped)


def test_the_level_falls_slowly_and_the_peak_stays() -> None:
    """A short sound can be seen."""
    level = Level()
    level.feed(block(16_384), RATE)
    level.feed(block(0, RATE // 2), RATE)
    assert -6.02 - FALL_DB_PER_S / 2 == pytest.approx(level.now_db, abs=0.01)
    assert -6.02 == pytest.approx(level.peak_db, abs=0.01)
