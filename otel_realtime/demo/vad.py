"""Server voice activity detection by energy, on the clock of the audio appended.

The Realtime API counts ``audio_start_ms`` and ``audio_end_ms`` in the audio appended to the input
buffer over the whole session, never in wall time; the start includes ``prefix_padding_ms`` and the
end ``silence_duration_ms``. So does this detector. Its resolution is one window of 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW_MS: Final = 10
WINDOW_BYTES: Final = WINDOW_MS * 48
"""PCM16 mono at 24 kHz has 48 bytes a millisecond."""
ONSET_WINDOWS: Final = 4
"""Voiced windows in a row that make speech; the service also needs some 40 ms."""
LEVEL_AT_FULL_THRESHOLD: Final = 0.02
"""RMS (1.0 being full scale) that ``threshold = 1`` asks for; the default 0.5 is -40 dBFS."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech was found; it began, with its prefix, at ``audio_start_ms``."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Speech was followed by enough silence, which ended at ``audio_end_ms``."""

    audio_end_ms: int


class Detector:
    """Finds the turns in appended audio; feed it everything in order."""

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        prefix_padding_ms: int = 300,
        silence_duration_ms: int = 500,
        appended_ms: int = 0,
    ) -> None:
        self._level = threshold * LEVEL_AT_FULL_THRESHOLD
        self._prefix_ms = prefix_padding_ms
        self._silence_ms = silence_duration_ms
        self._now_ms = appended_ms
        self._rest = b""
        self._voiced_run = 0
        self._last_voice_ms = 0
        self.speaking = False

    def feed(self, pcm: bytes) -> list[SpeechStarted | SpeechStopped]:
        """Take the next audio (PCM16 mono 24 kHz, any number of bytes) and say what it brought."""
        data = self._rest + pcm
        whole = len(data) - len(data) % WINDOW_BYTES
        self._rest = data[whole:]
        found: list[SpeechStarted | SpeechStopped] = []
        for voiced in window_levels(data[:whole]) > self._level:
            self._now_ms += WINDOW_MS
            event = self._step(bool(voiced))
            if event is not None:
                found.append(event)
        return found

    def _step(self, voiced: bool) -> SpeechStarted | SpeechStopped | None:
        self._voiced_run = self._voiced_run + 1 if voiced else 0
        if voiced:
            self._last_voice_ms = self._now_ms
        if not self.speaking and self._voiced_run >= ONSET_WINDOWS:
            self.speaking = True
            onset_ms = self._now_ms - self._voiced_run * WINDOW_MS
            return SpeechStarted(max(0, onset_ms - self._prefix_ms))
        if self.speaking and self._now_ms - self._last_voice_ms >= self._silence_ms:
            self.speaking = False
            return SpeechStopped(self._now_ms)
        return None


def window_levels(pcm: bytes) -> npt.NDArray[np.float64]:
    """RMS of each whole window of 10 ms, 1.0 being full scale."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32768
    windows = samples.reshape(-1, WINDOW_BYTES // 2)
    return np.asarray(np.sqrt((windows * windows).mean(axis=1)))
