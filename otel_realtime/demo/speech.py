"""The demo's voices: small mu-law files, decoded to the Realtime API's PCM16 at 24 kHz."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

VOICES: Final = Path(__file__).parent / "voices"
#: Sample rate of ``audio/pcm``, the only one that the Realtime API supports:
#: https://platform.openai.com/docs/api-reference/realtime-client-events/session/update
RATE_HZ: Final = 24_000
BYTES_PER_MS: Final = RATE_HZ * 2 // 1000
FILE_RATE_HZ: Final = 16_000
#: ``WAVE_FORMAT_MULAW``: https://www.rfc-editor.org/rfc/rfc2361
MULAW: Final = 7


@dataclass(frozen=True, slots=True)
class Utterance:
    """The speech of one side.

    Attributes:
        text: the words.
        pcm: the audio: little-endian PCM16 mono at 24 kHz.
    """

    text: str
    pcm: bytes

    @property
    def duration_s(self) -> float:
        """Length of the audio, s."""
        return len(self.pcm) / (RATE_HZ * 2)


def script() -> dict[str, dict[str, Any]]:
    """Return the text, voice and tempo of each utterance by name."""
    loaded: dict[str, dict[str, Any]] = json.loads((VOICES / "script.json").read_text("utf-8"))
    return loaded


@cache
def utterance(name: str) -> Utterance:
    """Load one utterance of ``voices/script.json``.

    Raises:
        KeyError: there is no utterance of that name.
    """
    text = script()[name]["text"]
    codes = _mulaw_codes((VOICES / f"{name}.wav").read_bytes())
    return Utterance(text=text, pcm=_to_wire_rate(mulaw_table()[codes]))


def silence(duration_s: float) -> bytes:
    """Return silence as PCM16 mono at 24 kHz."""
    return bytes(2 * round(duration_s * RATE_HZ))


def tone(frequency_hz: float, duration_s: float, *, level: float = 0.25) -> bytes:
    """Return a sine as PCM16 mono at 24 kHz; ``level`` is its peak, 1.0 being full scale."""
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    wave = np.sin(2 * np.pi * frequency_hz * times_s) * level * 32767
    return np.round(wave).astype("<i2").tobytes()


@lru_cache(maxsize=1)
def mulaw_table() -> npt.NDArray[np.float64]:
    """Return the value of each of the 256 mu-law codes, 1.0 being full scale.

    https://www.itu.int/rec/T-REC-G.711
    """
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude) / 32768


def _mulaw_codes(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the samples of a mono mu-law WAV file at 16 kHz.

    Raises:
        ValueError: the file has another format.
    """
    # The standard library's wave module reads only PCM.
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        chunks[name] = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2  # chunks are padded to an even length
    if struct.unpack_from("<HHI", chunks[b"fmt "]) != (MULAW, 1, FILE_RATE_HZ):
        raise ValueError("not mono mu-law at 16 kHz")
    return np.frombuffer(chunks[b"data"], np.uint8)


def _to_wire_rate(samples: npt.NDArray[np.float64]) -> bytes:
    """Resample from 16 kHz to PCM16 at 24 kHz by zero-padding the spectrum."""
    # This treats the samples as periodic, which is harmless: the files begin and end in silence.
    even = samples[: len(samples) - len(samples) % 2]
    spectrum = np.fft.rfft(even)
    stretched = np.fft.irfft(spectrum, len(even) * 3 // 2) * 1.5
    return np.clip(np.round(stretched * 32767), -32768, 32767).astype("<i2").tobytes()
