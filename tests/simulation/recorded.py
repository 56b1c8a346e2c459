"""A simulated conversation as the product took it in: what its recording and its facts say.

A live call drives the recorder without threads and clocks. A replay goes through the public door, by
hand and with its own times, as fast as it goes.
"""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_realtime
from otel_realtime import Settings
from otel_realtime.recording.render import render
from otel_realtime.recording.track import TapAudio, Track
from tests.simulation.sound import Samples, decode
from tests.simulation.world import World
from tests.support.calls import append_frame, delta_frame

MS_NS = 1_000_000
#: When replayed calls began: long ago.
BEGAN_NS = 1_700_000_000_000_000_000
#: A recording is delivered within so many seconds, also on a busy machine.
DELIVERED_S = 30.0


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
        facts: by item; of a replay none are public.
        talk: seconds by name, as on the root, where it says them.
        heard_ms: by response, as on its span; of a replay only.
        waits_ms: likewise how long the user waited for it.
    """

    user: Samples
    agent: Samples
    rate_hz: int
    facts: dict[str, Facts]
    talk: dict[str, float]
    heard_ms: dict[str, float] = field(default_factory=dict)
    waits_ms: dict[str, float] = field(default_factory=dict)

    @property
    def length_ms(self) -> float:
        """How long the recording is."""
        return self.user.size / self.rate_hz * 1000


TALK = ("user_talk_s", "agent_talk_s", "overlap_s", "dead_air_s")


class _Teller(Protocol):
    """Tells the product what happens, in ns since the start."""

    def received(self, t: int, event: dict[str, Any]) -> None: ...
    def sent(self, t: int, event: dict[str, Any]) -> None: ...
    def append(self, t: int, raw: bytes) -> None: ...
    def delta(self, t: int, raw: bytes, item: str, response: str) -> None: ...
    def played(self, t: int, item: str, audio_ms: float) -> None: ...
    def give(self, t: int, pcm: bytes, rate_hz: int, item: str | None) -> None: ...
    def end(self, t: int) -> Recorded: ...


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


class _Replay:
    """Tells a conversation by hand what a log says."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._spans = folder / "kept", InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        settings = Settings(recordings_dir=self._kept, state_dir=folder, langsmith="off")
        self._block = otel_realtime.conversation(tracer_provider=provider, settings=settings)
        self._call = self._block.__enter__()

    def received(self, t: int, event: dict[str, Any]) -> None:
        self._call.received(json.dumps(event), at_ns=BEGAN_NS + t)

    def sent(self, t: int, event: dict[str, Any]) -> None:
        self._call.sent(json.dumps(event), at_ns=BEGAN_NS + t)

    def append(self, t: int, raw: bytes) -> None:
        self._call.sent(append_frame(raw), at_ns=BEGAN_NS + t)

    def delta(self, t: int, raw: bytes, item: str, response: str) -> None:
        self._call.received(delta_frame(raw, item, response), at_ns=BEGAN_NS + t)

    def played(self, t: int, item: str, audio_ms: float) -> None:
        self._call.played(item, 0, audio_ms, at_ns=BEGAN_NS + t)

    def give(self, t: int, pcm: bytes, rate_hz: int, item: str | None) -> None:
        self._call.record_agent_audio(pcm, rate=rate_hz, item_id=item, at_ns=BEGAN_NS + t)

    def end(self, t: int) -> Recorded:
        self.received(t, {"type": "rate_limits.updated", "rate_limits": []})  # the log's last row
        self._block.__exit__(None, None, None)
        assert otel_realtime.flush(DELIVERED_S)
        (found,) = self._kept.glob("*.wav")
        spans = self._spans.get_finished_spans()
        root = next(span for span in spans if span.parent is None)
        talk = {name: float(known) for name in TALK if (known := _fact(root, name)) is not None}
        heard, waits = (self._by_response(name) for name in ("heard_ms", "voice_to_voice_ms"))
        return Recorded(*_channels(found), {}, talk, heard, waits)

    def _by_response(self, name: str) -> dict[str, float]:
        return {
            str(_fact(span, "response.id")): float(_fact(span, name))
            for span in self._spans.get_finished_spans()
            if _fact(span, "response.id") is not None and _fact(span, name) is not None
        }


def _fact(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(f"otel_realtime.{name}")


def record(world: World, folder: Path) -> Recorded:
    """Let the product record a conversation."""
    teller: _Teller = _Replay(folder) if world.style.replayed else _Live(world, folder)
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
