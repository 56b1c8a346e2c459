"""Voice activity detection by energy, on the timeline of the appended audio.

The Realtime API counts ``audio_start_ms`` and ``audio_end_ms`` in the audio that was appended over
the whole session, not in wall-clock time; the start includes ``prefix_padding_ms`` and the end
``silence_duration_ms``. This detector does the same, with a resolution of one 10 ms window.

https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW_MS: Final = 10
#: PCM16 mono at 24 kHz has 48 bytes per millisecond.
WINDOW_BYTES: Final = WINDOW_MS * 48
#: Consecutive voiced windows that count as speech; the service also needs about 40 ms.
ONSET_WINDOWS: Final = 4
#: RMS, 1.0 being full scale, that ``threshold = 1`` requires; the default of 0.5 is -40 dBFS.
LEVEL_AT_FULL_THRESHOLD: Final = 0.02


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech was detected; it starts, including the prefix, at ``audio_start_ms``."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Speech was followed by enough silence, which ends at ``audio_end_ms``."""

    audio_end_ms: int


class Detector:
    """Detects the turns in the appended audio.

    Args:
        threshold: sensitivity from 0 to 1; higher needs louder speech.
        prefix_padding_ms: audio before the detected speech that belongs to the turn.
        silence_duration_ms: silence that ends a turn.
        appended_ms: audio appended in the session before this detector was created.

    Attributes:
        speaking: whether a turn is in progress.
    """

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
        self._remainder = b""
        self._voiced_windows = 0
        self._last_voice_ms = 0
        self.speaking = False

    def feed(self, pcm: bytes) -> list[SpeechStarted | SpeechStopped]:
        """Process the next audio and return the changes in it.

        Args:
            pcm: PCM16 mono at 24 kHz, any number of bytes.
        """
        data = self._remainder + pcm
        whole_windows = len(data) - len(data) % WINDOW_BYTES
        self._remainder = data[whole_windows:]
        changes: list[SpeechStarted | SpeechStopped] = []
        for voiced in window_levels(data[:whole_windows]) > self._level:
            self._now_ms += WINDOW_MS
            change = self._step(bool(voiced))
            if change is not None:
                changes.append(change)
        return changes

    def _step(self, voiced: bool) -> SpeechStarted | SpeechStopped | None:
        self._voiced_windows = self._voiced_windows + 1 if voiced else 0
        if voiced:
            self._last_voice_ms = self._now_ms
        if not self.speaking and self._voiced_windows >= ONSET_WINDOWS:
            self.speaking = True
            onset_ms = self._now_ms - self._voiced_windows * WINDOW_MS
            return SpeechStarted(max(0, onset_ms - self._prefix_ms))
        if self.speaking and self._now_ms - self._last_voice_ms >= self._silence_ms:
            self.speaking = False
            return SpeechStopped(self._now_ms)
        return None


def window_levels(pcm: bytes) -> npt.NDArray[np.float64]:
    """Return the RMS of each 10 ms window, 1.0 being full scale.

    Args:
        pcm: PCM16 mono at 24 kHz, a whole number of windows.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32768
    windows = samples.reshape(-1, WINDOW_BYTES // 2)
    return np.asarray(np.sqrt((windows * windows).mean(axis=1)))
