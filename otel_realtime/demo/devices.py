"""Simulated sound devices: a speaker that plays in real time, and a caller at the microphone.

Neither makes a sound. The speaker computes how much a real one would have played by now; the caller
listens to it, speaks the script's lines into the microphone and hangs up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from otel_realtime.demo.speech import BYTES_PER_MS, Utterance

#: Returns monotonic seconds.
Clock = Callable[[], float]
#: Length of one chunk of microphone audio.
CHUNK_MS: Final = 40
#: The caller hangs up after this time if the agent never answers.
MAX_CALL_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Position:
    """The position of the playback: the item, and how much of it has been played."""

    item_id: str
    content_index: int
    played_ms: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    item_id: str
    content_index: int
    starts_s: float
    ends_s: float


class Speaker:
    """Plays audio at its natural speed, one chunk after the other."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._chunks: list[_Chunk] = []
        self._playing_since_s = 0.0
        self._ends_s = 0.0
        self._last_item_id = ""
        #: How many items it has begun to play.
        self.items = 0

    def play(self, item_id: str, content_index: int, pcm: bytes) -> None:
        """Enqueue audio of an item (PCM16 mono at 24 kHz)."""
        now = self._clock()
        if now >= self._ends_s:
            self._playing_since_s = self._ends_s = now
        if item_id != self._last_item_id:
            self._last_item_id = item_id
            self.items += 1
        # Played chunks of this item are kept: its position counts from its first chunk.
        self._chunks = [c for c in self._chunks if c.item_id == item_id or c.ends_s > now]
        ends_s = self._ends_s + len(pcm) / BYTES_PER_MS / 1000
        self._chunks.append(_Chunk(item_id, content_index, self._ends_s, ends_s))
        self._ends_s = ends_s

    def stop(self) -> Position | None:
        """Clear the queue; return the position in the item that was playing, or None."""
        now = self._clock()
        playing = next((c for c in self._chunks if c.starts_s <= now < c.ends_s), None)
        if playing is None:
            return None
        played_s = sum(
            min(now, chunk.ends_s) - chunk.starts_s
            for chunk in self._chunks
            if chunk.item_id == playing.item_id and chunk.starts_s < now
        )
        self._chunks.clear()
        self._ends_s = now
        return Position(playing.item_id, playing.content_index, int(played_s * 1000))

    @property
    def playing_for_s(self) -> float:
        """How long the speaker has been playing without a pause; 0 if it is silent."""
        now = self._clock()
        return now - self._playing_since_s if now < self._ends_s else 0.0

    @property
    def ends_at_s(self) -> float:
        """When, on the clock, the last queued audio ended or will end."""
        return self._ends_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something the caller says, and when.

    Attributes:
        speech: the words and audio.
        after: the event that the caller waits for: ``start``, the start of the call; ``answer``, the
            end of the agent's answer; ``prompt``, the end of what the agent then says by itself,
            because the caller stays silent after the answer; or ``speaking``, the start of the agent's
            speech, to interrupt it.
        wait_s: time between that event and the line, s.
    """

    speech: Utterance
    after: str
    wait_s: float


class Caller:
    """The person at the microphone, who follows a script and listens to the speaker.

    Args:
        lines: the script, in order.
        speaker: the speaker that plays the agent's audio.
        hang_up_after_s: seconds of silence after the last answer before the caller hangs up.
        clock: returns monotonic seconds.
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
        self._started_s = 0.0
        self._last_spoke_s = 0.0
        #: Items that the speaker had begun to play when the caller last spoke.
        self._items_before = 0
        self._unsent = b""

    async def microphone(self) -> AsyncIterator[bytes]:
        """Yield the microphone's audio in real time, chunk by chunk, until the caller hangs up."""
        # Each chunk is due relative to the start, so that delays do not accumulate.
        self._started_s = due = self._clock()
        while not self._should_hang_up():
            due += CHUNK_MS / 1000
            await asyncio.sleep(max(0.0, due - self._clock()))
            yield self._next_chunk()

    def _next_chunk(self) -> bytes:
        size = CHUNK_MS * BYTES_PER_MS
        if not self._unsent and self._lines and self._is_due(self._lines[0]):
            self._unsent = self._lines.pop(0).speech.pcm
        chunk, self._unsent = self._unsent[:size], self._unsent[size:]
        if chunk:
            self._last_spoke_s = self._clock()
            self._items_before = self._speaker.items
        # A microphone also sends silence, which the server's voice activity detection needs.
        return chunk.ljust(size, b"\0")

    def _is_due(self, line: Line) -> bool:
        if line.after == "start":
            return self._clock() - self._started_s >= line.wait_s
        if line.after == "speaking":
            return self._speaker.playing_for_s >= line.wait_s
        return self._answered(line.wait_s, items=2 if line.after == "prompt" else 1)

    def _answered(self, silence_s: float, items: int = 1) -> bool:
        """Return whether the agent answered the last line and has since been silent that long.

        Args:
            silence_s: seconds since the end of what it said.
            items: how many items it must have spoken.
        """
        answered = self._speaker.items >= self._items_before + items
        return answered and self._clock() - self._speaker.ends_at_s >= silence_s

    def _should_hang_up(self) -> bool:
        if self._clock() - self._started_s > MAX_CALL_S:
            return True
        return not self._lines and not self._unsent and self._answered(self._hang_up_after_s)
