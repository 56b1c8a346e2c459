"""Holds one simulated conversation's recording against the truth."""

from __future__ import annotations

import wave
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.segments import Segment
from otel_realtime.recording.render import render
from otel_realtime.recording.track import TapAudio, Track
from tests.simulation.player import Chunk, Sounded
from tests.simulation.styles import Style
from tests.simulation.world import World
from tests.support.calls import append_frame, delta_frame

MS_NS = 1_000_000


@dataclass
class Verdict:
    """How far one recording is from the truth, in ms.

    Attributes:
        style: the client's name.
        latency: how late its player was at most.
        starts: of each item that was heard, the distance of the beginnings.
        ends: the same of the ends, where nothing but the player decides.
        kept: of each truncated item, what was kept less what was claimed.
        surplus: of each item, how much more or less of it was kept than was heard.
        user: of each utterance, the distances of its first and last sample.
        length: of the file, less the close or the end of the last audio that is kept.
        mistaken: items that are left out: what the client claimed of them is not true.
        sources: what the facts name as source.
    """

    style: str
    latency: float
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    surplus: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)
    length: float = 0.0
    mistaken: int = 0
    sources: set[str] = field(default_factory=set)


class Recorded:
    """A conversation as the real recorder took it in and rendered it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.track = Track({}, folder)
        self.wire: list[Chunk] = []
        self.given: list[Chunk] = []
        self._places: dict[bool, list[int]] = {False: [], True: []}
        self._wire_raw, self._given_raw = bytearray(), bytearray()
        self.track.open()
        for seen in world.seen:
            getattr(self, f"_{seen.call}")(round(seen.at * MS_NS), *seen.args)
        self.track.close(round(world.truth.close * MS_NS), True)
        self.track.measure()
        self.track.finish()
        self.timeline = self.track._timeline
        self.left, self.right, self.rate_hz = _channels(render(folder, folder / "out.wav").path)

    def _received(self, t: int, event: dict[str, object]) -> None:
        self.track.event(t, False, event)

    def _sent(self, t: int, event: dict[str, object]) -> None:
        self.track.event(t, True, event)

    def _append(self, t: int, raw: bytes) -> None:
        self.track.frame(t, True, append_frame(raw))

    def _delta(self, t: int, raw: bytes, chunk: Chunk) -> None:
        self.wire.append(chunk)
        self._places[False].append(len(self._wire_raw))
        self._wire_raw += raw
        self.track.frame(t, False, delta_frame(raw, chunk.item, chunk.response))

    def _played(self, t: int, item: str, audio_ms: float) -> None:
        self.track.played(t, item, 0, audio_ms)

    def _give(self, t: int, raw: bytes, lacking: int, chunk: Chunk) -> None:
        named = chunk.item if self.world.style.tap == "audio+items" else None
        audio_format = self.world.agent.format
        pcm = decode(raw, audio_format).tobytes() + bytes(lacking // audio_format.width * 2)
        self.given.append(chunk)
        self._places[True].append(len(self._given_raw))
        self._given_raw += pcm
        self.track.tap(t, "agent", TapAudio(pcm, audio_format.rate_hz, item_id=named))

    def sounded(self) -> dict[str, list[Sounded]]:
        """Where each item is in the recording."""
        found: dict[str, list[Sounded]] = defaultdict(list)
        for segment in self.timeline.segments("agent"):
            for one in self._items(segment):
                found[one.item].append(one)
        return found

    def _items(self, segment: Segment) -> Iterable[Sounded]:
        chunks, per_ms = self.given if segment.tap else self.wire, segment.format.bytes_per_s / 1000
        for chunk, base in zip(chunks, self._places[segment.tap], strict=True):
            size = chunk.ms * per_ms
            low, high = max(segment.offset, base), min(segment.offset + segment.size, base + size)
            if low < high:
                at = segment.start_ns / MS_NS + (low - segment.offset) / per_ms
                begin = chunk.begin + (low - base) / per_ms
                yield Sounded(at, chunk.item, begin, (high - low) / per_ms)

    def check_samples(self) -> None:
        """What is in the file is exactly what the timeline says, and no side is in the other."""
        user = decode(bytes(self.world.user.raw), self.world.user.format)
        agent = decode(bytes(self._wire_raw), self.world.agent.format)
        given = np.frombuffer(bytes(self._given_raw), "<i2")
        assert (self.left >= 0).all()
        assert (self.right <= 0).all()
        expected = self._laid_out("user", user, user)
        assert np.array_equal(expected, self.left)
        assert np.array_equal(self._laid_out("agent", agent, given), self.right)

    def _laid_out(self, side: str, wire: np.ndarray, given: np.ndarray) -> np.ndarray:
        found, end = np.zeros(self.left.size, np.int16), 0
        for segment in self.timeline.segments(side):
            source, width = (given if segment.tap else wire), segment.format.width
            low = segment.offset // width
            samples = source[low : low + segment.size // width]
            start = max(round(segment.start_ns * self.rate_hz / 1e9), end)
            end = start + samples.size
            found[start:end] = samples
        return found


def judge(seed: int, style: Style, audio_format: AudioFormat, folder: Path) -> Verdict:
    """Simulate one conversation, record it, and compare."""
    world = World(seed, style, audio_format)
    world.run()
    recorded = Recorded(world, folder)
    recorded.check_samples()
    verdict = Verdict(style.name, world.latency + world.truth.late_ms)
    _agent(world, recorded, verdict)
    _user(world, recorded, verdict)
    last = max((one.end for of in recorded.sounded().values() for one in of), default=0.0)
    length = recorded.left.size / recorded.rate_hz * 1000
    verdict.length = length - max(world.truth.close, last)
    return verdict


def _agent(world: World, recorded: Recorded, verdict: Verdict) -> None:
    truth: dict[str, list[Sounded]] = defaultdict(list)
    for one in world.truth.heard:
        truth[one.item].append(one)
    sounded = recorded.sounded()
    for item in {chunk.item for chunk in recorded.wire}:
        real, found = truth[item], sounded[item]
        facts = recorded.track.item(item)
        assert facts is not None
        verdict.sources.add(facts.heard_source)
        kept = sum(one.ms for one in found)
        if not recorded.given:
            assert abs(facts.heard_ms - kept) < 1
        claimed = item in world.truth.claims
        if claimed:
            verdict.kept.append(facts.heard_ms - world.truth.claims[item])
        if item in world.truth.mistaken:
            verdict.mistaken += 1
            continue
        verdict.surplus.append(facts.heard_ms - sum(one.ms for one in real))
        if real and found:
            verdict.starts.append(found[0].at - real[0].at)
            if not claimed:
                verdict.ends.append(found[-1].end - real[-1].end)


def _user(world: World, recorded: Recorded, verdict: Verdict) -> None:
    segments = recorded.timeline.segments("user")
    for start, end, first, after in world.truth.spoken:
        verdict.user.append(_place(segments, first) - start)
        verdict.user.append(_place(segments, after - 1) - end)


def _place(segments: list[Segment], offset: int) -> float:
    for segment in segments:
        if segment.offset <= offset < segment.offset + segment.size:
            past = segment.format.duration_ns(offset - segment.offset)
            return (segment.start_ns + past) / MS_NS
    return float("inf")


def _channels(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return both[:, 0], both[:, 1], file.getframerate()
