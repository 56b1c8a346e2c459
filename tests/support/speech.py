"""Speech and noise made here, of which the truth is known: audio at 24 kHz, levels in dBFS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

RATE = 24_000
#: Start and end of what is said, in seconds.
Said = list[tuple[float, float]]


def at_level(samples: np.ndarray, level_db: float) -> np.ndarray:
    """The same with another RMS level."""
    return samples / np.sqrt(np.mean(samples**2)) * 32_768 * 10 ** (level_db / 20)


def utterance(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Syllables of a voice: harmonics of a moving pitch under moving formants, with closures."""
    n = np.arange(round(seconds * RATE))
    pitch = random.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * n / RATE))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formant = 550 + 250 * np.sin(2 * np.pi * 2.1 * n / RATE + random.uniform(0, 6))
    voice = np.zeros(n.size)
    for number in range(1, 16):
        hz = number * pitch
        weight = 1 / (1 + ((hz - formant) / 200) ** 2) + 0.2 / (1 + ((hz - 1_800) / 300) ** 2)
        voice += weight * np.sin(number * phase)
    syllables = np.abs(np.sin(np.pi * 4 * n / RATE)) ** 0.5
    edges = np.minimum(np.minimum(n, n[::-1]) / (0.02 * RATE), 1)
    return voice * np.maximum(syllables, 0.05) * edges


def noise(kind: str, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Noise of a kind: ``white``, ``pink``, ``hum``, ``line`` or ``babble``."""
    size = round(seconds * RATE)
    white = random.normal(size=size)
    hz = np.fft.rfftfreq(size, 1 / RATE)
    spectrum = np.fft.rfft(white)
    n = np.arange(size)
    if kind == "pink":
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 30)), size)
    if kind == "hum":
        parts = {1: 1.0, 2: 0.4, 3: 0.3, 5: 0.1}
        return sum(a * np.sin(2 * np.pi * 50 * h * n / RATE) for h, a in parts.items()) + white / 50
    if kind == "line":
        return np.fft.irfft(np.where((hz > 300) & (hz < 3_400), spectrum, 0), size)
    if kind == "babble":
        talk = np.resize(_talk(), size)
        return sum(np.roll(talk, random.integers(size)) for _ in range(16))
    return white


@cache
def _talk() -> np.ndarray:
    """Ten seconds without a pause."""
    random = np.random.default_rng(1)
    return np.concatenate([utterance(random.uniform(1, 3), random) for _ in range(6)])[: 10 * RATE]


def call(
    seconds: float,
    speech_db: float,
    background: np.ndarray | None,
    random: np.random.Generator,
    lengths: Sequence[float] = (0.6, 3.0),
) -> tuple[np.ndarray, Said]:
    """One side of a call: utterances with pauses between them, over a background."""
    audio = np.zeros(round(seconds * RATE))
    said: Said = []
    t = random.uniform(0.4, 2.0)
    while True:
        length = random.uniform(*lengths)
        if t + length > seconds - 0.5:
            break
        spoken = at_level(utterance(length, random), speech_db)
        first = round(t * RATE)
        audio[first : first + spoken.size] += spoken
        said.append((t, t + length))
        t += length + random.uniform(0.6, 4.0)
    if background is not None:
        audio += background[: audio.size]
    return np.clip(audio, -32_768, 32_767).astype("<i2"), said
