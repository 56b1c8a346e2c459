"""How loud a channel is: integrated loudness by ITU-R BS.1770-5, in LUFS.

https://www.itu.int/rec/R-REC-BS.1770. What counts is the power of the K-weighted samples in blocks of
400 ms that begin every 100 ms, without those below -70 LUFS, and then without those 10 LU below the
mean of the others. So silence between turns does not count.

Only the power of the weighted samples is wanted, not the samples. What a filter leaves of a signal's
power is a weighted sum of the signal's autocorrelation: the weights are the cosine series of the
filter's power response. So the filter, which would take seconds for an hour of stereo, becomes a few
scalar products of the signal with itself:

- The shelf (+4 dB above 1.7 kHz) changes nothing above 4 kHz. Its series is one of the signal at about
  8 kHz (means of neighbours), plus a share of the power of the whole signal. ``Weighting.series`` is
  fitted so that it is nowhere further from the filter than 0.1 dB, so no signal is measured further
  from its loudness.
- The high-pass (below 100 Hz) would need a long series. It is applied as it is, but to the mean of each
  millisecond: that is all that it changes.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

#: What is added to the power, in dB: a sine of 997 Hz at full scale has -3.01 LUFS.
_OFFSET: Final = -0.691
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0
#: Blocks of 400 ms begin every 100 ms: a step is what is measured, four steps are a block.
_STEPS_A_SECOND: Final = 10
_STEPS_A_BLOCK: Final = 4
_FULL_SCALE: Final = 32_768.0

#: The rate for which the recommendation has its filters, and these as analogue prototypes that give
#: its coefficients there: frequency (Hz), quality, and the shelf's gain (dB).
#: https://github.com/jiixyj/libebur128
_OF_THE_FILTERS_HZ: Final = 48_000
_SHELF: Final = (1_681.974450955533, 0.7071752369554196, 3.999843853973347)
_HIGH_PASS: Final = (38.13547087602444, 0.5003270373238773)
#: Exponent of the shelf's gain in its middle.
_MIDDLE: Final = 0.4996667741545416

#: Rates of what the shelf and the high-pass are applied to, Hz.
_SHELF_HZ: Final = 8_000
_HIGH_PASS_HZ: Final = 1_000
#: Terms of the series besides the constant.
_TERMS: Final = 5
#: Length of the high-pass's impulse response.
_TAPS: Final = 64
#: A step is put through it in so many parts at most.
_MOST_PARTS: Final = 5
#: What is measured at once: each step takes longer with less, or with more than a cache holds.
_SAMPLES_AT_ONCE: Final = 200_000
#: Frequencies at which the series is fitted, and how often: each time the worst get more weight.
_POINTS: Final = 257
_ROUNDS: Final = 40


class LoudnessMeter:
    """Measures one channel, fed in order.

    Args:
        rate_hz: sample rate.
    """

    def __init__(self, rate_hz: int) -> None:
        self._weighting = weighting_of(rate_hz)
        steps = max(_SAMPLES_AT_ONCE // self._weighting.step, 1)
        self._waiting: Floats = np.empty(steps * self._weighting.step, np.float32)
        self._size = 0  # samples that wait
        self._silent = True  # they are silent
        # What precedes them: there was silence before the first sample.
        self._near: Floats = np.zeros(_TERMS, np.float32)
        self._far: Floats = np.zeros(_TAPS - 1, np.float32)
        self._after_silence = True
        self._powers = array("f")

    def feed(self, samples: Samples) -> None:
        """Measure the next samples; shape ``(n,)``."""
        while samples.size:
            part = samples[: self._waiting.size - self._size]
            self._waiting[self._size : self._size + part.size] = part
            self._silent = self._silent and not part.any()
            self._size += part.size
            samples = samples[part.size :]
            if self._size == self._waiting.size:
                self._measure()

    @property
    def powers(self) -> Doubles:
        """Power of each step of 100 ms so far; full scale is 1."""
        self._measure()
        return np.frombuffer(self._powers.tobytes(), np.float32).astype(np.float64)

    def _measure(self) -> None:
        """Measure all whole steps that wait."""
        steps, rest = divmod(self._size, self._weighting.step)
        if not steps:
            return
        whole = self._waiting[: self._size - rest]
        if self._silent and self._after_silence:
            self._powers.frombytes(bytes(4 * steps))
        else:
            energies = self._energies(whole, steps)
            powers = np.maximum(energies, 0.0) * (_GAIN / (self._weighting.step * _FULL_SCALE**2))
            self._powers.frombytes(powers.astype(np.float32).tobytes())
            self._after_silence = not (self._near.any() or self._far.any())
        self._waiting[:rest] = self._waiting[self._size - rest : self._size]
        self._size, self._silent = rest, self._silent or not rest

    def _energies(self, samples: Floats, steps: int) -> Doubles:
        """Return the energy of each step behind both filters."""
        weighting = self._weighting
        means = _means(samples, steps, weighting.to_near)
        near = np.concatenate((self._near, means))
        far = np.concatenate((self._far, _means(means, steps, weighting.to_far)))
        self._near, self._far = near[-_TERMS:].copy(), far[1 - _TAPS :].copy()
        energies = np.zeros(steps)
        if weighting.share:
            energies += weighting.share * _products(samples, 0, 0, steps)
        for lag, weight in enumerate(weighting.series):
            energies += weight * _products(near, _TERMS, lag, steps)
        seen, made = weighting.high_pass.shape
        rows = np.lib.stride_tricks.sliding_window_view(far, seen)[::made]
        passed = rows.reshape(steps, -1, seen) @ weighting.high_pass
        taken: Doubles = np.square(passed).sum(axis=(1, 2)) - _products(far, _TAPS - 1, 0, steps)
        return energies + weighting.near * weighting.far * taken


def _means(samples: Floats, steps: int, weights: Floats) -> Floats:
    """Return the means of as many neighbours each as there are weights."""
    if weights.size == 1:
        return samples
    # Step by step: a larger product would be given to all cores, and to start them costs more.
    means: Floats = samples.reshape(steps, -1, weights.size) @ weights
    return means.ravel()


def _products(samples: Floats, first: int, lag: int, steps: int) -> Doubles:
    """Return each step's scalar product with the samples ``lag`` before it.

    Args:
        samples: samples of all steps, and some before them.
        first: index of the first one of a step.
        lag: not more than ``first``.
        steps: number of steps.
    """
    size = samples.size - first
    rows = samples[first:].reshape(steps, 1, -1)
    earlier = samples[first - lag : first - lag + size].reshape(steps, -1, 1)
    return (rows @ earlier)[:, 0, 0].astype(np.float64)


def integrated(meters: Sequence[LoudnessMeter]) -> float | None:
    """Return the loudness of some channels together, in LUFS.

    Args:
        meters: their meters, fed with as many samples each.

    Returns:
        The loudness; ``None`` if nothing was as loud as -70 LUFS for 400 ms.
    """
    powers = np.sum([meter.powers for meter in meters], axis=0)
    if powers.size < _STEPS_A_BLOCK:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(powers, _STEPS_A_BLOCK)
    blocks: Doubles = windows.mean(axis=1)
    blocks = blocks[blocks > 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
    if not blocks.size:
        return None
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return _OFFSET + 10 * math.log10(blocks.mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighting:
    """The K-weighting at one sample rate.

    Attributes:
        step: samples of a step.
        near: samples of one at about 8 kHz: the mean of its neighbours.
        far: those of one at about 1 kHz, by the same rule.
        to_near, to_far: weights of the means.
        share: how much of a signal's power counts.
        series: how much of its autocorrelation at about 8 kHz does, by lag.
        high_pass: turns samples at about 1 kHz into the last ones of them behind the high-pass.
    """

    step: int
    near: int
    far: int
    to_near: Floats
    to_far: Floats
    share: float
    series: Sequence[float]
    high_pass: Floats


@lru_cache(maxsize=8)
def weighting_of(rate_hz: int) -> Weighting:
    """Return the K-weighting at a sample rate."""
    near = max(rate_hz // _SHELF_HZ, 1)
    far = max(round(rate_hz / near / _HIGH_PASS_HZ), 1)
    means = max(round(rate_hz / near / far / _STEPS_A_SECOND), 1)
    made = means // max(parts for parts in range(1, _MOST_PARTS + 1) if means % parts == 0)
    share, *series = _fitted(rate_hz, near)
    response = _impulse_response(rate_hz / near / far)
    high_pass = np.zeros((made + _TAPS - 1, made), np.float32)
    for column in range(made):
        high_pass[column : column + _TAPS, column] = response[::-1]
    return Weighting(
        step=means * near * far,
        near=near,
        far=far,
        to_near=np.full(near, 1 / near, np.float32),
        to_far=np.full(far, 1 / far, np.float32),
        share=share,
        series=[near * weight for weight in series],
        high_pass=high_pass,
    )


def _fitted(rate_hz: int, near: int) -> list[float]:
    """Return what is nearest to the shelf's power response, in dB: the share, and the series.

    It is exact at 0 Hz: the high-pass takes from there what must be there.
    """
    angles = np.linspace(0, np.pi, _POINTS)
    wanted, basis = shelf_power(angles, rate_hz), power_basis(angles, near)
    # What is exact at 0 Hz: the constant term, and how the others differ from it.
    constant, others = basis[:, 1], np.delete(basis, 1, axis=1)
    differences = others - constant[:, None] * others[0]
    weights = 1 / wanted
    for _ in range(_ROUNDS):
        target = (wanted - constant * wanted[0]) * weights
        found = np.linalg.lstsq(differences * weights[:, None], target, rcond=None)[0]
        reached = constant * wanted[0] + differences @ found
        errors = np.abs(np.log(reached / wanted))
        weights = weights * np.sqrt(1 + 2 * errors / errors.max())
        weights /= weights.max()
    share, *series = found.tolist()
    return [share, float(wanted[0] - found @ others[0]), *series]


def power_basis(angles: Doubles, near: int) -> Doubles:
    """Return what the share and each term of the series count of a power at some frequencies.

    Args:
        angles: frequencies, as angles: pi is half the sample rate.
        near: samples of a mean.
    """
    lags = np.cos(near * np.outer(angles, np.arange(_TERMS + 1)))
    if near == 1:  # the whole signal and the means are the same
        return np.concatenate((np.zeros((angles.size, 1)), lags), axis=1)
    half = np.maximum(angles / 2, 1e-9)
    mean = np.square(np.sin(near * half) / (near * np.sin(half)))
    return np.concatenate((np.ones((angles.size, 1)), lags * mean[:, None]), axis=1)


def shelf_power(angles: Doubles, rate_hz: int) -> Doubles:
    """Return the power response of the shelf; arguments as for ``power_basis``.

    It is that of the filter at 48 kHz: how loud something is does not depend on its sample rate.
    """
    frequency, quality, gain_db = _SHELF
    k = math.tan(math.pi * frequency / _OF_THE_FILTERS_HZ)
    high = 10 ** (gain_db / 20)
    middle = high**_MIDDLE * k / quality
    z = np.exp(-1j * np.minimum(angles * (rate_hz / _OF_THE_FILTERS_HZ), np.pi))
    above = (high + middle + k * k) + 2 * (k * k - high) * z + (high - middle + k * k) * z * z
    below = (1 + k / quality + k * k) + 2 * (k * k - 1) * z + (1 - k / quality + k * k) * z * z
    power: Doubles = np.abs(above / below) ** 2
    return power


def _high_pass_scale(rate_hz: float) -> tuple[float, float]:
    """Return the high-pass's frequency as ``tan(w / 2)``, and what its coefficients are divided by."""
    frequency, quality = _HIGH_PASS
    k = math.tan(math.pi * frequency / rate_hz)
    return k, 1 + k / quality + k * k


def _impulse_response(rate_hz: float) -> Doubles:
    """Return the first ``_TAPS`` samples of the high-pass's impulse response."""
    _, quality = _HIGH_PASS
    k, scale = _high_pass_scale(rate_hz)
    first, second = 2 * (k * k - 1) / scale, (1 - k / quality + k * k) / scale
    response = [0.0, 0.0]
    for given in (1 / scale, -2 / scale, 1 / scale, *[0.0] * (_TAPS - 3)):
        response.append(given - first * response[-1] - second * response[-2])
    taps: Doubles = np.array(response[2:])
    taps -= taps.mean()  # nothing of a constant passes
    return taps


#: The recommendation does not divide the high-pass's numerator: at 48 kHz it lets pass 0.04 dB more.
_GAIN: Final = _high_pass_scale(_OF_THE_FILTERS_HZ)[1] ** 2
