"""Resamples audio block by block with libsoxr: https://github.com/dofuuz/python-soxr

A stream keeps the filter's state between blocks, so block borders are inaudible, and it compensates for
the filter's delay.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples

_HIGHEST: Final = float(np.iinfo(np.int16).max)
_LOWEST: Final = float(np.iinfo(np.int16).min)


class Resampler:
    """A stream that converts 16-bit samples from one rate to another.

    Args:
        from_hz: sample rate of the input.
        to_hz: sample rate of the output.
        channels: number of channels; with more than one, samples have the shape ``(n, channels)``.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int = 1) -> None:
        import soxr  # imported here because few recordings need it

        # Floating point, because libsoxr dithers integers, but silence must stay silent.
        self._stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        self._nothing = np.zeros((0, channels) if channels > 1 else 0, np.float32)

    def feed(self, samples: Samples) -> Samples:
        """Convert the next samples; return the output that is ready so far."""
        return self._rounded(samples.astype(np.float32), last=False)

    def finish(self) -> Samples:
        """Return the rest of the output."""
        return self._rounded(self._nothing, last=True)

    def _rounded(self, samples: npt.NDArray[np.float32], *, last: bool) -> Samples:
        output: npt.NDArray[np.float32] = self._stream.resample_chunk(samples, last=last)
        np.rint(output, out=output)
        # The filter overshoots at full scale; without the clip, such values would wrap around.
        return np.clip(output, _LOWEST, _HIGHEST, out=output).astype(np.int16)
