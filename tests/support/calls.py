"""A recording driven step by step, without threads or sockets, and tones to recognise in it.

Times are milliseconds since the conversation's start, audio is PCM16 at 24 kHz.
"""

from __future__ import annotations

import base64
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np

from otel_realtime.recording.render import Rendered, render
from otel_realtime.recording.track import Track

RATE = 24_000
PER_MS = 24
DATA = Path(__file__).parents[2] / "../shared/data"


def tone(ms: int, hz: float = 440.0, level: float = 8_000.0) -> np.ndarray:
    """A sine without a single zero sample, so that its place can be told by the sample."""
    n = np.arange(ms * PER_MS)
    wave_ = level * np.sin(2 * np.pi * hz * (n + 0.37) / RATE)
    samples = np.round(wave_).astype("<i2")
    samples[samples == 0] = 1
    return samples


def silence(ms: int) -> np.ndarray:
    """Digital silence."""
    return np.zeros(ms * PER_MS, "<i2")


def append_frame(raw: bytes) -> str:
    """A client's audio frame."""
    audio = base64.b64encode(raw).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def delta_frame(raw: bytes, item: str = "item_a", response: str = "resp_1", part: int = 0) -> str:
    """A server's audio frame."""
    event = {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": part,
        "delta": base64.b64encode(raw).decode(),
    }
    return json.dumps(event)


class Call:
    """One recorded conversation in a folder.

    Its client's player holds nothing back unless a test says otherwise, so what is heard lies where
    it arrived.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.track = Track({}, folder, buffer_ms=0)
        self.track.open()

    def say(self, at_ms: float, samples: np.ndarray) -> None:
        """The client sends audio."""
        self.track.frame(_ns(at_ms), True, append_frame(samples.tobytes()))

    def speak(self, start_ms: float, samples: np.ndarray, chunk_ms: int = 20) -> None:
        """A microphone sends ``samples`` that were spoken from ``start_ms``, chunk by chunk."""
        for at in range(0, samples.size, chunk_ms * PER_MS):
            chunk = samples[at : at + chunk_ms * PER_MS]
            self.say(start_ms + (at + chunk.size) / PER_MS, chunk)

    def hear(
        self, at_ms: float, samples: np.ndarray, item: str = "item_a", response: str = "resp_1"
    ) -> None:
        """The server's audio arrives."""
        self.track.frame(_ns(at_ms), False, delta_frame(samples.tobytes(), item, response))

    def sent(self, at_ms: float, kind: str, **fields: Any) -> None:
        """The client sends an event."""
        self.track.event(_ns(at_ms), True, {"type": kind, **fields})

    def received(self, at_ms: float, kind: str, **fields: Any) -> None:
        """The server sends an event."""
        self.track.event(_ns(at_ms), False, {"type": kind, **fields})

    def truncate(self, at_ms: float, item: str, end_ms: int, event_id: str | None = None) -> None:
        """The client says how much of an item it played."""
        fields = {"item_id": item, "content_index": 0, "audio_end_ms": end_ms}
        if event_id is not None:
            fields["event_id"] = event_id
        self.sent(at_ms, "conversation.item.truncate", **fields)

    def close(self, at_ms: float, out: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        """End the call and return the recording's two channels."""
        self.track.close(_ns(at_ms), True)
        self.track.measure()
        self.track.finish()
        return channels(render(self.folder, out or self.folder / "out.wav"))


def channels(rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """Left and right of a recording, read by somebody else's WAV reader."""
    with wave.open(str(rendered.path), "rb") as file:
        assert (2, 2, rendered.rate_hz, rendered.frames) == (
            file.getnchannels(),
            file.getsampwidth(),
            file.getframerate(),
            file.getnframes(),
        )
        both = np.frombuffer(file.readframes(rendered.frames), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def spans(channel: np.ndarray) -> list[tuple[int, int]]:
    """Where a channel is not silent: (first, after last) sample of each stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], channel != 0, [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _ns(at_ms: float) -> int:
    return round(at_ms * 1_000_000)
