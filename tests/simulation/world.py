"""One random conversation: a user, a microphone, a server and a client of some style.

It yields what a recorder sees, in order of time, and the truth. Times are milliseconds since the
conversation's start.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from otel_realtime.core.audio.formats import AudioFormat
from tests.simulation.player import Chunk, Sounded, Stall, cut, merged, play
from tests.simulation.sound import Source
from tests.simulation.styles import Moment, Style, playing

PREFIX_MS, SILENCE_MS = 300, 500
CHUNK_MS = 250
BLOCK_MS = 20.0


@dataclass(frozen=True)
class Utterance:
    """Somebody speaks; ``start`` and ``end`` in real time, and in the audio that was appended."""

    start: float
    end: float


@dataclass
class Truth:
    """What really happened.

    Attributes:
        heard: what came out of the speaker.
        late_ms: how late the player was at most.
        claims: by item, the truncate that the server accepted.
        mistaken: items that a client's untrue claim is about: of an item that does not play yet, or
            of far more of it than was played.
        spoken: the user's utterances as (start, end, first sample, sample after the last).
        close: when the connection was closed.
    """

    heard: list[Sounded] = field(default_factory=list)
    late_ms: float = 0.0
    claims: dict[str, float] = field(default_factory=dict)
    mistaken: set[str] = field(default_factory=set)
    spoken: list[tuple[float, float, int, int]] = field(default_factory=list)
    close: float = 0.0


@dataclass(frozen=True)
class Seen:
    """Something that the recorder is told at a time."""

    at: float
    call: str
    args: tuple[Any, ...] = ()


class World:
    """Makes up one conversation.

    Args:
        seed: of everything random.
        style: the client's.
        audio_format: of both sides.
    """

    def __init__(self, seed: int, style: Style, audio_format: AudioFormat) -> None:
        self.random = random.Random(seed)
        self.style = style
        self.truth = Truth()
        self.seen: list[Seen] = []
        self.user = Source(audio_format, voice=1)
        self.agent = Source(audio_format, voice=-1)
        self.latency = self.random.uniform(0, 400)
        self._utterances: list[Utterance] = []
        self._items = 0
        self._claims: dict[str, tuple[float, float]] = {}
        self._format = audio_format

    def run(self) -> None:
        """Hold the conversation."""
        self._tell(0, "received", self._session())
        t = self.random.uniform(1_200, 2_500)
        for _ in range(self.random.randint(2, 4)):
            t = self._turn(t)
        hangs_up = self.style.listens and self.random.random() < 0.3
        end = max([t, *(one.end for one in self.truth.heard)])
        self.truth.close = t if hangs_up and t > 3_000 else end + self.random.uniform(2_100, 3_000)
        self.truth.heard = cut(self.truth.heard, self.truth.close)
        self.seen = [one for one in self.seen if one.at <= self.truth.close]
        for item, (at, end_ms) in self._claims.items():
            if at <= self.truth.close:
                self.truth.claims[item] = end_ms
        self._microphone()
        self.seen.sort(key=lambda one: one.at)

    def _tell(self, at: float, call: str, *args: Any) -> None:
        self.seen.append(Seen(at, call, args))

    def _session(self) -> dict[str, Any]:
        wire = self._format.to_wire()
        turn = {"type": "server_vad"} if self.style.listens else None
        audio = {"input": {"format": wire, "turn_detection": turn}, "output": {"format": wire}}
        return {"type": "session.created", "session": {"type": "realtime", "audio": audio}}

    # --- one turn -------------------------------------------------------------------------------

    def _turn(self, start: float) -> float:
        """The user speaks, the agent answers; returns when the user speaks next."""
        end = start + self.random.uniform(600, 2_000)
        self._utterances.append(Utterance(start, end))
        answered = end + (SILENCE_MS + 44 if self.style.listens else 100) + 350
        chunks = self._answer(answered + self.random.uniform(0, 100))
        stalls = []
        if self.random.random() < 0.2:
            at = self.random.uniform(chunks[0].at, chunks[-1].at + 2_000)
            stalls.append(Stall(at, self.random.uniform(40, 200)))
        busy = self.truth.heard[-1].end if self.truth.heard else 0.0
        heard = play(chunks, self.latency, stalls, busy)
        self.truth.late_ms += sum(stall.ms for stall in stalls)
        last = heard[-1].end
        again = last + self.random.uniform(300, 1_500)
        if self.random.random() < 0.6:
            first = chunks[0].at + 50 if self.style.listens else chunks[-1].at
            again = self.random.uniform(first, last + 200)
        if self.style.listens:
            chunks, heard = self._broken_in(again, chunks, heard)
        for chunk in chunks:
            raw = self.agent.speak(chunk.ms, (chunk.item, chunk.begin))
            self._tell(chunk.at, "delta", raw, chunk)
        self.truth.heard += heard
        self._tap(heard, chunks)
        return again

    def _answer(self, at: float) -> list[Chunk]:
        chunks = []
        for number in range(self.random.choice((1, 1, 2))):
            response = f"resp_{self._items}_{number}"
            for _ in range(self.random.choice((1, 1, 2))):
                self._items += 1
                for begin in range(0, self.random.randint(2, 24) * CHUNK_MS, CHUNK_MS):
                    chunks.append(Chunk(at, f"item_{self._items}", begin, CHUNK_MS, response))
                    at += CHUNK_MS / 5 + self.random.uniform(0, 20)
                    if self.random.random() < 0.02:
                        at += self.random.uniform(300, 1_500)
            at += self.random.uniform(0, 300)
        return chunks

    def _broken_in(
        self, speech: float, chunks: list[Chunk], heard: list[Sounded]
    ) -> tuple[list[Chunk], list[Sounded]]:
        """``speech_started`` comes; the client does what its style does."""
        at = speech + 340 + self.random.uniform(0, 15)
        self._tell(at, "received", {"type": "input_audio_buffer.speech_started"})
        arrived = [chunk for chunk in chunks if chunk.at <= at]
        if not arrived:
            return [], []
        now = playing(heard[: len(arrived)], at)
        self._truncate(at, arrived, heard, now)
        if now is None:
            return arrived, heard[: len(arrived)]
        begun = {chunk.response for chunk in arrived}
        too_late = [c for c in chunks if at < c.at <= at + 60 and c.response in begun]
        flush = at + 2 + self.random.uniform(*self.style.reaction)
        return [*arrived, *too_late], cut(heard[: len(arrived)], flush)

    def _truncate(
        self, at: float, arrived: list[Chunk], heard: list[Sounded], now: Sounded | None
    ) -> None:
        item = arrived[-1].item
        if self.style.knows_player:
            if now is None:
                return
            item = now.item
        if now is not None and now.item != item:
            names = list(dict.fromkeys(chunk.item for chunk in arrived))
            self.truth.mistaken.update(names[names.index(now.item) :])
        own = [chunk for chunk in arrived if chunk.item == item]
        if not own:
            return
        received = sum(chunk.ms for chunk in own)
        played = sum(one.ms for one in cut(heard, at) if one.item == item)
        end_ms = self.style.claim(Moment(at, item, own[0].at, received, played))
        sent = at + self.random.uniform(0.5, 2)
        far = played + self.latency + self.truth.late_ms + 1
        if end_ms is not None and far < end_ms <= received:
            self.truth.mistaken.update(chunk.item for chunk in arrived)
        if end_ms is None:
            if self.style.deletes and not played:
                self._tell(sent, "sent", {"type": "conversation.item.delete", "item_id": item})
                self._claims[item] = (sent, 0)
            return
        claim = {"item_id": item, "content_index": 0, "audio_end_ms": end_ms}
        self._tell(sent, "sent", {"type": "conversation.item.truncate", **claim})
        if end_ms > received:
            message = f"Audio content of {received:.0f}ms is already shorter than {end_ms}ms"
            self._tell(sent + 60, "received", {"type": "error", "error": {"message": message}})
        else:
            self._tell(sent + 60, "received", {"type": "conversation.item.truncated", **claim})
            self._claims[item] = (sent, end_ms)

    # --- what a tap tells -----------------------------------------------------------------------

    def _tap(self, heard: list[Sounded], chunks: list[Chunk]) -> None:
        if self.style.tap == "played":
            for one in heard:
                done = 0.0
                while done < one.ms - 1e-6:
                    done = min(done + BLOCK_MS, one.ms)
                    at = one.at + done + self.random.uniform(0, 8)
                    self._tell(at, "played", one.item, one.begin + done)
        elif self.style.tap == "marks":
            for one in heard:
                if one.ms == CHUNK_MS:
                    at = one.end + self.random.uniform(20, 50)
                    self._tell(at, "played", one.item, one.until)
        elif self.style.tap:
            stretches = merged(heard)
            for one, following in zip(stretches, [*stretches[1:], None], strict=True):
                self._give(one, pads=following is None or following.at > one.end + 1e-6)

    def _give(self, one: Sounded, *, pads: bool) -> None:
        """The device's thread asks for blocks; zeros fill the last one where nothing follows."""
        raw = self.agent.piece(one.item, one.begin, one.ms)
        size, per_ms = self.agent.size(BLOCK_MS), self.agent.size(1)
        for at in range(0, len(raw), size):
            block = raw[at : at + size]
            when = one.at + at / per_ms + self.random.uniform(0, 8)
            chunk = Chunk(when, one.item, one.begin + at / per_ms, len(block) / per_ms, "")
            self._tell(when, "give", block, size - len(block) if pads else 0, chunk)

    # --- the user's side ------------------------------------------------------------------------

    def _microphone(self) -> None:
        """Capture goes on all the time; what it captures is sent late, in bursts, or not at all."""
        speed = 1 + self.random.choice((0, 0, 1e-4, -1e-4))
        frame = self.random.choice((20.0, 40.0, 100.0)) if self.style.listens else 20.0
        sent_until = 0.0
        stall = self._stall() if self.style.listens else (0.0, 0.0)
        mute = self._mute() if not stall[1] else (0.0, 0.0)
        captured, last = -self.random.choice((0, 0, 500.0)), 0.0
        while captured < self.truth.close - frame:
            begin, captured = captured, captured + frame * speed
            pressed = self._pressed(captured)
            if pressed is None or mute[0] <= captured < mute[1]:
                continue
            sent = max(captured, pressed) + self.random.uniform(0, 15)
            if stall[0] <= sent < stall[1]:
                sent = stall[1]
            last = max(last, sent, 0.5)
            if last > self.truth.close:
                break
            self._tell(last, "append", self._capture(begin, captured, frame))
            sent_until = captured
        self.truth.spoken = [
            (one.start, one.end, *self.user.where(number))
            for number, one in enumerate(self._utterances)
            if one.end < sent_until
        ]

    def _capture(self, begin: float, end: float, frame: float) -> bytes:
        raw = b""
        at, scale = begin, frame / (end - begin)
        for number, one in enumerate(self._utterances):
            low, high = max(begin, one.start), min(end, one.end)
            if low < high:
                raw += self.user.silence((low - at) * scale)
                raw += self.user.say((high - low) * scale, number)
                at = high
        return raw + self.user.silence(frame, upto=raw)

    def _pressed(self, captured: float) -> float | None:
        """Push to talk: what is captured while the button is down goes out on its release."""
        if self.style.listens:
            return 0.0
        for one in self._utterances:
            if one.start - 150 <= captured <= one.end + 150:
                return one.end + 150
        return None

    def _stall(self) -> tuple[float, float]:
        if self.random.random() < 0.5:
            return (0.0, 0.0)
        at = self.random.uniform(0, self.truth.close - 4_000)
        return (at, at + self.random.uniform(800, 3_000))

    def _mute(self) -> tuple[float, float]:
        """Silence between two utterances that is not sent."""
        if self.random.random() < 0.5 or len(self._utterances) < 2:
            return (0.0, 0.0)
        start = self._utterances[0].end + 250
        end = min(start + self.random.uniform(200, 2_000), self._utterances[1].start - 250)
        return (start, end)
