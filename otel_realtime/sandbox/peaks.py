"""Computes the peaks of a recording at several resolutions, for waveforms of any width.

A level has one byte per side and bucket, user and agent alternating: ``255 * sqrt(loudest sample)``, so
that quiet speech is still visible. The recording is read once, in blocks, and each level is cached in a
file.
"""

from __future__ import annotations

import os
import shutil
import threading
import wave
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Length of a bucket per level, ms; each level has a quarter of the buckets of the previous one.
LEVELS_MS: Final = (5, 20, 80, 320, 1280)
_FACTOR: Final = 4
_SIDES: Final = 2
#: Seconds of audio that are read at a time: a multiple of the coarsest bucket.
_BLOCK_S: Final = 32

#: Accepted sample rates, Hz. A header may claim any rate, and the size of the blocks and the number of
#: buckets depend on it.
_RATES: Final = range(1_000, 768_001)

_Samples = NDArray[np.float32]


class Peaks:
    """The peaks of recordings, cached in a folder.

    Args:
        folder: created when needed; it may be deleted at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def read(self, recording: Path, level: int, start: int = 0, count: int | None = None) -> bytes:
        """Return buckets of a level.

        Args:
            recording: a WAV file; with the extra ``audio-formats``, also FLAC and Ogg Opus.
            level: index into ``LEVELS_MS``.
            start: the first bucket.
            count: number of buckets; None: all from ``start`` on.

        Raises:
            OSError: the recording cannot be read.
            ValueError: the recording is not in a format that can be read here.
        """
        found = recording.stat()
        key = blake2b(
            f"{recording.resolve()}\n{found.st_mtime_ns}\n{found.st_size}".encode(errors="replace"),
            digest_size=16,
        ).hexdigest()
        path = self._folder / f"{key}.{level}"
        with self._lock:  # concurrent requests for one recording read it only once
            if not path.exists():
                self._make(recording, key)
        with path.open("rb") as file:
            file.seek(start * _SIDES)
            return file.read() if count is None else file.read(count * _SIDES)

    def forget(self) -> None:
        """Delete all cached peaks."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self, recording: Path, key: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        finest = b"".join(_finest(recording))
        level = np.frombuffer(finest, np.uint8).reshape(-1, _SIDES)
        for index in range(len(LEVELS_MS)):
            if index:
                level = _coarser(level)
            path = self._folder / f"{key}.{index}"
            part = path.with_suffix(f".{index}.part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(level.tobytes())
            part.replace(path)  # a reader sees either a complete level or no file


def _coarser(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = -len(level) % _FACTOR
    padded = np.pad(level, ((0, missing), (0, 0)))
    coarser: NDArray[np.uint8] = padded.reshape(-1, _FACTOR, _SIDES).max(axis=1)
    return coarser


def _finest(recording: Path) -> Iterator[bytes]:
    for samples, rate in _blocks(recording):
        # If 5 ms are not a whole number of samples, each border is rounded, so that errors do not add up.
        count = -(-len(samples) * 1000 // (rate * LEVELS_MS[0]))
        borders = np.arange(count) * rate * LEVELS_MS[0] // 1000
        loudest = np.maximum.reduceat(np.abs(samples), borders, axis=0)
        yield (np.sqrt(np.minimum(loudest, 1.0)) * 255).round().astype(np.uint8).tobytes()


def _blocks(recording: Path) -> Iterator[tuple[_Samples, int]]:
    """Yield blocks of samples, with one column per side, and their rate."""
    with recording.open("rb") as file:
        is_wav = file.read(4) == b"RIFF"
    yield from _wav_blocks(recording) if is_wav else _other_blocks(recording)


def _wav_blocks(recording: Path) -> Iterator[tuple[_Samples, int]]:
    try:
        with wave.open(str(recording), "rb") as file:
            rate, channels = file.getframerate(), file.getnchannels()
            if file.getsampwidth() != 2 or rate not in _RATES:
                raise ValueError(f"{recording.name} has no 16-bit samples at a rate of speech")
            while data := file.readframes(rate * _BLOCK_S):
                whole = len(data) // (2 * channels) * channels
                block = np.frombuffer(data, "<i2", whole).reshape(-1, channels)
                yield _two_sides(block.astype(np.float32) / 32768), rate
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{recording.name} is no WAV file: {error}") from error


def _other_blocks(recording: Path) -> Iterator[tuple[_Samples, int]]:
    try:
        import soundfile
    except ImportError as error:
        raise ValueError(
            f'{recording.name} needs soundfile: pip install "otel-realtime[audio-formats]"'
        ) from error
    try:
        with soundfile.SoundFile(str(recording)) as file:
            rate = int(file.samplerate)
            if rate not in _RATES:
                raise ValueError(f"{recording.name} has no rate of speech")
            while len(block := file.read(rate * _BLOCK_S, dtype="float32", always_2d=True)):
                yield _two_sides(block), rate
    except soundfile.SoundFileError as error:
        raise ValueError(f"{recording.name} cannot be read: {error}") from error


def _two_sides(samples: Any) -> _Samples:
    """Return two columns; a mono recording has only the user's side."""
    if samples.shape[1] == 1:
        return np.column_stack([samples, np.zeros_like(samples)])
    two: _Samples = samples[:, :_SIDES]
    return two
