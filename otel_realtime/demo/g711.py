"""G.711, the scripted server's other wire format: 8 bits per sample at 8 kHz.

Internally the server works with PCM16 at 24 kHz; audio is converted when it is received and when
it is sent. Three samples are averaged to one, and one is repeated three times. There is no low-pass
filter, which is good enough for a server that only tests listen to.

The codes are defined in https://www.itu.int/rec/T-REC-G.711.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Samples at 24 kHz for each sample at 8 kHz.
RATE_RATIO: Final = 3


def _mulaw() -> npt.NDArray[np.int32]:
    """Return the value of each mu-law code; a code has all its bits inverted."""
    code = np.arange(256) ^ 0xFF
    steps = (2 * (code & 15) + 33 << (code >> 4 & 7)) - 33
    return np.where(code & 0x80, -4 * steps, 4 * steps).astype(np.int32)


def _alaw() -> npt.NDArray[np.int32]:
    """Return the value of each A-law code; a code has every second bit inverted."""
    code = np.arange(256) ^ 0x55
    chord = code >> 4 & 7
    steps = np.where(chord, 2 * (code & 15) + 33 << np.maximum(chord, 1) - 1, 2 * (code & 15) + 1)
    return np.where(code & 0x80, 8 * steps, -8 * steps).astype(np.int32)


#: Format -> the PCM16 value of each code.
_VALUES: Final[Mapping[str, npt.NDArray[np.int32]]] = {
    "audio/pcmu": _mulaw(),
    "audio/pcma": _alaw(),
}
#: The formats, as a session names them.
NAMES: Final = tuple(_VALUES)


def to_pcm(data: bytes, audio_format: Mapping[str, Any]) -> bytes:
    """Convert received audio to PCM16 at 24 kHz.

    Args:
        data: the audio in the client's format.
        audio_format: the format as in ``session.audio.input.format``.
    """
    values = _VALUES.get(audio_format["type"])
    if values is None:
        return data
    return np.repeat(values[np.frombuffer(data, np.uint8)], RATE_RATIO).astype("<i2").tobytes()


def from_pcm(pcm: bytes | bytearray, audio_format: Mapping[str, Any]) -> bytes:
    """Convert PCM16 at 24 kHz to a wire format; a remainder shorter than one sample is dropped.

    Args:
        pcm: the audio.
        audio_format: the format as in ``session.audio.output.format``.
    """
    values = _VALUES.get(audio_format["type"])
    if values is None:
        return bytes(pcm)
    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    means = samples[: samples.size - samples.size % RATE_RATIO].reshape(-1, RATE_RATIO).mean(axis=1)
    # The nearest code is found between the midpoints of neighbouring values.
    order = np.argsort(values, kind="stable").astype(np.uint8)
    midpoints = (values[order][1:] + values[order][:-1]) / 2
    return bytes(order[np.searchsorted(midpoints, means)])
