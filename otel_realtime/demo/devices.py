"""The app's sound devices, simulated: a speaker that plays in real time, and a caller at the microphone.

Nothing here makes a sound. The speaker only knows what a real one would have played by now; the
caller listens to it, speaks their lines into the microphone and hangs up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from otel_realtime.demo.speech import BYTES_PER_MS, Utterance

Clock = Callable[[], float]
CHUNK_MS: Final = 40
"""Microphone audio in one piece."""
LONGEST_CALL_S: Final = 90.0
"""The caller gives up when the agent never answers."""


@dataclass(frozen=True, slots=True)
class Position:
    """What was playing: the item, and how much of it had been heard."""

    item_id: str
    content_index: int
    played_ms: int


@dataclass(frozen=True, slots=True)
class _Piece:
    item_id: str
    content_index: int
    starts_s: float
    ends_s: float


class Speaker:
    """Plays what it is given at 1x, one piece after the other."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._pieces: list[_Piece] = []
        self._talk_began_s = 0.0
        self._ends_s = 0.0

    def play(self, item_id: str, content_index: int, pcm: bytes) -> None:
        """Queue audio (PCM16 mono 24 kHz) of an item."""
        now = self._clock()
        if now >= self._ends_s:
            self._talk_began_s = self._ends_s = now
        self._pieces = [p for p in self._pieces if p.item_id == item_id or p.ends_s > now]
        ends = self._ends_s + len(pcm) / BYTES_PER_MS / 1000
        self._pieces.append(_Piece(item_id, content_index, self._ends_s, ends))
        self._ends_s = ends

    def stop(self) -> Position | None:
        """Drop what is queued; says what was cut off, or None if nothing was playing."""
        now = self._clock()
        playing = next((p for p in self._pieces if p.starts_s <= now < p.ends_s), None)
        if playing is None:
            return None
        heard = sum(
            min(now, piece.ends_s) - piece.starts_s
            for piece in self._pieces
            if piece.item_id == playing.item_id and piece.starts_s < now
        )
        self._pieces.clear()
        self._ends_s = now
        return Position(playing.item_id, playing.content_index, int(heard * 1000))

    @property
    def speaking_for_s(self) -> float:
        """How long it has been playing without a pause; 0 when it is quiet."""
        now = self._clock()
        return now - self._talk_began_s if now < self._ends_s else 0.0

    @property
    def heard_until_s(self) -> float:
        """When, on the clock, the last sound ended or will end."""
        return self._ends_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something the caller says, and when.

    Attributes:
        after: ``start`` of the call, the agent's ``answer`` (it has spoken and is quiet again) or
            ``speaking``: into the agent's talk.
        wait_s: how long after that.
    """

    speech: Utterance
    after: str
    wait_s: float


class Caller:
    """The person at the microphone, who follows a script and listens to the speaker.

    Args:
        hang_up_after_s: quiet after the answer to the last line before the caller hangs up.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        speaker: Speaker,
        *,
        hang_up_after_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._lines = list(lines)
        self._speaker = speaker
        self._hang_up_after_s = hang_up_after_s
        self._clock = clock
        self._began_s = 0.0
        self._finished_line_s = 0.0
        self._saying = b""

    async def microphone(self) -> AsyncIterator[bytes]:
        """What the microphone picks up, piece by piece in real time, until the caller hangs up."""
        self._began_s = due = self._clock()
        while not self._hangs_up():
            due += CHUNK_MS / 1000
            await asyncio.sleep(max(0.0, due - self._clock()))
            yield self._next_chunk()

    def _next_chunk(self) -> bytes:
        size = CHUNK_MS * BYTES_PER_MS
        if not self._saying and self._lines and self._is_time(self._lines[0]):
            self._saying = self._lines.pop(0).speech.pcm
        chunk, self._saying = self._saying[:size], self._saying[size:]
        if chunk:
            self._finished_line_s = self._clock()
        return chunk.ljust(size, b"\0")

    def _is_time(self, line: Line) -> bool:
        if line.after == "start":
            return self._clock() - self._began_s >= line.wait_s
        if line.after == "speaking":
            return self._speaker.speaking_for_s >= line.wait_s
        return self._answered(line.wait_s)

    def _answered(self, quiet_s: float) -> bool:
        """The agent has spoken since the caller's last line, and been quiet that long."""
        until = self._speaker.heard_until_s
        return until > self._finished_line_s and self._clock() - until >= quiet_s

    def _hangs_up(self) -> bool:
        if self._clock() - self._began_s > LONGEST_CALL_S:
            return True
        return not self._lines and not self._saying and self._answered(self._hang_up_after_s)
