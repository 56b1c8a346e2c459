"""What the scripted server speaks on the wire besides PCM16 at 24 kHz: G.711, 8 bits at 8 kHz.

The server thinks in PCM16 at 24 kHz; audio is turned into that where it comes in and out of it
where it goes out. Three samples become one by their mean, one becomes three by repetition: good
enough for a server whose listener is a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

STEP: Final = 3
"""Samples at 24 kHz for one at 8 kHz."""


def _mulaw() -> npt.NDArray[np.int32]:
    """Value of each mu-law code: its bits are inverted."""
    code = np.arange(256) ^ 0xFF
    steps = (2 * (code & 15) + 33 << (code >> 4 & 7)) - 33
    return np.where(code & 0x80, -4 * steps, 4 * steps).astype(np.int32)


def _alaw() -> npt.NDArray[np.int32]:
    """Value of each A-law code: every second bit is inverted."""
    code = np.arange(256) ^ 0x55
    chord = code >> 4 & 7
    steps = np.where(chord, 2 * (code & 15) + 33 << np.maximum(chord, 1) - 1, 2 * (code & 15) + 1)
    return np.where(code & 0x80, 8 * steps, -8 * steps).astype(np.int32)


_VALUES: Final[Mapping[str, npt.NDArray[np.int32]]] = {
    "audio/pcmu": _mulaw(),
    "audio/pcma": _alaw(),
}
NAMES: Final = tuple(_VALUES)
"""The formats' names in a GA session."""


def to_pcm(data: bytes, form: Mapping[str, Any]) -> bytes:
    """Audio as a client sent it -> PCM16 at 24 kHz."""
    values = _VALUES.get(form["type"])
    if values is None:
        return data
    return np.repeat(values[np.frombuffer(data, np.uint8)], STEP).astype("<i2").tobytes()


def from_pcm(pcm: bytes | bytearray, form: Mapping[str, Any]) -> bytes:
    """PCM16 at 24 kHz -> audio as the format has it; what fills no sample is left out."""
    values = _VALUES.get(form["type"])
    if values is None:
        return bytes(pcm)
    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    means = samples[: samples.size - samples.size % STEP].reshape(-1, STEP).mean(axis=1)
    order = np.argsort(values, kind="stable").astype(np.uint8)
    between = (values[order][1:] + values[order][:-1]) / 2
    return bytes(order[np.searchsorted(between, means)])
