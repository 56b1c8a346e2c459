"""A simulated conversation as the product took it in: what its recording and its facts say.

The recorder is driven without threads and clocks.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otel_realtime.recording.render import render
from otel_realtime.recording.track import TapAudio, Track
from tests.simulation.sound import Samples, decode
from tests.simulation.world import World
from tests.support.calls import append_frame, delta_frame

MS_NS = 1_000_000


@dataclass(frozen=True)
class Facts:
    """What is said of an item: how much of it was heard, and who says so."""

    heard_ms: float
    source: str


@dataclass(frozen=True)
class Recorded:
    """The outcome.

    Attributes:
        user: the left channel.
        agent: the right channel.
        rate_hz: of both.
        facts: by item.
        talk: seconds by name, as on the root.
        length_ms: of the recording.
    """

    user: Samples
    agent: Samples
    rate_hz: int
    facts: dict[str, Facts]
    talk: dict[str, float]

    @property
    def length_ms(self) -> float:
        """How long the recording is."""
        return self.user.size / self.rate_hz * 1000


TALK = ("user_talk_s", "agent_talk_s", "overlap_s", "dead_air_s")


class _Live:
    """Tells a recorder what a live client does."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._track = Track({}, folder)
        self._track.open()

    def received(self, t: int, event: dict[str, Any]) -> None:
        self._track.event(t, False, event)

    def sent(self, t: int, event: dict[str, Any]) -> None:
        self._track.event(t, True, event)

    def append(self, t: int, raw: bytes) -> None:
        self._track.frame(t, True, append_frame(raw))

    def delta(self, t: int, raw: bytes, item: str, response: str) -> None:
        self._track.frame(t, False, delta_frame(raw, item, response))

    def played(self, t: int, item: str, audio_ms: float) -> None:
        self._track.played(t, item, 0, audio_ms)

    def give(self, t: int, pcm: bytes, rate_hz: int, item: str | None) -> None:
        self._track.tap(t, "agent", TapAudio(pcm, rate_hz, item_id=item))

    def end(self, t: int) -> Recorded:
        self._track.close(t, True)
        for step in ("measure", "finish"):  # which 0.1.0 does by itself
            getattr(self._track, step, lambda: None)()
        facts = {}
        for item, _ in self._world.pieces:
            known = self._track.item(item)
            if known is not None:
                facts[item] = Facts(known.heard_ms, known.heard_source)
        summary = self._track.summary()
        talk = {name: getattr(summary, name) for name in TALK}
        return Recorded(
            *_channels(render(self._folder, self._folder / "out.wav").path), facts, talk
        )


def record(world: World, folder: Path) -> Recorded:
    """Let the product record a conversation."""
    teller = _Live(world, folder)
    for seen in world.seen:
        t = round(seen.at * MS_NS)
        if seen.call == "give":
            raw, lacking, item = seen.args
            pcm = decode(raw, world.format).astype("<i2").tobytes() + bytes(2 * lacking)
            named = item if world.style.tap == "audio+items" else None
            teller.give(t, pcm, world.format.rate_hz, named)
        elif seen.call == "delta":
            raw, chunk = seen.args
            teller.delta(t, raw, chunk.item, chunk.response)
        else:
            getattr(teller, seen.call)(t, *seen.args)
    return teller.end(round(world.truth.close * MS_NS))


def _channels(path: Path) -> tuple[Samples, Samples, int]:
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy(), file.getframerate()
