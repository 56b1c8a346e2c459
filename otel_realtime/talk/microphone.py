"""Records the microphone: passes audio from PortAudio's callback to the recording and the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.recording.resample import Resampler
from otel_realtime.talk.devices import WIRE_RATE_HZ, Device, Format
from otel_realtime.talk.levels import Level
from otel_realtime.talk.stream import BLOCK_MS, Stream

Samples = npt.NDArray[np.int16]
#: ``Conversation.record_user_audio``.
Record = Callable[..., object]
#: Most blocks that may wait for a busy event loop: 10 s; further blocks are dropped and counted.
BACKLOG: Final = 10_000 // BLOCK_MS


@dataclass(frozen=True, slots=True)
class Block:
    """A few milliseconds of audio: PCM16 mono at 24 kHz, and whether the microphone was open or muted."""

    pcm: bytes
    open: bool


class Microphone:
    """Records what the user says.

    While the microphone is muted, silence is sent and recorded.

    Args:
        portaudio: the module ``sounddevice``.
        device: the device that records.
        sound: the format in which the device is opened.
        record: called with each block that the device delivered, on PortAudio's thread.
        is_open: called for each block on that thread; returns whether the microphone is open.

    Attributes:
        level: the level of the audio, even while muted.
        dropped: number of blocks that were dropped because the event loop was too busy.
        stream: the PortAudio stream, with its overruns.
    """

    def __init__(
        self,
        portaudio: Any,
        device: Device,
        sound: Format,
        *,
        record: Record,
        is_open: Callable[[], bool],
    ) -> None:
        self.level = Level()
        self.dropped = 0
        self.stream = Stream(portaudio, device, sound, "input", self._callback)
        self._record = record
        self._is_open = is_open
        self._rate_hz = sound.rate_hz
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Samples, bool]] = asyncio.Queue()

    async def blocks(self) -> AsyncIterator[Block]:
        """Yield the recorded blocks as they arrive."""
        differs = self._rate_hz != WIRE_RATE_HZ
        resampler = Resampler(self._rate_hz, WIRE_RATE_HZ) if differs else None
        while True:
            samples, is_open = await self._queue.get()
            if resampler is not None:
                samples = resampler.feed(samples)
            yield Block(samples.astype("<i2", copy=False).tobytes(), is_open)

    # --- on PortAudio's thread -------------------------------------------------------------------

    def _callback(self, indata: Samples, frames: int) -> None:
        self.level.feed(indata, self._rate_hz)
        is_open = self._is_open()
        # Copied, because PortAudio reuses the buffer as soon as this returns.
        heard = indata.copy() if is_open else np.zeros_like(indata)
        self._record(heard, rate=self._rate_hz)
        mono = heard[:, 0] if heard.shape[1] == 1 else heard.mean(axis=1).astype(np.int16)
        if self._queue.qsize() >= BACKLOG:
            self.dropped += 1
            return
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (mono, is_open))
        except RuntimeError:
            pass  # the event loop has ended, and the stream is about to end
