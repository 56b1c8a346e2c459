"""Audio of which every sample can be found again in a recording.

The simulation has codecs of its own, so that it shares no mistake with what it judges. Speech is a
voiced sound with the rhythm of syllables, silent nowhere, with enough noise in it that no two
stretches of 16 samples are alike. Levels are dB of full scale (root mean square).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

#: So many samples in a row are enough to recognise a place.
KEY = 16
#: Level of a normal voice.
SPEECH_DB = -20.0
_FULL_SCALE = 32_768.0
#: So much of a voice is made once, in seconds; the noise in it is always new.
_TUNE_S = 20
_HISS = 0.1


@dataclass(frozen=True)
class Format:
    """An audio format: its name on the wire, samples per second, bytes per sample."""

    name: str
    rate_hz: int
    width: int

    def wire(self) -> dict[str, object]:
        """As a session names it."""
        return {"type": self.name, "rate": self.rate_hz}

    def samples(self, ms: float) -> int:
        """Samples of so many milliseconds."""
        return round(ms * self.rate_hz / 1000)


PCM16 = Format("audio/pcm", 24_000, 2)
MULAW = Format("audio/pcmu", 8_000, 1)
ALAW = Format("audio/pcma", 8_000, 1)
FORMATS = (PCM16, MULAW, ALAW)


def _mulaw_values() -> npt.NDArray[np.int32]:
    """Values of the 256 codes (ITU-T G.711, table 2)."""
    code = 255 - np.arange(256)
    value = (((code % 16) * 2 + 33) << (code // 16 % 8)) - 33
    return np.where(code >= 128, -value, value) * 4


def _alaw_values() -> npt.NDArray[np.int32]:
    """Values of the 256 codes (ITU-T G.711, table 1)."""
    code = np.arange(256) ^ 0b0101_0101
    chord, step = code // 16 % 8, code % 16
    value = np.where(chord == 0, step * 2 + 1, (step * 2 + 33) << np.maximum(chord - 1, 0))
    return np.where(code >= 128, value, -value) * 8


_VALUES = {MULAW: _mulaw_values(), ALAW: _alaw_values()}


def encode(samples: Samples, audio_format: Format) -> bytes:
    """The nearest code of each sample."""
    if audio_format == PCM16:
        return samples.astype("<i2").tobytes()
    return _codes(audio_format)[samples.astype(np.int32) + 32_768].tobytes()


@cache
def _codes(audio_format: Format) -> npt.NDArray[np.uint8]:
    """The nearest code of each of the 65,536 samples."""
    values = _VALUES[audio_format]
    order = np.argsort(values, kind="stable")
    middles = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(middles, np.arange(-32_768, 32_768))].astype(np.uint8)


def decode(raw: bytes, audio_format: Format) -> Samples:
    """The samples of a source."""
    if audio_format == PCM16:
        return np.frombuffer(raw, "<i2")
    return _VALUES[audio_format][np.frombuffer(raw, np.uint8)].astype(np.int16)


class Voice:
    """One side's sounds.

    Args:
        audio_format: of the side.
        seed: of everything random.
        level_db: how loud it speaks.
        noise_db: level of the noise where nobody speaks; None: digital silence.
    """

    def __init__(
        self,
        audio_format: Format,
        seed: int,
        level_db: float = SPEECH_DB,
        noise_db: float | None = None,
    ) -> None:
        self.format = audio_format
        self._random = np.random.default_rng(seed)
        self._level, self._noise = level_db, noise_db
        self._spoken = int(self._random.integers(audio_format.rate_hz * _TUNE_S))

    def speech(self, samples: int) -> bytes:
        """So many samples more of speech, none of them zero."""
        tune = _tune(self.format.rate_hz)
        at = np.arange(self._spoken, self._spoken + samples)
        self._spoken += samples
        return self._leveled(
            tune.take(at, mode="wrap") + self._random.normal(0, _HISS, samples), self._level
        )

    def silence(self, samples: int) -> bytes:
        """So many samples of a microphone at which nobody speaks."""
        if self._noise is None:
            return encode(np.zeros(samples, np.int16), self.format)
        return self._leveled(self._random.normal(0, 1, samples), self._noise)

    def _leveled(self, wave: npt.NDArray[np.float64], level_db: float) -> bytes:
        if not wave.size:
            return b""
        loud = wave * 10 ** (level_db / 20) * _FULL_SCALE
        samples = np.clip(np.rint(loud), -32_000, 32_000).astype(np.int16)
        raw = encode(samples, self.format)
        zeros = decode(raw, self.format) == 0
        samples[zeros] = 9  # the code next to silence
        return encode(samples, self.format)


@cache
def _tune(rate_hz: int) -> npt.NDArray[np.float64]:
    """A voice of a pitch that wavers, with four syllables a second, its mean square nearly 1."""
    at = np.arange(rate_hz * _TUNE_S) / rate_hz
    phase = 2 * np.pi * 140 * (at + 0.02 * np.sin(2 * np.pi * 0.7 * at))
    wave = sum((np.sin(k * phase + k) / k for k in range(1, 8)), np.zeros(at.size))
    wave *= 0.8 + 0.2 * np.sin(2 * np.pi * 4 * at)
    return wave / np.sqrt(np.mean(wave**2))


@dataclass(frozen=True)
class Match:
    """``size`` samples of a channel from ``at`` are those of a source from ``place``."""

    at: int
    place: int
    size: int


def matches(channel: Samples, source: Samples) -> Iterator[Match]:
    """Where a source is in a channel that is zero elsewhere, in the channel's order.

    Yields:
        Stretches; what is in the channel but not in the source has the place -1.
    """
    haystack = source.astype("<i2").tobytes()
    edges = np.flatnonzero(
        np.diff(np.concatenate(([False], channel != 0, [False])).astype(np.int8))
    )
    for begin, end in edges.reshape(-1, 2):
        at = int(begin)
        while at < end:
            place = _find(haystack, channel[at : min(at + KEY, end)])
            size = 1 if place < 0 else _alike(channel[at:end], source[place:])
            yield Match(at, place, size)
            at += size


def placed(channel: Samples, source: Samples, start: int = 0) -> Iterator[Match]:
    """Where the pieces of a source are in a channel that has other sounds, too.

    Args:
        channel: of a recording.
        source: it lies in the channel in order, maybe with gaps, maybe not all of it.
        start: before this sample it is not searched for.
    """
    haystack = channel[start:].astype("<i2").tobytes()
    base, place, done = start, 0, 0
    step = max(source.size // 200, KEY)
    while place + KEY <= source.size:
        at = _find(haystack, source[place : place + KEY])
        if at < 0:
            place += step
            continue
        at += base
        back = min(place - done, at)
        same = _alike(channel[at - back : at][::-1], source[place - back : place][::-1])
        size = same + _alike(channel[at:], source[place:])
        yield Match(at - same, place - same, size)
        place = done = place - same + size


def _find(haystack: bytes, key: Samples) -> int:
    needle, found = key.astype("<i2").tobytes(), -1
    while True:
        found = haystack.find(needle, found + 1)
        if found < 0 or found % 2 == 0:
            return found // 2 if found >= 0 else -1


def _alike(one: Samples, other: Samples) -> int:
    size = min(one.size, other.size)
    different = np.flatnonzero(one[:size] != other[:size])
    return int(different[0]) if different.size else size
