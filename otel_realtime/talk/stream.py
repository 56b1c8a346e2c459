"""Opens, watches and closes one PortAudio stream, and counts its losses.

PortAudio tells the callback about samples that were lost on the way to or from the device: an
output underflow, or an input overflow
(https://python-sounddevice.readthedocs.io/en/latest/api/misc.html#sounddevice.CallbackFlags).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.errors import DeviceError
from otel_realtime.talk.devices import NOUNS, Device, Format, Side, cannot_open

Samples = npt.NDArray[np.int16]
#: Handles one block, ``(frames, channels)``, on PortAudio's thread: it fills or copies the block.
Block = Callable[[Samples, int], None]
#: Length of a block: as long as the packets of most voice protocols.
BLOCK_MS: Final = 20
#: A device that makes no callback for this time counts as lost.
LOST_S: Final = 3.0
#: How long a device may take to stop; an unplugged one may never stop.
STOP_TIMEOUT_S: Final = 2.0


class Stream:
    """A stream to or from a device; a context manager that opens and closes it.

    Args:
        portaudio: the module ``sounddevice``.
        device: the device.
        sound: the format in which it is opened.
        side: whether it records or plays.
        block: called with every block.

    Attributes:
        xruns: number of blocks in which PortAudio lost samples.
        blocks: number of all blocks so far.
        latency_s: time between the callback and the device, which plays later or recorded earlier.
    """

    def __init__(
        self, portaudio: Any, device: Device, sound: Format, side: Side, block: Block
    ) -> None:
        self.device = device
        self.sound = sound
        self.xruns = 0
        self.blocks = 0
        self.latency_s = 0.0
        self._portaudio = portaudio
        self._side = side
        self._block = block
        self._stream: Any = None
        self._called_s = 0.0
        self._ended = False
        self._error: BaseException | None = None

    def __enter__(self) -> Stream:
        kinds = {"input": self._portaudio.InputStream, "output": self._portaudio.OutputStream}
        callbacks = {"input": self._recorded, "output": self._asked}
        self._called_s = time.monotonic()
        try:
            self._stream = kinds[self._side](
                device=self.device.index,
                samplerate=self.sound.rate_hz,
                channels=self.sound.channels,
                dtype="int16",
                blocksize=self.sound.rate_hz * BLOCK_MS // 1000,
                latency="low",
                callback=callbacks[self._side],
                finished_callback=self._finished,
            )
            self.latency_s = float(self._stream.latency)
            self._stream.start()
        except self._portaudio.PortAudioError as error:
            raise DeviceError(cannot_open(self.device, self._side, error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        # On another thread, because closing a device that was unplugged may never return.
        stream, self._stream = self._stream, None
        closing = threading.Thread(
            target=self._close, args=(stream,), name="otel-realtime-talk-close", daemon=True
        )
        closing.start()
        closing.join(STOP_TIMEOUT_S)

    def _close(self, stream: Any) -> None:
        try:
            stream.close()
        except self._portaudio.PortAudioError:
            pass  # the device was already lost

    def check(self) -> None:
        """Check that the device still works.

        Raises:
            DeviceError: it stopped, or has made no callback for ``LOST_S``.
        """
        name = f"the {NOUNS[self._side]} {self.device.name!r}"
        if self._error is not None:
            raise DeviceError(f"{name} stopped: {self._error!r}") from self._error
        silent_s = time.monotonic() - self._called_s
        if self._stream is not None and (self._ended or silent_s > LOST_S):
            raise DeviceError(f"{name} has stopped: was it unplugged? The call is ended")

    # --- on PortAudio's thread -------------------------------------------------------------------

    def _recorded(self, indata: Samples, frames: int, _time: object, status: Any) -> None:
        self._run(indata, frames, bool(status.input_overflow))

    def _asked(self, outdata: Samples, frames: int, _time: object, status: Any) -> None:
        self._run(outdata, frames, bool(status.output_underflow))

    def _run(self, data: Samples, frames: int, xrun: bool) -> None:
        self._called_s = time.monotonic()
        self.blocks += 1
        self.xruns += xrun
        try:
            self._block(data, frames)
        except BaseException as error:  # sounddevice would only print it
            self._error = error
            raise self._portaudio.CallbackAbort from error

    def _finished(self) -> None:
        self._ended = True
