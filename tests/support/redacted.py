"""Calls told by hand whose recording is to be silenced in places, and the looks at what was heard."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

import otel_realtime
from tests.support.talking import tone

BEGAN_NS = 1_780_000_000_000_000_000
#: A stretch in ms, and the channels that are silent in it: 0 user, 1 agent.
Silent = tuple[float, float, tuple[int, ...]]
BOTH, USER, AGENT = (0, 1), (0,), (1,)
PCM16: dict[str, Any] = {"type": "audio/pcm", "rate": 24_000}
MULAW: dict[str, Any] = {"type": "audio/pcmu"}


def mulaw(ms: int) -> bytes:
    """G.711 that is loud throughout."""
    return bytes((0x10, 0x90)[at // 9 % 2] for at in range(ms * 8))


class Told:
    """A conversation with every time of it given, in ms since its start.

    Both sides speak all the time: the user from 0 on, the agent from 200 ms on.

    Args:
        call: the conversation.
        user, agent: the formats of both sides.
    """

    def __init__(
        self,
        call: otel_realtime.Conversation,
        *,
        user: dict[str, Any] = PCM16,
        agent: dict[str, Any] = PCM16,
    ) -> None:
        self.call = call
        self._formats = {"user": user, "agent": agent}
        audio = {
            "input": {"format": user, "turn_detection": {"interrupt_response": False}},
            "output": {"format": agent},
        }
        self.got(0, "session.created", session={"id": "s", "model": "gpt-realtime", "audio": audio})

    def got(self, at_ms: float, kind: str, **fields: Any) -> None:
        """The server says something."""
        self.call.received({"type": kind, **fields}, at_ns=BEGAN_NS + round(at_ms * 1e6))

    def sound(self, side: str, ms: int, hz: float = 330.0) -> bytes:
        """Sound in a side's format, without a zero sample."""
        return mulaw(ms) if self._formats[side] == MULAW else tone(ms, hz)

    def user(self, start_ms: int, end_ms: int) -> None:
        """The user speaks, in frames of 20 ms, each sent when it is over."""
        for at_ms in range(start_ms, end_ms, 20):
            audio = base64.b64encode(self.sound("user", 20)).decode()
            event = {"type": "input_audio_buffer.append", "audio": audio}
            self.call.sent(event, at_ns=BEGAN_NS + (at_ms + 20) * 1_000_000)

    def agent(self, at_ms: int, length_ms: int, item: str = "a", response: str = "r") -> None:
        """An answer arrives at once, and is played."""
        audio = base64.b64encode(self.sound("agent", length_ms, 550)).decode()
        keys = {"response_id": response, "item_id": item, "content_index": 0}
        self.got(at_ms, "response.created", response={"id": response})
        self.got(at_ms, "response.output_audio.delta", **keys, delta=audio)

    def vad(self, item: str, start_ms: int, end_ms: int) -> None:
        """The server's VAD hears an utterance, and commits it."""
        self.got(end_ms, "input_audio_buffer.speech_started", item_id=item, audio_start_ms=start_ms)
        self.got(end_ms, "input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=end_ms)
        self.got(end_ms, "input_audio_buffer.committed", item_id=item)

    def both(self, length_ms: int) -> None:
        """Both sides speak until the end."""
        self.agent(0, length_ms)
        self.user(0, length_ms)


def silenced(recording: np.ndarray, rate_hz: int, silent: Iterable[Silent]) -> np.ndarray:
    """A recording with silence in its place: what it has to be, sample for sample."""
    found = recording.copy()
    for start_ms, end_ms, channels in silent:
        first, last = int(start_ms * rate_hz // 1000), int(-(-end_ms * rate_hz // 1000))
        for channel in channels:
            found[first:last, channel] = 0
    return found
