"""Plays the agent's audio: PortAudio's callback takes it from a queue.

The callback runs on a PortAudio thread and requests a few milliseconds at a time
(https://python-sounddevice.readthedocs.io/en/latest/usage.html#callback-streams). The samples that it
gets are heard one device buffer later, so these samples are recorded and count as played. A barge-in
empties the queue: the device gets no more samples, but plays those in its buffer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.recording.resample import Resampler
from otel_realtime.talk.devices import WIRE_RATE_HZ, Device, Format
from otel_realtime.talk.levels import Level
from otel_realtime.talk.stream import Stream

Samples = npt.NDArray[np.int16]
#: ``Conversation.record_agent_audio``.
Record = Callable[..., object]
#: Key of a content part: an item's id and the index of its content part.
Part = tuple[str, int]
#: How many stopped parts are remembered, because late deltas of them may still arrive.
REMEMBERED: Final = 100


@dataclass(frozen=True, slots=True)
class Cut:
    """A content part that was stopped, and how much of it was played, in ms."""

    item_id: str
    content_index: int
    played_ms: int


class _Playing:
    """One content part on its way to the device."""

    def __init__(self, part: Part, rate_hz: int) -> None:
        self.part = part
        self.chunks: deque[Samples] = deque()
        self.queued = 0
        self.played = 0
        self.complete = False
        self.resampler = Resampler(WIRE_RATE_HZ, rate_hz) if rate_hz != WIRE_RATE_HZ else None

    def add(self, samples: Samples) -> None:
        if len(samples):
            self.chunks.append(samples)
            self.queued += len(samples)

    def take(self, frames: int) -> Iterator[Samples]:
        """Yield up to ``frames`` samples, in pieces."""
        while frames and self.chunks:
            chunk = self.chunks.popleft()
            piece, rest = chunk[:frames], chunk[frames:]
            if len(rest):
                self.chunks.appendleft(rest)
            frames -= len(piece)
            self.queued -= len(piece)
            self.played += len(piece)
            yield piece


class Speaker:
    """Plays what the model says.

    Args:
        portaudio: the module ``sounddevice``.
        device: the device that plays.
        sound: the format in which the device is opened.
        record: called with each block that the device took, on PortAudio's thread.

    Attributes:
        level: the level of the audio.
        gaps: how often the queue ran empty in the middle of an answer.
        stream: the PortAudio stream, with its underruns.
    """

    def __init__(self, portaudio: Any, device: Device, sound: Format, *, record: Record) -> None:
        self.level = Level()
        self.gaps = 0
        self.stream = Stream(portaudio, device, sound, "output", self._callback)
        self._rate_hz = sound.rate_hz
        self._record = record
        self._lock = threading.Lock()
        self._queue: deque[_Playing] = deque()
        self._stopped: deque[Part] = deque(maxlen=REMEMBERED)
        self._gap = False
        self._taken_s = 0.0

    @property
    def quiet_for_s(self) -> float:
        """How long the speaker has been silent; 0 while it plays, or has audio to play."""
        with self._lock:
            waits = any(part.queued for part in self._queue)
        silent_from_s = self._taken_s + self.stream.latency_s  # the device still held it
        return 0.0 if waits else max(time.monotonic() - silent_from_s, 0.0)

    def play(self, item_id: str, content_index: int, pcm: bytes) -> None:
        """Enqueue audio of an item, PCM16 mono at 24 kHz.

        Audio of a stopped part is dropped: the server generates faster than the speaker plays, so
        deltas of it may still arrive.
        """
        part = (item_id, content_index)
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
        with self._lock:
            if part in self._stopped:
                return
            playing = self._part(part)
            playing.add(playing.resampler.feed(samples) if playing.resampler else samples)

    def complete(self, item_id: str, content_index: int) -> None:
        """Note that all audio of a part has been enqueued."""
        with self._lock:
            playing = next((p for p in self._queue if p.part == (item_id, content_index)), None)
            if playing is not None:
                playing.complete = True
                if playing.resampler:
                    playing.add(playing.resampler.finish())

    def stop(self) -> list[Cut]:
        """Stop playing; return the parts that were cut, in playing order."""
        with self._lock:
            cuts = [
                Cut(*playing.part, playing.played * 1000 // self._rate_hz)
                for playing in self._queue
                if playing.queued or not playing.complete
            ]
            self._stopped.extend(playing.part for playing in self._queue)
            self._queue.clear()
            self._gap = False
            return cuts

    def _part(self, part: Part) -> _Playing:
        for playing in self._queue:
            if playing.part == part:
                return playing
        self._queue.append(_Playing(part, self._rate_hz))
        return self._queue[-1]

    # --- on PortAudio's thread -------------------------------------------------------------------

    def _callback(self, outdata: Samples, frames: int) -> None:
        start = 0
        for item_id, piece in self._take(frames):
            end = start + len(piece)
            outdata[start:end] = piece[:, np.newaxis]  # the same on every channel
            self._record(outdata[start:end], item_id=item_id, rate=self._rate_hz)
            start = end
        if start:
            self._taken_s = time.monotonic()
        if start < frames:
            outdata[start:] = 0
            self._record(outdata[start:], rate=self._rate_hz)
        self.level.feed(outdata, self._rate_hz)

    def _take(self, frames: int) -> list[tuple[str, Samples]]:
        taken: list[tuple[str, Samples]] = []
        with self._lock:
            while frames and self._queue:
                playing = self._queue[0]
                for piece in playing.take(frames):
                    taken.append((playing.part[0], piece))
                    frames -= len(piece)
                if playing.queued:
                    break
                if not playing.complete and len(self._queue) == 1:
                    break
                self._queue.popleft()
            starved = bool(frames and self._queue and self._queue[0].played)
            self.gaps += starved and not self._gap
            self._gap = starved
        return taken
