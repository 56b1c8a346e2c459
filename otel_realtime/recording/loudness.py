"""Measures how loud a channel is: integrated loudness by ITU-R BS.1770-5, in LUFS.

https://www.itu.int/rec/R-REC-BS.1770. Loudness is the mean power of the K-weighted samples in blocks of
400 ms that begin every 100 ms. Blocks below -70 LUFS are left out first, and then those more than 10 LU
below the mean of the others. So silence between turns does not count.

Only the power of the weighted samples is needed, not the samples. The power that a filter passes is a
weighted sum of the signal's autocorrelation, and the weights are the cosine series of the filter's power
response. So instead of the filter, which would take seconds for an hour of stereo, a few scalar products
of the signal with itself are enough:

- The shelf (+4 dB above 1.7 kHz) is flat above 4 kHz. Its series is one of the signal at about 8 kHz
  (means of neighbouring samples), plus a share of the power of the whole signal. ``Weighting.series`` is
  fitted so that it deviates from the filter by at most 0.1 dB at any frequency, so no signal's measured
  loudness deviates by more.
- The high-pass (below 100 Hz) would need a long series. It is applied directly, but only to the mean of
  each millisecond, because it changes nothing at higher frequencies.
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

#: Offset that is added to the power in dB: a sine of 997 Hz at full scale has -3.01 LUFS.
_OFFSET: Final = -0.691
_ABSOLUTE_GATE: Final = -70.0
_RELATIVE_GATE: Final = -10.0
#: Blocks of 400 ms begin every 100 ms: power is measured in steps of 100 ms, and a block has four steps.
_STEPS_A_SECOND: Final = 10
_STEPS_A_BLOCK: Final = 4
_FULL_SCALE: Final = 32_768.0

#: The rate for which the recommendation gives its filter coefficients, and the analogue prototypes that
#: yield these coefficients at that rate: frequency (Hz), quality, and the shelf's gain (dB).
#: https://github.com/jiixyj/libebur128
_OF_THE_FILTERS_HZ: Final = 48_000
_SHELF: Final = (1_681.974450955533, 0.7071752369554196, 3.999843853973347)
_HIGH_PASS: Final = (38.13547087602444, 0.5003270373238773)
#: Exponent of the shelf's gain at its middle.
_MIDDLE: Final = 0.4996667741545416

#: Approximate rates of the signals to which the shelf and the high-pass are applied, Hz.
_SHELF_HZ: Final = 8_000
_HIGH_PASS_HZ: Final = 1_000
#: Number of terms of the series besides the constant.
_TERMS: Final = 5
#: Length of the high-pass's impulse response.
_TAPS: Final = 64
#: A step is filtered in at most this many parts.
_MOST_PARTS: Final = 5
#: Number of samples measured at once. With fewer, or with more than a cache holds, each step takes longer.
_SAMPLES_AT_ONCE: Final = 200_000
#: Number of frequencies at which the series is fitted, and of rounds: each gives the worst more weight.
_POINTS: Final = 257
_ROUNDS: Final = 40


class LoudnessMeter:
    """Measures one channel; its samples are fed in order.

    Args:
        rate_hz: sample rate.
    """

    def __init__(self, rate_hz: int) -> None:
        self._weighting = weighting_of(rate_hz)
        steps = max(_SAMPLES_AT_ONCE // self._weighting.step, 1)
        self._waiting: Floats = np.empty(steps * self._weighting.step, np.float32)
        self._size = 0  # number of waiting samples
        self._silent = True  # whether all waiting samples are zero
        # The samples before the waiting ones: silence precedes the first sample.
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
        """Measure all whole steps that are waiting."""
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
        """Return the energy of each step after both filters."""
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
    """Return the mean of each group of neighbours; a group has as many samples as there are weights."""
    if weights.size == 1:
        return samples
    # Step by step: a larger product would run on all cores, and starting them costs more.
    means: Floats = samples.reshape(steps, -1, weights.size) @ weights
    return means.ravel()


def _products(samples: Floats, first: int, lag: int, steps: int) -> Doubles:
    """Return the scalar product of each step with the samples ``lag`` before it.

    Args:
        samples: samples of all steps, preceded by ``first`` earlier ones.
        first: index of the first sample of the first step.
        lag: at most ``first``.
        steps: number of steps.
    """
    size = samples.size - first
    rows = samples[first:].reshape(steps, 1, -1)
    earlier = samples[first - lag : first - lag + size].reshape(steps, -1, 1)
    return (rows @ earlier)[:, 0, 0].astype(np.float64)


def integrated(meters: Sequence[LoudnessMeter]) -> float | None:
    """Return the loudness of some channels together, in LUFS.

    Args:
        meters: their meters, each fed with the same number of samples.

    Returns:
        The loudness; ``None`` if nothing exceeded -70 LUFS for 400 ms.
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
        step: number of samples in a step.
        near: number of samples whose mean is one sample at about 8 kHz.
        far: number of those whose mean is one sample at about 1 kHz.
        to_near, to_far: weights of these means.
        share: weight of the signal's whole power.
        series: weights of its autocorrelation at about 8 kHz, by lag.
        high_pass: matrix that turns samples at about 1 kHz into the last of them after the high-pass.
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
    """Return the share and the series whose power response is closest to the shelf's, in dB.

    They are exact at 0 Hz, because the high-pass later subtracts the power there.
    """
    angles = np.linspace(0, np.pi, _POINTS)
    wanted, basis = shelf_power(angles, rate_hz), power_basis(angles, near)
    # Fit only terms that keep it exact at 0 Hz: the differences of the other terms from the constant.
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
    """Return how much of the power at some frequencies the share and each term of the series count.

    Args:
        angles: frequencies as angles: pi is half the sample rate.
        near: number of samples in a mean.
    """
    lags = np.cos(near * np.outer(angles, np.arange(_TERMS + 1)))
    if near == 1:  # the means are the whole signal
        return np.concatenate((np.zeros((angles.size, 1)), lags), axis=1)
    half = np.maximum(angles / 2, 1e-9)
    mean = np.square(np.sin(near * half) / (near * np.sin(half)))
    return np.concatenate((np.ones((angles.size, 1)), lags * mean[:, None]), axis=1)


def shelf_power(angles: Doubles, rate_hz: int) -> Doubles:
    """Return the power response of the shelf; arguments as for ``power_basis``.

    It is the response of the filter at 48 kHz, because loudness must not depend on the sample rate.
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
    """Return the high-pass's frequency as ``tan(w / 2)``, and the divisor of its coefficients."""
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
    taps -= taps.mean()  # a constant must not pass
    return taps


#: The recommendation does not normalize the high-pass's numerator, which adds 0.04 dB at 48 kHz.
_GAIN: Final = _high_pass_scale(_OF_THE_FILTERS_HZ)[1] ** 2
