"""Audio formats of the Realtime API: names, sizes and durations.

GA sessions name a format with an object, ``{"type": "audio/pcm", "rate": 24000}``; beta sessions use a
string, ``"pcm16"``
(https://platform.openai.com/docs/api-reference/realtime-client-events/session/update). Sources keep
audio as it was received, so everything that counts bytes uses :class:`AudioFormat`.
:mod:`otel_realtime.core.audio.codecs` decodes the audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Nanoseconds in a second and in a millisecond.
NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

PCM: Final = "audio/pcm"
MULAW: Final = "audio/pcmu"
ALAW: Final = "audio/pcma"
_G711_HZ: Final = 8_000
#: Bytes per sample.
_WIDTHS: Final[Mapping[str, int]] = {PCM: 2, MULAW: 1, ALAW: 1}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format of one side's audio bytes.

    Attributes:
        encoding: ``audio/pcm`` (16 bit, little endian, mono), ``audio/pcmu`` or ``audio/pcma``.
        rate_hz: Samples per second. G.711 always has 8 kHz (ITU-T G.711, section 2), whatever is given:
            servers and gateways are known to echo ``{"type": "audio/pcmu", "rate": 24000}``.
        width: Bytes per sample.
        bytes_per_s: Bytes per second of audio.
    """

    encoding: str = PCM
    rate_hz: int = 24_000
    width: int = field(init=False, repr=False, compare=False)
    bytes_per_s: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Computed once, because both are used for every audio frame. The dataclass is frozen.
        width = _WIDTHS[self.encoding]
        if self.encoding != PCM:
            object.__setattr__(self, "rate_hz", _G711_HZ)
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "bytes_per_s", width * self.rate_hz)

    def duration_ns(self, size: int) -> int:
        """Return the duration of ``size`` bytes in ns, rounded down."""
        return size * NS_PER_S // self.bytes_per_s

    def size(self, duration_ns: int) -> int:
        """Return the size in bytes of the whole samples that fit into a duration."""
        return duration_ns * self.rate_hz // NS_PER_S * self.width

    def to_wire(self) -> dict[str, object]:
        """Return the format as a GA session names it."""
        return {"type": self.encoding, "rate": self.rate_hz}


#: PCM16 at 24 kHz, which a session uses unless it says otherwise.
PCM16: Final = AudioFormat()
_BETA_NAMES: Final[Mapping[str, AudioFormat]] = {
    "pcm16": PCM16,
    "g711_ulaw": AudioFormat(MULAW, _G711_HZ),
    "g711_alaw": AudioFormat(ALAW, _G711_HZ),
}


def parse_format(value: object) -> AudioFormat | None:
    """Parse a format as a session names it.

    Args:
        value: An object (GA) or a string (beta).

    Returns:
        The format, or None if it is not known or its rate is not plausible.
    """
    if isinstance(value, str):
        return _BETA_NAMES.get(value)
    if not isinstance(value, Mapping):
        return None
    encoding = value.get("type")
    if not isinstance(encoding, str) or encoding not in _WIDTHS:
        return None
    if encoding != PCM:
        return AudioFormat(encoding, _G711_HZ)
    rate = value.get("rate") or 24_000
    if type(rate) is not int or not 1_000 <= rate <= 384_000:  # ``True`` is an int, not a rate
        return None
    return AudioFormat(encoding, rate)
