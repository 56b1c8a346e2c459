"""Tell speech from noise, by the energy of 20 ms frames in two bands.

A fixed level cannot: a telephone line hisses louder than a quiet caller speaks. What tells them apart
is time. Noise goes on, speech pauses: the level that holds for eight seconds around a frame is noise
(a morphological opening, so that it looks both ways and knows the noise of the first frame, too), and
what stands out from it is speech. The rules, in each band:

1. The floor is the highest level that some eight seconds around the frame never fall below. A level is
   the mean power of 200 ms, which closures within words do not undercut.
2. How far speech must stand out depends on how much the noise itself varies: hiss hardly does, a room
   full of voices does.
3. A stretch of speech has at least four frames well above the floor (a click has fewer) and is as long
   as the frames around them are above it.
4. What is 38 dB below the side's speech is none: breath, reverberation, a codec's residue.
5. What is louder than any noise that is plausible on the side is speech, however steady it is. Of less
   than three seconds nobody can tell what is steady in them.

Several bands, because noise is rarely loud in all of them: from 300 Hz to 3.6 kHz, which is the
telephone's and suppresses hum; from 150 Hz to 850 Hz, where the voiced sounds have their power and hiss
has little; and all there is, which is speech to whoever sends it.

Kept libraries were weighed: Silero and TEN need an ONNX runtime or a binary of their own and more time
than the writer has; WebRTC's (py-webrtcvad) has no release since 2017, and takes steady noise for
speech at the levels that this is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

#: Frames per second.
FRAMES_PER_S: Final = 50
#: Mean square per frame of one band, shape ``(n,)``; below zero for a frame that was lost.
Powers = npt.NDArray[np.float32]
#: Whether there is speech in a frame, shape ``(n,)``.
Voiced = npt.NDArray[np.bool_]
_Levels = npt.NDArray[np.float64]

#: Power of a lost frame.
LOST_POWER: Final = -1.0
#: The loudest noise that a microphone or a line plausibly has, in dBFS.
LINE_NOISE_DB: Final = -27.0
#: The same of a synthesised voice: comfort noise and a codec's residue are softer.
SYNTHETIC_NOISE_DB: Final = -48.0

_FULL_SCALE_DB: Final = 20 * np.log10(32_768)
#: Below this nobody hears anything.
_SILENCE_DB: Final = -80.0
#: Speech reaches this, however softly it is spoken.
_AUDIBLE_DB: Final = -64.0
_SPEECH_RANGE_DB: Final = 38.0
#: The floor is looked for in steps of 100 ms, each the mean of 200 ms.
_STEP: Final = 5
_STEADY_STEPS: Final = 80
#: Fewer frames than this say nothing about the noise.
_ENOUGH: Final = 150
#: A frame's level is the mean power of so many.
_SMOOTH: Final = 5
#: Frames this near to the floor tell how much the noise varies, if they are so many.
_NOISE_RANGE_DB: Final = 6.0
_ENOUGH_NOISE: Final = 50
_MAD_TO_SIGMA: Final = 1.4826
#: Distance from the floor in deviations of the noise, and its bounds in dB: of a frame that belongs to
#: speech, and of one that proves it.
_BELONGS: Final = (2.5, 1.5, 8.0)
_PROVES: Final = (4.5, 3.0, 12.0)
_LEAST_PROOF: Final = 4
#: Interruptions up to this, in frames, are none.
_DROPOUT: Final = 2


def band_powers(frames: npt.NDArray[np.float32], rate_hz: int) -> tuple[Powers, Powers, Powers]:
    """Return the power of frames in all, in the telephone's band, and in the voiced sounds' band.

    Args:
        frames: Samples, shape ``(n, rate_hz // 50)``.
        rate_hz: Their rate.
    """
    group = max(rate_hz // 8_000, 1)
    used = frames.shape[1] - frames.shape[1] % (4 * group)
    wide = _mean_of(frames[:, :used], group)
    every: Powers = _energy(frames) / np.float32(frames.shape[1])
    return every, _difference_power(wide), _difference_power(_mean_of(wide, 4))


def _energy(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the sum of squares of each frame; as products of matrices, which take half the time."""
    squares: npt.NDArray[np.float32] = np.matmul(frames[:, None, :], frames[:, :, None])
    return squares[:, 0, 0]


def _mean_of(frames: npt.NDArray[np.float32], group: int) -> npt.NDArray[np.float32]:
    """Return the means of each ``group`` samples: a cheap low-pass at a lower rate."""
    if group == 1:
        return frames
    # Not a product of matrices: of so many rows BLAS would make work for threads of its own.
    means = frames[:, ::group] + frames[:, 1::group]
    for nth in range(2, group):
        means += frames[:, nth::group]
    means *= np.float32(1 / group)
    return means


def _difference_power(frames: npt.NDArray[np.float32]) -> Powers:
    """Return the power of the difference of samples two apart: a band-pass around a quarter rate."""
    if frames.shape[1] < 3:
        return np.zeros(len(frames), np.float32)
    difference = frames[:, 2:] - frames[:, :-2]
    power: Powers = _energy(difference) / np.float32(2 * difference.shape[1])
    return power


def find_voice(bands: Sequence[Powers], loudest_noise_db: float) -> Voiced:
    """Tell which frames have speech in them; what is shorter than 60 ms in it is no pause.

    Args:
        bands: The frames' powers, band by band.
        loudest_noise_db: What is louder than this is speech, in dBFS.
    """
    kept = bands[0] >= 0
    if kept.all():
        return _find(bands, loudest_noise_db)
    voiced = np.zeros(kept.size, np.bool_)
    voiced[kept] = _find([band[kept] for band in bands], loudest_noise_db)
    return voiced


def _find(bands: Sequence[Powers], loudest_noise_db: float) -> Voiced:
    size = bands[0].size
    belongs, proves, sharp = (np.zeros(size, np.bool_) for _ in range(3))
    if not size:
        return belongs
    if size < _ENOUGH:
        loudest_noise_db = min(loudest_noise_db, SYNTHETIC_NOISE_DB)
    for band in bands:
        powers = band.astype(np.float64)
        total = np.concatenate(([0.0], powers.cumsum()))
        smooth = _decibels(_means(total, np.arange(size) - _SMOOTH // 2, _SMOOTH))
        steps = _decibels(_means(total, np.arange(0, size, _STEP), 2 * _STEP))
        floor = _steady(steps).clip(_SILENCE_DB, loudest_noise_db)
        # A frame lies in two steps; the one that it is in the middle of.
        near = np.concatenate((floor[:1].repeat(_STEP // 2), floor.repeat(_STEP)))[:size]
        to_belong, to_prove = _distances(smooth, near)
        proof = np.maximum(near + to_prove, _AUDIBLE_DB)
        speech = smooth[smooth > proof]
        # So far below the band's own speech nothing is speech.
        least = _percentile(speech, 90) - _SPEECH_RANGE_DB if speech.size else -np.inf
        enough = np.maximum(near + to_belong, least)
        belongs |= smooth > enough
        proves |= smooth > np.maximum(proof, least)
        sharp |= _decibels(powers) > enough
    return _stretches(belongs, proves, sharp)


def _distances(smooth: _Levels, floor: _Levels) -> tuple[float, float]:
    """Return how far above the floor a frame of speech is, and one that proves speech, in dB."""
    above = smooth - floor
    noise = above[(above < _NOISE_RANGE_DB) & (floor > _SILENCE_DB)]
    middle, deviation = 1.0, 1.0
    if noise.size >= _ENOUGH_NOISE:
        middle = _percentile(noise, 50)
        deviation = _MAD_TO_SIGMA * _percentile(np.abs(noise - middle), 50)
    belongs, proves = (
        min(max(middle + times * deviation, low), high) for times, low, high in (_BELONGS, _PROVES)
    )
    return belongs, proves


def _percentile(values: _Levels, percent: int) -> float:
    """Return a percentile as NumPy does, whose own takes twenty times as long for so few values."""
    below, over = divmod((values.size - 1) * percent, 100)
    above = below + (over > 0)
    parted = np.partition(values, (below, above))
    return float(parted[below] + (parted[above] - parted[below]) * (over / 100))


def _means(
    total: npt.NDArray[np.float64], start: npt.NDArray[np.int_], length: int
) -> npt.NDArray[np.float64]:
    """Return means of ``length`` values from each start, of fewer at the edges, by running totals."""
    low, high = np.maximum(start, 0), np.minimum(start + length, total.size - 1)
    # Differences of a running total can come out below zero.
    means: npt.NDArray[np.float64] = np.maximum((total[high] - total[low]) / (high - low), 0.0)
    return means


def _decibels(powers: npt.NDArray[np.float64]) -> _Levels:
    levels: _Levels = 10 * np.log10(powers + 1e-3) - _FULL_SCALE_DB
    return levels


def _steady(steps: _Levels) -> _Levels:
    """Return the highest level that eight seconds around each step never fall below."""
    if steps.size <= _STEADY_STEPS:
        return np.full(steps.size, steps.min())
    beyond = np.full(_STEADY_STEPS - 1, -np.inf)
    lowest = _over_windows(np.minimum, steps)
    return _over_windows(np.maximum, np.concatenate((beyond, lowest, beyond)))


def _over_windows(extreme: np.ufunc, values: _Levels) -> _Levels:
    """Return the extreme of each ``_STEADY_STEPS`` values in a row, by windows that double."""
    width = 1
    while width < _STEADY_STEPS:
        step = min(width, _STEADY_STEPS - width)
        values = extreme(values[:-step], values[step:])
        width += step
    return values


def _stretches(belongs: Voiced, proves: Voiced, sharp: Voiced) -> Voiced:
    """Return the frames of the stretches of speech."""
    voiced = np.zeros(belongs.size, np.bool_)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], belongs, [False]))))
    starts, ends = _joined(edges[::2], edges[1::2], _DROPOUT)
    proofs = np.concatenate(([0], np.cumsum(proves)))
    enough = proofs[ends] - proofs[starts] >= min(_LEAST_PROOF, belongs.size)
    starts, ends = starts[enough], ends[enough]
    # Smoothing has spread the edges; the frames themselves are sharp.
    exact = np.append(np.flatnonzero(sharp), belongs.size)
    first = np.searchsorted(exact, starts)
    last = np.searchsorted(exact, ends) - 1
    there = first <= last
    starts, ends = exact[first[there]], exact[last[there]] + 1
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        voiced[start:end] = True
    return voiced


def _joined(
    starts: npt.NDArray[np.int_], ends: npt.NDArray[np.int_], gap: int
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Join stretches that are at most ``gap`` frames apart."""
    if starts.size < 2:
        return starts, ends
    apart = np.flatnonzero(starts[1:] - ends[:-1] > gap)
    return starts[np.concatenate(([0], apart + 1))], ends[np.append(apart, ends.size - 1)]
