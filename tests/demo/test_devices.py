"""The simulated speaker and caller, on a clock that the test turns."""

from __future__ import annotations

import asyncio

from otel_realtime.demo.devices import CHUNK_MS, Caller, Line, Position, Speaker
from otel_realtime.demo.speech import BYTES_PER_MS, Utterance, silence, tone


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_speaker_plays_at_real_time_whatever_the_pace_of_arrival() -> None:
    """Audio that came all at once is heard second by second."""
    clock = Clock()
    speaker = Speaker(clock)
    for _ in range(8):
        speaker.play("item_a", 0, silence(0.25))
    clock.now += 1.25
    assert Position("item_a", 0, 1250) == speaker.stop()


def test_the_position_counts_within_the_item_that_is_playing() -> None:
    """The item before does not count, and a gap between two pieces does not either."""
    clock = Clock()
    speaker = Speaker(clock)
    speaker.play("item_a", 0, silence(0.5))
    speaker.play("item_b", 1, silence(0.25))
    clock.now += 1.0
    speaker.play("item_b", 1, silence(0.5))
    clock.now += 0.125
    assert Position("item_b", 1, 375) == speaker.stop()


def test_a_quiet_speaker_has_nothing_to_cut() -> None:
    """After the last sound, and after a stop, there is no position."""
    clock = Clock()
    speaker = Speaker(clock)
    assert speaker.stop() is None
    speaker.play("item_a", 0, silence(0.5))
    clock.now += 0.25
    assert speaker.playing_for_s == 0.25
    speaker.stop()
    assert (speaker.stop(), speaker.playing_for_s) == (None, 0.0)


def test_the_caller_speaks_into_the_agents_talk_and_hangs_up_after_the_answer() -> None:
    """Lines come when their time has come; the microphone is silent in between, and then ends."""
    size = CHUNK_MS * BYTES_PER_MS
    line = Utterance("la", tone(300, 2 * CHUNK_MS / 1000))

    async def call() -> list[bool]:
        speaker = Speaker()
        lines = (
            Line(speech=line, after="start", wait_s=0.0),
            Line(speech=line, after="speaking", wait_s=0.06),
        )
        caller = Caller(lines, speaker, hang_up_after_s=0.05)
        heard: list[bool] = []
        answered = False
        async for chunk in caller.microphone():
            assert size == len(chunk)
            heard.append(any(chunk))
            if len(heard) == 3:
                speaker.play("item_a", 0, silence(1.0))
            if sum(heard) == 3:
                speaker.stop()
            if sum(heard) == 4 and not heard[-1] and not answered:
                speaker.play("item_b", 0, silence(0.05))
                answered = True
        return heard

    heard = asyncio.run(asyncio.wait_for(call(), 10))
    assert heard[:3] == [True, True, False]
    assert sum(heard) == 4
    assert not heard[-1]


def test_the_caller_waits_until_the_agent_speaks_by_itself() -> None:
    """A line after a ``prompt`` comes after the second thing the agent says, however long it is."""
    line = Utterance("la", tone(300, CHUNK_MS / 1000))

    async def call() -> list[bool]:
        speaker = Speaker()
        lines = (
            Line(speech=line, after="start", wait_s=0.0),
            Line(speech=line, after="prompt", wait_s=0.0),
        )
        caller = Caller(lines, speaker, hang_up_after_s=0.01)
        heard: list[bool] = []
        async for chunk in caller.microphone():
            heard.append(any(chunk))
            if len(heard) in (2, 3):
                speaker.play("item_a", 0, silence(0.01))
            if len(heard) == 6:
                speaker.play("item_b", 0, silence(0.01))
            if heard[6:].count(True) == 1 and speaker.items == 2:
                speaker.play("item_c", 0, silence(0.01))
        return heard

    heard = asyncio.run(asyncio.wait_for(call(), 10))
    assert heard[:6] == [True, False, False, False, False, False]
    assert heard.count(True) == 2
