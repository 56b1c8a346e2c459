"""Reads audio beside a log, for logs whose own audio was cut out or never there.

- ``x.user.wav`` and ``x.agent.wav`` beside ``x.jsonl``: the audio from the microphone and to the
  speaker, from the first row on, 16-bit PCM. They replace the log's audio of their side.
- ``x.pcm``: all audio that the client sent, concatenated, 16-bit PCM at 24 kHz without a header. If the
  log's audio was cut out, it is put back into the appends in equal parts.
"""

from __future__ import annotations

import base64
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.formats import PCM16
from otel_realtime.errors import ConfigError

#: Length of the blocks in which a track is passed on, ms.
BLOCK_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Track:
    """The audio of one side, from the first row on.

    Attributes:
        samples: 16-bit samples, mono.
        rate_hz: samples per second.
    """

    samples: npt.NDArray[np.int16]
    rate_hz: int

    @property
    def length_ms(self) -> float:
        """Its length, ms."""
        return len(self.samples) * 1_000 / self.rate_hz


@dataclass(frozen=True, slots=True)
class Sounds:
    """All audio beside a log.

    Attributes:
        user: the user's track; None without.
        agent: the agent's track; None without.
        sent: all audio that the client sent, concatenated; None without.
    """

    user: Track | None = None
    agent: Track | None = None
    sent: bytes | None = None

    @property
    def user_ms(self) -> float | None:
        """Length of the user's audio, ms; None without."""
        if self.user is not None:
            return self.user.length_ms
        return None if self.sent is None else PCM16.duration_ns(len(self.sent)) / 1e6

    @property
    def agent_ms(self) -> float | None:
        """Length of the agent's audio, ms; None without."""
        return None if self.agent is None else self.agent.length_ms

    def append(self, number: int, chunks: int) -> str | None:
        """Return the audio of an append as base64; None if there is no file for it.

        Args:
            number: index of the append, from 0.
            chunks: total number of appends.
        """
        if self.sent is None:
            return None
        samples = len(self.sent) // 2
        start, end = (samples * at // chunks * 2 for at in (number, number + 1))
        return base64.b64encode(self.sent[start:end]).decode()


def beside(log: Path) -> Sounds:
    """Return the audio beside a log.

    Raises:
        ConfigError: a file exists but cannot be read.
    """
    base = log.with_suffix("")
    raw = base.with_name(f"{base.name}.pcm")
    try:
        sent = raw.read_bytes() if raw.is_file() else None
    except OSError as error:
        raise ConfigError(f"cannot read {raw}: {error.strerror or error}") from error
    return Sounds(_track(base, "user"), _track(base, "agent"), sent or None)


def _track(base: Path, side: str) -> Track | None:
    path = base.with_name(f"{base.name}.{side}.wav")
    if not path.is_file():
        return None
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                bits = file.getsampwidth() * 8
                raise ConfigError(f"{path} has samples of {bits} bits: PCM of 16 bits is wanted")
            if not file.getframerate():
                raise ConfigError(f"{path} has a rate of 0 Hz")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            samples = samples.reshape(-1, file.getnchannels()).mean(axis=1).astype(np.int16)
            return Track(samples, file.getframerate())
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise ConfigError(
            f"cannot read {path}: {str(error) or 'it is empty'}: PCM of 16 bits is wanted"
        ) from error
