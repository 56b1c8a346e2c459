"""One random conversation: a user, a microphone, a server and a client of some style.

It yields what a recorder sees, in order of time, and the truth. Times are milliseconds since the
conversation's start.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.microphone import (
    CLIP,
    GATED,
    HOLD_MS,
    MARGIN_MS,
    MUTED,
    OPEN,
    Microphone,
    Utterance,
)
from tests.simulation.player import Chunk, Player, Sounded, Stall, cut, merged
from tests.simulation.sound import Format, Voice
from tests.simulation.styles import Moment, Style, playing

PREFIX_MS, SILENCE_MS = 300, 500
BLOCK_MS = 20.0
#: A claim may be off by what a player's start may be late; one that is further off is no truth.
BELIEVED_MS = 450.0

Stretch = tuple[float, float]


@dataclass
class Truth:
    """What really happened.

    Attributes:
        heard: what came out of the speaker.
        claims: by item, the truncate that the server accepted.
        mistaken: items that a client's untrue claim is about: of an item that does not play yet, or
            of far more of it than was played.
        spoken: the user's utterances that were sent whole.
        talked: when the user spoke, of what was sent.
        answered: by response, when the user whom it answers had ended.
        close: when the connection was closed.
    """

    heard: list[Sounded] = field(default_factory=list)
    claims: dict[str, float] = field(default_factory=dict)
    mistaken: set[str] = field(default_factory=set)
    spoken: list[Utterance] = field(default_factory=list)
    talked: list[Stretch] = field(default_factory=list)
    answered: dict[str, float] = field(default_factory=dict)
    close: float = 0.0


@dataclass(frozen=True)
class Seen:
    """Something that the recorder is told at a time."""

    at: float
    call: str
    args: tuple[Any, ...] = ()


@dataclass
class Answer:
    """What the agent says next, and what would be heard of it."""

    chunks: list[Chunk]
    heard: list[Sounded]


class World:
    """Makes up one conversation.

    Args:
        seed: of everything random.
        style: the client's.
        audio_format: of both sides.

    Attributes:
        seen: what the client and the server do.
        pieces: the agent's audio, by item and where it begins in it, in the order of its arrival.
        items: by response.
    """

    def __init__(self, seed: int, style: Style, audio_format: Format) -> None:
        self.random = random.Random(seed)
        self.style = style
        self.format = audio_format
        self.truth = Truth()
        self.seen: list[Seen] = []
        self.player = Player(style.buffering, self.random)
        voice = Voice(audio_format, seed, style.voice_db, style.noise_db)
        self.microphone = Microphone(voice, style.sends, self._append, self.random)
        self._voice = Voice(audio_format, seed + 1_000_000)
        self.pieces: dict[tuple[str, float], bytes] = {}
        self.items: dict[str, list[str]] = {}
        self._answer = Answer([], [])
        self._items = 0
        self._stalled_ms = 0.0
        self._claims: dict[str, tuple[float, float]] = {}

    @property
    def late_ms(self) -> float:
        """By how much the player was late at most: its own start, and what its device stalled."""
        return self.player.latest + self._stalled_ms

    def run(self) -> None:
        """Hold the conversation."""
        self._tell(0, "received", self._session())
        t = self.random.uniform(1_200, 2_500)
        if self.style.sends == CLIP or self.random.random() < 0.2:
            t = self._speak(self.random.uniform(300, 600))
        turns = self.random.randint(2, 4)
        for number in range(turns):
            silent = self.style.sends == MUTED and number >= min(2, turns - 1)
            t = self._text(t) if silent else self._turn(t)
        end = max([t - 200, *(one.end for one in self._answer.heard)])
        close = end + self.random.uniform(2_100, 3_000)
        if self.random.random() < self.style.hangs_up:
            close = self.random.uniform(self._answer.chunks[0].at + 100, self._answer.heard[-1].end)
        self._settle(None)
        self._end(close)

    def _end(self, close: float) -> None:
        truth = self.truth
        truth.close = close
        truth.heard = cut(truth.heard, close)
        self.microphone.run(close)
        self.seen = sorted((one for one in self.seen if one.at <= close), key=lambda one: one.at)
        truth.claims = {item: ms for item, (at, ms) in self._claims.items() if at <= close}
        sent = [frame for frame in self.microphone.frames if frame.sent <= close]
        for said in self.microphone.utterances:
            talked = [
                (max(said.start, frame.begin), min(said.end, frame.end))
                for frame in sent
                if frame.begin < said.end and frame.end > said.start
            ]
            truth.talked += talked
            if talked and talked[-1][1] >= said.end - 1e-6:
                truth.spoken.append(said)

    def _tell(self, at: float, call: str, *args: Any) -> None:
        self.seen.append(Seen(at, call, args))

    def _received(self, at: float, kind: str, **more: Any) -> None:
        self._tell(at, "received", {"type": kind, **more})

    def _sent(self, at: float, kind: str, **more: Any) -> None:
        self._tell(at, "sent", {"type": kind, **more})

    def _append(self, at: float, raw: bytes) -> None:
        self._tell(at, "append", raw)

    def _session(self) -> dict[str, Any]:
        wire = self.format.wire()
        vad = {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": PREFIX_MS,
            "silence_duration_ms": SILENCE_MS,
            "interrupt_response": self.style.sends != CLIP,
        }
        turn = vad if self.style.listens else None
        audio = {"input": {"format": wire, "turn_detection": turn}, "output": {"format": wire}}
        return {"type": "session.created", "session": {"type": "realtime", "audio": audio}}

    # --- one turn -------------------------------------------------------------------------------

    def _turn(self, start: float) -> float:
        """The user speaks, the agent answers; returns when the user speaks next."""
        said = Utterance(start, start + self.random.uniform(600, 2_000))
        if self.style.sends == CLIP:
            said.end = start + self.random.choice((4_000, 8_000))
            answered = self._sent_as_file(said)
        elif self.style.listens:
            answered = self._detected(said)
        else:
            answered = self._pressed(said)
        again = self._speak(answered + 350 + self.random.uniform(0, 100))
        if self.style.sends != CLIP:
            self.truth.answered[self._answer.chunks[0].response] = said.end
        return again

    def _detected(self, said: Utterance) -> float:
        """The server hears the user begin and end."""
        microphone, user = self.microphone, f"user_{len(self.microphone.utterances)}"
        microphone.utterances.append(said)
        noticed = microphone.at(said.start + self.random.uniform(60, 200))
        at = noticed.sent + self.random.uniform(20, 35)
        start_ms = max(int(microphone.position(said.start)) - PREFIX_MS, 0)
        speech = "input_audio_buffer.speech_"
        self._received(at, f"{speech}started", item_id=user, audio_start_ms=start_ms)
        self._settle(at)
        end = said.end + SILENCE_MS
        stopped = microphone.at(end).sent + 44
        end_ms = int(microphone.position(end))
        self._received(stopped, f"{speech}stopped", item_id=user, audio_end_ms=end_ms)
        self._joined(stopped + 1, user)
        return stopped

    def _sent_as_file(self, said: Utterance) -> float:
        """It is no voice that breaks in: what plays plays on."""
        microphone, user = self.microphone, f"user_{len(self.microphone.utterances)}"
        position = len(microphone.raw) / self.format.width / self.format.rate_hz * 1000
        sent = microphone.send_file(said)
        if not self.style.listens:
            return self._committed(sent + 1)
        self._settle(None)
        speech = "input_audio_buffer.speech_"
        begins_ms = max(int(position) + MARGIN_MS - PREFIX_MS, 0)
        ends_ms = int(position + MARGIN_MS + said.end - said.start + SILENCE_MS)
        self._received(sent + 40, f"{speech}started", item_id=user, audio_start_ms=begins_ms)
        self._received(sent + 44, f"{speech}stopped", item_id=user, audio_end_ms=ends_ms)
        self._joined(sent + 45, user)
        return sent + 45

    def _pressed(self, said: Utterance) -> float:
        """The client knows that the user begins and ends."""
        gated = self.style.sends == GATED
        self._settle(said.start + (100 if gated else -HOLD_MS))
        self.microphone.utterances.append(said)
        self.microphone.run(said.end + (400 if gated else HOLD_MS))
        return self._committed(self.microphone.frames[-1].sent + 1)

    def _committed(self, at: float) -> float:
        self._settle(None)
        self._sent(at, "input_audio_buffer.commit")
        self._joined(at + 40, f"user_{len(self.microphone.utterances) - 1}")
        self._sent(at + 1, "response.create")
        return at + 1

    def _joined(self, at: float, user: str) -> None:
        self._received(at, "input_audio_buffer.committed", item_id=user)
        item = {"id": user, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        self._received(at + 1, "conversation.item.added", item=item)

    def _text(self, at: float) -> float:
        """The caller has muted, says nothing for a while, and types."""
        self._settle(None)
        at = max([at, *(one.end for one in self.truth.heard)])
        self.microphone.mutes.append((at, float("inf")))
        at += self.random.uniform(5_000, 30_000)
        content = [{"type": "input_text", "text": "Go on."}]
        item = {"type": "message", "role": "user", "content": content}
        self._sent(at, "conversation.item.create", item=item)
        self._sent(at + 1, "response.create")
        return self._speak(at + 400)

    def _speak(self, at: float) -> float:
        """The agent answers; returns when the user speaks next."""
        chunks = self._generate(at)
        stalls = []
        if self.random.random() < 0.2:
            stalled = self.random.uniform(chunks[0].at, chunks[-1].at + 2_000)
            stalls.append(Stall(stalled, self.random.uniform(40, 200)))
            self._stalled_ms += stalls[-1].ms
        busy = self.truth.heard[-1].end if self.truth.heard else 0.0
        heard = self.player.play(chunks, stalls, busy)
        self._answer = Answer(chunks, heard)
        last = heard[-1].end
        again = last + self.random.uniform(300, 1_500)
        if self.style.sends == CLIP:
            return max(self.random.uniform(last - 2_000, last + 9_000), chunks[-1].at + 60)
        if self.random.random() < 0.6:
            first = max(chunks[0].at + 50, self.microphone.captured + 300)
            if not self.style.flushes:  # what is generated then is not heard to its end
                first = chunks[-1].at + HOLD_MS
            again = self.random.uniform(first, max(last + 200, first + 1))
        if self.style.sends == OPEN and len(self.microphone.mutes) == 0:
            mute = (max(self.microphone.captured, chunks[0].at), again - 250)
            if mute[1] - mute[0] > 200 and self.random.random() < 0.5:
                self.microphone.mutes.append(mute)
        return again

    def _generate(self, at: float) -> list[Chunk]:
        chunks, pace = [], self.style.pace
        arrived = 0.0
        for _ in range(self.random.choice((1, 1, 2))):
            response = f"resp_{self._items}"
            self._received(at - 250, "response.created", response={"id": response})
            for _ in range(self.random.choice((1, 1, 2))):
                self._items += 1
                name = f"item_{self._items}"
                self.items.setdefault(response, []).append(name)
                item = {"id": name, "type": "message", "role": "assistant", "content": []}
                added = {"response_id": response, "item": item}
                self._received(at - 30, "response.output_item.added", **added)
                total = self.random.uniform(500, 6_000) // pace.chunk_ms
                for number in range(max(int(total), 2)):
                    held = self.random.uniform(30, 150) if self.random.random() < pace.jitter else 0
                    arrived = max(arrived + 0.1, at + held)
                    begin = number * pace.chunk_ms
                    chunks.append(Chunk(arrived, name, begin, pace.chunk_ms, response))
                    at += pace.chunk_ms / pace.speed + self.random.uniform(0, 0.08 * pace.chunk_ms)
                    if self.random.random() < 0.08 * pace.chunk_ms / 1_000:
                        at += self.random.uniform(300, 1_500)
            at = max(at, arrived) + self.random.uniform(260, 400)
        return chunks

    # --- the end of an answer -------------------------------------------------------------------

    def _settle(self, broken_in: float | None) -> None:
        """Let the answer that plays end: by itself, or because the user breaks in."""
        chunks, heard = self._answer.chunks, self._answer.heard
        self._answer = Answer([], [])
        if broken_in is not None and chunks:
            chunks, heard = self._break_in(broken_in, chunks, heard)
        for chunk in chunks:
            raw = self._voice.speech(self.format.samples(chunk.ms))
            self.pieces[chunk.item, chunk.begin] = raw
            self._tell(chunk.at, "delta", raw, chunk)
        for response in dict.fromkeys(chunk.response for chunk in chunks):
            own = [chunk for chunk in chunks if chunk.response == response]
            output = [
                {"id": item, "type": "message", "role": "assistant", "content": []}
                for item in dict.fromkeys(chunk.item for chunk in own)
            ]
            done = {"id": response, "status": "completed", "output": output}
            self._received(own[-1].at + 30, "response.done", response=done)
        self.truth.heard += heard
        self._tap(heard)

    def _break_in(
        self, at: float, chunks: list[Chunk], heard: list[Sounded]
    ) -> tuple[list[Chunk], list[Sounded]]:
        """The client learns that the user speaks, and does what its style does."""
        arrived = [chunk for chunk in chunks if chunk.at <= at]
        if not arrived:
            return [], []
        if self.style.cancels:
            self._sent(at + 0.3, "response.cancel")
        if not self.style.flushes:
            return arrived, heard[: len(arrived)]
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
        received = sum(chunk.ms for chunk in own)
        played = sum(one.ms for one in cut(heard, at) if one.item == item)
        end_ms = self.style.claim(Moment(at, item, own[0].at, received, played))
        sent = at + self.random.uniform(0.5, 2)
        if end_ms is not None and played + BELIEVED_MS < end_ms <= received:
            self.truth.mistaken.update(chunk.item for chunk in arrived)
        if end_ms is None:
            if self.style.deletes and not played:
                self._sent(sent, "conversation.item.delete", item_id=item)
                self._claims[item] = (sent, 0)
            return
        claim = {"item_id": item, "content_index": 0, "audio_end_ms": end_ms}
        self._sent(sent, "conversation.item.truncate", **claim)
        if end_ms > received:
            message = f"Audio content of {received:.0f}ms is already shorter than {end_ms}ms"
            self._received(sent + 60, "error", error={"message": message})
        else:
            self._received(sent + 60, "conversation.item.truncated", **claim)
            self._claims[item] = (sent, end_ms)

    # --- what a tap tells -----------------------------------------------------------------------

    def _tap(self, heard: list[Sounded]) -> None:
        if self.style.tap == "marks":
            for one in heard:
                if one.ms == self.style.pace.chunk_ms:
                    at = one.end + self.random.uniform(20, 50)
                    self._tell(at, "played", one.item, one.until)
        elif self.style.tap:
            self._callbacks(merged(heard))

    def _callbacks(self, stretches: list[Sounded]) -> None:
        """The device's thread asks for blocks, now and then too late, and then twice in a row."""
        called, skips = 0.0, 0
        for one, following in zip(stretches, [*stretches[1:], None], strict=False):
            pads = following is None or following.at > one.end + 1e-6
            done = 0.0
            while done < one.ms - 1e-6:
                begin, done = done, min(done + BLOCK_MS, one.ms)
                late = self.random.uniform(0, 8)
                if skips or self.random.random() < self.style.late:
                    late = self.random.uniform(25, 55)
                    skips = 0 if skips else int(self.random.random() < 0.4)
                called = max(called + 0.2, one.at + begin + late)
                if self.style.tap == "played":
                    at = max(called, one.at + done + late)
                    self._tell(at, "played", one.item, one.begin + done)
                else:
                    self._give(called, one, begin, done, pads=pads and done >= one.ms - 1e-6)

    def _give(self, at: float, one: Sounded, begin: float, done: float, *, pads: bool) -> None:
        """Zeros fill the last block where nothing follows."""
        whole = b"".join(self._of(one.item))
        width = self.format.width
        first = self.format.samples(one.begin + begin) * width
        after = self.format.samples(one.begin + done) * width
        lacking = self.format.samples(BLOCK_MS) - (after - first) // width if pads else 0
        self._tell(at, "give", whole[first:after], max(lacking, 0), one.item)

    def _of(self, item: str) -> list[bytes]:
        return [raw for (name, _), raw in self.pieces.items() if name == item]
