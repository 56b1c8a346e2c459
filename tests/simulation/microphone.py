"""The user's side: what a microphone captures, and when a client sends it.

Times are milliseconds since the conversation's start; positions are milliseconds of the audio that
was appended, which is what the server counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.sound import Voice

#: How a client sends what its microphone captures.
OPEN = "open"  # all the time
HELD = "held"  # while a button is held
RELEASE = "release"  # when the button is released
GATED = "gated"  # while the client itself hears speech
MUTED = "muted"  # all the time, until the caller mutes it
CLIP = "clip"  # as a file, at once

#: A button is pressed so long before the first word, and released so long after the last.
HOLD_MS = 150
#: A client that listens for speech sends so much from before it, and goes on for so long.
PREROLL_MS, HANGOVER_MS, HEARD_AFTER_MS = 200, 400, 100
#: A file is sent in pieces of this length, and has so much silence before and after the speech.
PIECE_MS = 1_000.0
MARGIN_MS = 700.0


@dataclass
class Utterance:
    """Somebody speaks from ``start`` to ``end``.

    Attributes:
        first: its first sample in all that was appended.
        after: the sample after its last.
    """

    start: float
    end: float
    first: int = -1
    after: int = -1


@dataclass(frozen=True)
class Frame:
    """What was captured from ``begin`` to ``end`` and sent at ``sent``, from a position."""

    begin: float
    end: float
    sent: float
    position: float


Append = Callable[[float, bytes], None]


class Microphone:
    """Captures in frames, in order, as far as it is asked to.

    Args:
        voice: of the user.
        mode: one of the above.
        append: is told what is sent, and when.
        chance: everything random.

    Attributes:
        raw: all that was appended.
        utterances: what was said so far, in order.
        frames: what was sent so far.
        mutes: stretches of time in which nothing is sent.
    """

    def __init__(self, voice: Voice, mode: str, append: Append, chance: random.Random) -> None:
        self.raw = bytearray()
        self.utterances: list[Utterance] = []
        self.frames: list[Frame] = []
        self.mutes: list[tuple[float, float]] = []
        self._voice, self._mode, self._append, self._chance = voice, mode, append, chance
        live = mode in (OPEN, MUTED)
        self._frame = chance.choice((20.0, 40.0, 100.0)) if live else 20.0
        self._speed = 1 + chance.choice((0, 0, 1e-4, -1e-4))
        self._captured = -chance.choice((0, 0, 500.0))
        self._stall = self._draw_stall() if live else (0.0, 0.0)
        self._sent = 0.5

    @property
    def captured(self) -> float:
        """Until when it has captured."""
        return self._captured

    def run(self, until: float) -> None:
        """Capture until a time; what is said by then is known."""
        while self._captured < until:
            begin = self._captured
            self._captured = end = begin + self._frame * self._speed
            earliest = self._send_time(begin, end)
            if earliest is not None:
                sent = earliest + self._chance.uniform(0, 15)
                if self._stall[0] <= sent < self._stall[1]:
                    sent = self._stall[1]
                self._send(begin, end, max(self._sent, sent))

    def at(self, captured: float) -> Frame:
        """The frame with what was captured at a time, or the next one that was sent."""
        while not self.frames or self.frames[-1].end <= captured:
            self.run(self._captured + self._frame / 2)
        return next(
            frame
            for frame in reversed(self.frames)
            if frame.begin <= captured or frame is self.frames[0]
        )

    def position(self, captured: float) -> float:
        """Where in the appended audio that is."""
        frame = self.at(captured)
        return frame.position + max(captured - frame.begin, 0) / self._speed

    def send_file(self, utterance: Utterance) -> float:
        """Send what was recorded before as a file; returns when it has been sent."""
        self.utterances.append(utterance)
        begin, sent = utterance.start - MARGIN_MS, utterance.start
        while begin < utterance.end + MARGIN_MS - 1e-6:
            end = min(begin + PIECE_MS, utterance.end + MARGIN_MS)
            sent += self._chance.uniform(0.1, 2)
            self._send(begin, end, sent)
            begin = end
        return sent

    def _send(self, begin: float, end: float, sent: float) -> None:
        width = self._voice.format.width
        position = len(self.raw) / width / self._voice.format.rate_hz * 1000
        raw = self._sound(begin, end)
        self.raw += raw
        self.frames.append(Frame(begin, end, sent, position))
        self._sent = sent
        self._append(sent, raw)

    def _sound(self, begin: float, end: float) -> bytes:
        """A frame has as many samples as it should, however fast the clock runs."""
        width, base = self._voice.format.width, len(self.raw)
        length = self._frame if self._mode != CLIP else end - begin
        scale, total = length / (end - begin), self._voice.format.samples(length)
        raw, done = b"", 0
        for one in self.utterances[-1:] if self._mode == CLIP else self.utterances:
            low, high = max(begin, one.start), min(end, one.end)
            if low < high:
                first = self._voice.format.samples((low - begin) * scale)
                after = self._voice.format.samples((high - begin) * scale)
                raw += self._voice.silence(first - done) + self._voice.speech(after - first)
                one.first = base // width + first if one.first < 0 else one.first
                one.after = base // width + after
                done = after
        return raw + self._voice.silence(total - done)

    def _send_time(self, begin: float, end: float) -> float | None:
        if self._mode in (OPEN, MUTED):
            return None if any(low < end <= high for low, high in self.mutes) else end
        if self._mode == CLIP:
            return None
        before, behind = (PREROLL_MS, HANGOVER_MS) if self._mode == GATED else (HOLD_MS, HOLD_MS)
        for one in self.utterances:
            if one.start - before <= end <= one.end + behind:
                if self._mode == HELD:
                    return end
                late = one.end + HOLD_MS if self._mode == RELEASE else one.start + HEARD_AFTER_MS
                return max(end, late)
        return None

    def _draw_stall(self) -> tuple[float, float]:
        if self._chance.random() < 0.5:
            return (0.0, 0.0)
        at = self._chance.uniform(0, 15_000)
        return (at, at + self._chance.uniform(800, 3_000))
