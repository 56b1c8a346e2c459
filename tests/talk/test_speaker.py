"""What the speaker plays, records, counts as played, and stops: driven block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.talk.devices import Device, Format
from otel_realtime.talk.speaker import Cut, Speaker
from tests.support.fake_portaudio import FakePortAudio, FakeStream, entry
from tests.support.talking import tone

DEVICE = Device(
    index=0, name="Speaker", host_api="Fake", inputs=0, outputs=2, rate_hz=48_000,
    default_input=False, default_output=True,
)  # fmt: skip
BLOCK = 480


class Played:
    """A speaker on a device that is driven by the test.

    Attributes:
        recorded: what was recorded: item and samples of the first channel.
        out: what the device took, first channel.
    """

    def __init__(self, rate_hz: int = 24_000, channels: int = 1) -> None:
        self.recorded: list[tuple[str | None, bytes]] = []
        self.out = b""
        self.rate_hz = rate_hz
        self.fake = FakePortAudio(devices=[entry("Speaker", outputs=2)])
        sound = Format(rate_hz=rate_hz, channels=channels)
        self.speaker = Speaker(self.fake, DEVICE, sound, record=self._record)

    def _record(self, pcm: Any, *, item_id: str | None = None, rate: int) -> None:
        assert rate == self.rate_hz
        self.recorded.append((item_id, pcm[:, 0].tobytes()))

    def __enter__(self) -> Played:
        self.speaker.stream.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.speaker.stream.__exit__()

    @property
    def stream(self) -> FakeStream:
        """The open stream."""
        return self.fake.streams[-1]

    def take(self, frames: int = BLOCK) -> np.ndarray:
        """Let the device take a block."""
        block = self.stream.play(frames)
        self.out += block[:, 0].tobytes()
        return block

    def of(self, item_id: str) -> bytes:
        """What was recorded as an item's."""
        return b"".join(pcm for item, pcm in self.recorded if item == item_id)


def test_what_the_device_takes_is_what_is_recorded() -> None:
    """Under its item; then silence, of nobody."""
    pcm = tone(30)
    with Played() as played:
        played.speaker.play("item_1", 0, pcm)
        played.take()
        played.take()
    assert pcm + bytes(480) == played.out
    assert pcm == played.of("item_1")
    assert [("item_1", pcm[:960]), ("item_1", pcm[960:]), (None, bytes(480))] == played.recorded


def test_a_block_may_hold_the_end_of_one_item_and_the_start_of_the_next() -> None:
    """Each part is recorded as what it is."""
    first, second = tone(30, 330), tone(30, 550)
    with Played() as played:
        played.speaker.play("item_1", 0, first)
        played.speaker.complete("item_1", 0)
        played.speaker.play("item_2", 0, second)
        for _ in range(3):
            played.take()
    assert first + second == played.out
    assert (first, second) == (played.of("item_1"), played.of("item_2"))


def test_a_barge_in_stops_at_once_and_says_what_was_played() -> None:
    """No sample more is handed over; the position is that of the last one."""
    with Played() as played:
        played.speaker.play("item_1", 1, tone(1_000))
        for _ in range(5):
            played.take()
        assert [Cut("item_1", 1, 100)] == played.speaker.stop()
        assert bytes(960) == played.take().tobytes()
        assert [] == played.speaker.stop()
    assert 100 == len(played.of("item_1")) / 48


def test_late_audio_of_a_stopped_item_is_not_played() -> None:
    """The server generates ahead: its deltas may be under way. Another item's is played."""
    with Played() as played:
        played.speaker.play("item_1", 0, tone(100))
        played.take()
        played.speaker.stop()
        played.speaker.play("item_1", 0, tone(100))
        assert not played.take().any()
        played.speaker.play("item_2", 0, tone(100))
        assert played.take().any()


def test_items_that_wait_behind_the_stopped_one_are_cut_at_their_start() -> None:
    """Nobody heard them."""
    with Played() as played:
        for item in ("item_1", "item_2"):
            played.speaker.play(item, 0, tone(100))
            played.speaker.complete(item, 0)
        played.take()
        assert [Cut("item_1", 0, 20), Cut("item_2", 0, 0)] == played.speaker.stop()


def test_an_item_that_was_played_to_its_end_is_not_cut() -> None:
    """There is nothing to truncate."""
    with Played() as played:
        played.speaker.play("item_1", 0, tone(40))
        played.speaker.complete("item_1", 0)
        played.take()
        played.take()
        assert [] == played.speaker.stop()


def test_a_gap_in_an_answer_is_counted_once() -> None:
    """The network was too slow; the pause after an answer is none."""
    with Played() as played:
        played.speaker.play("item_1", 0, tone(30))
        for _ in range(3):
            played.take()
        assert 1 == played.speaker.gaps
        played.speaker.play("item_1", 0, tone(30))
        played.speaker.complete("item_1", 0)
        for _ in range(3):
            played.take()
        assert 1 == played.speaker.gaps


def test_underruns_are_counted() -> None:
    """As PortAudio reports them."""
    with Played() as played:
        played.stream.play(BLOCK, underflow=True)
        played.take()
    assert (1, 2) == (played.speaker.stream.xruns, played.speaker.stream.blocks)


def test_a_stereo_device_of_another_rate() -> None:
    """Both channels play the same; the length and the position stay those of the item."""
    with Played(rate_hz=48_000, channels=2) as played:
        played.speaker.play("item_1", 0, tone(600))
        for _ in range(10):
            block = played.take(960)
            assert np.array_equal(block[:, 0], block[:, 1])
        assert [Cut("item_1", 0, 200)] == played.speaker.stop()
        played.speaker.play("item_2", 0, tone(200))
        played.speaker.complete("item_2", 0)
        for _ in range(12):
            played.take(960)
    assert 200 == pytest.approx(len(played.of("item_2")) / 96, abs=1)


def test_it_is_quiet_when_nothing_is_heard_any_more() -> None:
    """What the device still holds counts as heard."""
    with Played() as played:
        played.speaker.play("item_1", 0, tone(30))
        assert 0.0 == played.speaker.quiet_for_s
        played.take()
        played.take()
        assert played.speaker.quiet_for_s < 0.5
        played.speaker._taken_s -= 1.0
        assert played.speaker.quiet_for_s > 0.9


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.integers(0, 3), st.integers(1, 60)),
        st.tuples(st.just("take"), st.integers(1, 700), st.just(0)),
        st.tuples(st.just("complete"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("stop"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_played_recorded_and_claimed_agree(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens: the device took what was recorded, and a cut claims what was recorded."""
    with Played() as played:
        for step, number, ms in steps:
            item = f"item_{number}"
            if step == "play":
                played.speaker.play(item, 0, tone(ms))
            elif step == "complete":
                played.speaker.complete(item, 0)
            elif step == "take":
                played.take(number)
            else:
                for cut in played.speaker.stop():
                    assert cut.played_ms <= len(played.of(cut.item_id)) // 48
        assert b"".join(pcm for _, pcm in played.recorded) == played.out
        named = [pcm for item, pcm in played.recorded if item is not None]
        assert np.count_nonzero(np.frombuffer(played.out, "<i2")) == sum(map(len, named)) // 2
