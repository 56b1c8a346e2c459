"""An app whose sound callbacks are those of the README, on real PortAudio; run as a process of its own.

``python -m tests.support.callback_app KIND DEVICE`` with KIND ``array``, sounddevice's default: NumPy
arrays ``(frames, channels)`` of float32; or ``raw``: buffers of 16-bit samples.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import otel_realtime
from tests.support.readme import run, snippet
from tests.support.talking import RATE, tone

PLAYED = tone(1_000, 523)
ITEM = "item_1"


class Queue:
    """What the README's callback takes from: samples as its stream takes them, and silence."""

    def __init__(self, samples: Any) -> None:
        self._samples = samples

    def take(self, frames: int) -> tuple[str | None, Any]:
        """Return the item that plays and the samples of the next block."""
        block, self._samples = self._samples[:frames], self._samples[frames:]
        rest = frames - len(block)
        silence = bytes(rest) if isinstance(block, bytes) else np.zeros((rest, 1), np.float32)
        whole = block + silence if isinstance(block, bytes) else np.concatenate([block, silence])
        return (ITEM if len(block) else None), whole


def main(kind: str, device: str) -> None:
    """Play a second, record a second and a half, and deliver."""
    import sounddevice  # it looks for the devices

    readme = run(snippet("on_speaker_needs_audio"))
    floats = np.frombuffer(PLAYED, "<i2").reshape(-1, 1).astype(np.float32) / 32_768
    queue = Queue(PLAYED if kind == "raw" else floats)
    options: dict[str, Any] = {
        "device": device, "samplerate": RATE, "channels": 1, "blocksize": RATE // 50,
    }  # fmt: skip
    streams: tuple[Any, Any] = (sounddevice.OutputStream, sounddevice.InputStream)
    if kind == "raw":
        streams = (sounddevice.RawOutputStream, sounddevice.RawInputStream)
        options["dtype"] = "int16"
    otel_realtime.configure()
    with otel_realtime.conversation() as call:

        def play(outdata: Any, *_: object) -> None:
            readme["on_speaker_needs_audio"](call, queue, RATE, outdata)

        def record(indata: Any, *_: object) -> None:
            readme["on_microphone_audio"](call, RATE, indata)

        with streams[0](callback=play, **options), streams[1](callback=record, **options):
            time.sleep(2)
    assert otel_realtime.flush(30)


if __name__ == "__main__":
    main(*sys.argv[1:])
