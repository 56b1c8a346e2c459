"""Audio formats of the Realtime API: their names, sizes and durations.

A format is named as on the wire: GA sessions say ``{"type": "audio/pcm", "rate": 24000}``,
beta sessions say ``"pcm16"``. Sources keep audio as received, so everything that counts bytes
goes through :class:`AudioFormat`. What the bytes sound like is :mod:`otel_realtime.core.audio.codecs`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NS: Final = 1_000_000_000
"""Nanoseconds in a second."""

PCM: Final = "audio/pcm"
MULAW: Final = "audio/pcmu"
ALAW: Final = "audio/pcma"
_WIDTHS: Final[Mapping[str, int]] = {PCM: 2, MULAW: 1, ALAW: 1}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How the bytes of one side are to be read.

    Attributes:
        encoding: ``audio/pcm`` (16 bit, little endian, mono), ``audio/pcmu`` or ``audio/pcma``.
        rate_hz: samples per second.
        width: bytes per sample.
        bytes_per_s: bytes per second of audio.
    """

    encoding: str = PCM
    rate_hz: int = 24_000
    width: int = field(init=False, repr=False, compare=False)
    bytes_per_s: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = _WIDTHS[self.encoding]
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "bytes_per_s", width * self.rate_hz)

    def duration_ns(self, nbytes: int) -> int:
        """How long ``nbytes`` of audio play, rounded down."""
        return nbytes * NS // self.bytes_per_s

    def size(self, duration_ns: int) -> int:
        """Bytes of the whole samples that fit into a duration."""
        return duration_ns * self.rate_hz // NS * self.width

    def to_wire(self) -> dict[str, object]:
        """The format as a GA session names it."""
        return {"type": self.encoding, "rate": self.rate_hz}


PCM16: Final = AudioFormat()
"""What a session uses unless it says otherwise: PCM16 at 24 kHz."""
_BETA_NAMES: Final[Mapping[str, AudioFormat]] = {
    "pcm16": PCM16,
    "g711_ulaw": AudioFormat(MULAW, 8_000),
    "g711_alaw": AudioFormat(ALAW, 8_000),
}


def parse_format(value: object) -> AudioFormat | None:
    """Read a format as GA (an object) or beta sessions (a name) give it; None if unknown."""
    if isinstance(value, str):
        return _BETA_NAMES.get(value)
    if not isinstance(value, Mapping):
        return None
    encoding = value.get("type")
    if not isinstance(encoding, str) or encoding not in _WIDTHS:
        return None
    rate = value.get("rate") or (24_000 if encoding == PCM else 8_000)
    if type(rate) is not int or not 1_000 <= rate <= 384_000:
        return None
    return AudioFormat(encoding, rate)
