"""What the microphone delivers, records and hides: driven block by block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from otel_realtime.talk import microphone as module
from otel_realtime.talk.devices import Device, Format
from otel_realtime.talk.microphone import Block, Microphone
from tests.support.fake_portaudio import FakePortAudio
from tests.support.talking import tone

DEVICE = Device(
    index=0, name="Mic", host_api="Fake", inputs=2, outputs=0, rate_hz=48_000,
    default_input=True, default_output=False,
)  # fmt: skip
WIRE = Format(rate_hz=24_000, channels=1)
Recorded = list[tuple[bytes, int]]


async def blocks_of(
    blocks: list[np.ndarray],
    sound: Format = WIRE,
    is_open: Callable[[], bool] = lambda: True,
) -> tuple[list[Block], Recorded, Microphone]:
    """Deliver blocks; returns what the app got, what was recorded, and the microphone."""
    fake, recorded = FakePortAudio(), []

    def record(pcm: Any, *, rate: int) -> None:
        recorded.append((np.asarray(pcm).tobytes(), rate))

    heard = Microphone(fake, DEVICE, sound, record=record, is_open=is_open)
    got: list[Block] = []
    with heard.stream:
        for block in blocks:
            fake.streams[0].record(block)
        await asyncio.sleep(0)
        stream = heard.blocks()
        while len(got) < len(blocks) - heard.dropped:
            got.append(await asyncio.wait_for(anext(stream), 5))
    return got, recorded, heard


def mono(pcm: bytes) -> np.ndarray:
    """One block of one channel."""
    return np.frombuffer(pcm, "<i2").reshape(-1, 1).copy()


def test_buffers_are_copied() -> None:
    """PortAudio overwrites them as soon as the callback returns."""
    pcm = [tone(20, 330), tone(20, 550)]
    got, recorded, _ = asyncio.run(blocks_of([mono(one) for one in pcm]))
    assert [Block(one, True) for one in pcm] == got
    assert [(one, 24_000) for one in pcm] == recorded


def test_what_is_muted_is_neither_sent_nor_recorded() -> None:
    """The level still shows that the microphone works."""
    states = iter([True, False])
    pcm = tone(20)
    got, recorded, heard = asyncio.run(blocks_of([mono(pcm)] * 2, is_open=lambda: next(states)))
    assert [Block(pcm, True), Block(bytes(960), False)] == got
    assert [pcm, bytes(960)] == [one for one, _ in recorded]
    assert heard.level.peak_db > -20


def test_a_stereo_device_of_another_rate() -> None:
    """Recorded as it is; sent as the API takes it, the mean of both channels."""
    left = np.frombuffer(tone(400), "<i2")
    both = np.stack([np.repeat(left, 2), np.zeros(2 * len(left), np.int16)], axis=1)
    blocks = list(both.reshape(-1, 960, 2))
    got, recorded, _ = asyncio.run(blocks_of(blocks, Format(rate_hz=48_000, channels=2)))
    assert both.tobytes() == b"".join(one for one, _ in recorded)
    assert {48_000} == {rate for _, rate in recorded}
    sent = np.frombuffer(b"".join(block.pcm for block in got), "<i2")
    assert 400 == pytest.approx(len(sent) / 24, abs=25)  # the filter holds back a little
    assert 4_000 == pytest.approx(np.abs(sent).max(), rel=0.1)


def test_a_busy_app_loses_blocks_and_knows_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording has them all."""
    monkeypatch.setattr(module, "BACKLOG", 0)
    got, recorded, heard = asyncio.run(blocks_of([mono(tone(20))] * 3))
    assert ([], 3, 3) == (got, heard.dropped, len(recorded))
