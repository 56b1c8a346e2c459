"""Sound to recognise: the user's samples are above zero, the agent's below, silence is zero."""

from __future__ import annotations

import numpy as np

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import ALAW, MULAW, AudioFormat

QUIET = {MULAW: b"\xff", ALAW: b"\xd5"}
_LAW_MASK = {MULAW: 0x00, ALAW: 0x55}


class Source:
    """All the audio of one side, as the bytes of its format.

    Args:
        audio_format: how bytes are to be read.
        voice: 1: samples above zero; -1: below.
    """

    def __init__(self, audio_format: AudioFormat, *, voice: int) -> None:
        self.format = audio_format
        self.raw = bytearray()
        self._voice = voice
        self._random = np.random.default_rng(7)
        self._pieces: dict[tuple[str, float], bytes] = {}
        self._spoken: dict[int, tuple[int, int]] = {}

    def size(self, ms: float) -> int:
        """Bytes of so many milliseconds."""
        return round(ms * self.format.rate_hz / 1000) * self.format.width

    def speak(self, ms: float, key: tuple[str, float]) -> bytes:
        """New loud audio of the agent."""
        raw = self._pieces[key] = self._loud(self.size(ms))
        return raw

    def piece(self, item: str, begin: float, ms: float) -> bytes:
        """What was spoken of an item, from some place."""
        whole = b"".join(raw for (name, _), raw in sorted(self._pieces.items()) if name == item)
        return whole[self.size(begin) : self.size(begin) + self.size(ms)]

    def say(self, ms: float, number: int) -> bytes:
        """Loud audio of the user's n-th utterance."""
        raw = self._loud(self.size(ms))
        first, _ = self._spoken.get(number, (len(self.raw), 0))
        self.raw += raw
        self._spoken[number] = (first, len(self.raw))
        return raw

    def silence(self, ms: float, upto: bytes | None = None) -> bytes:
        """Quiet audio of the user; after ``upto``, what lacks to ``ms``."""
        raw = self.quiet(max(self.size(ms) - (0 if upto is None else len(upto)), 0))
        self.raw += raw
        return raw

    def quiet(self, size: int) -> bytes:
        """So many bytes of silence."""
        return QUIET[self.format.encoding] * size if self.format.width == 1 else bytes(size)

    def where(self, number: int) -> tuple[int, int]:
        """First byte and byte after the last of the user's n-th utterance."""
        return self._spoken.get(number, (0, 0))

    def samples(self) -> np.ndarray:
        """All of it as samples."""
        return decode(bytes(self.raw), self.format)

    def _loud(self, size: int) -> bytes:
        if self.format.width == 2:
            wave = self._random.integers(3_000, 9_000, size // 2) * self._voice
            return wave.astype("<i2").tobytes()
        mask = _LAW_MASK[self.format.encoding]
        code = self._random.integers(0x10, 0x40, size)
        if self.format.encoding == ALAW:
            code = self._random.integers(0x50, 0x70, size)
        code = (code | (0x80 if self._voice > 0 else 0)) ^ mask
        return code.astype(np.uint8).tobytes()
