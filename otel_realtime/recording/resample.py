"""Sound of one rate at another, block by block, by libsoxr.

A stream keeps what its filter needs of the blocks before, so blocks have no borders in the result;
and it begins at its first sample, with no delay.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples

_HIGHEST: Final = float(np.iinfo(np.int16).max)
_LOWEST: Final = float(np.iinfo(np.int16).min)


class Resampler:
    """A stream of 16-bit samples from one rate to another; ``channels`` are columns."""

    def __init__(self, from_hz: int, to_hz: int, channels: int = 1) -> None:
        import soxr  # few recordings need it

        # In floating point: the library dithers integers, and silence must stay silent.
        self._stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        self._nothing = np.zeros((0, channels) if channels > 1 else 0, np.float32)

    def feed(self, samples: Samples) -> Samples:
        """The next samples in; out comes what is ready by now."""
        return self._rounded(samples.astype(np.float32), last=False)

    def finish(self) -> Samples:
        """What was still to come."""
        return self._rounded(self._nothing, last=True)

    def _rounded(self, samples: npt.NDArray[np.float32], *, last: bool) -> Samples:
        found: npt.NDArray[np.float32] = self._stream.resample_chunk(samples, last=last)
        np.rint(found, out=found)
        return np.clip(found, _LOWEST, _HIGHEST, out=found).astype(np.int16)
