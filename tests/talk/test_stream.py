"""A stream of PortAudio: how it is opened, what is counted, and how its end is noticed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from otel_realtime.errors import DeviceError
from otel_realtime.talk.devices import Device, Format
from otel_realtime.talk.stream import LOST_S, Stream
from tests.support.fake_portaudio import CallbackAbort, FakePortAudio

DEVICE = Device(
    index=4, name="Mic", host_api="Fake", inputs=1, outputs=0, rate_hz=48_000,
    default_input=True, default_output=False,
)  # fmt: skip
MONO = Format(rate_hz=24_000, channels=1)


def stream_of(fake: FakePortAudio, block: Any = lambda *_: None) -> Stream:
    """A microphone's stream."""
    return Stream(fake, DEVICE, MONO, "input", block)


def test_it_is_opened_with_blocks_of_20_ms() -> None:
    """16-bit samples, the rate and the channels that were chosen; closed at the end."""
    fake = FakePortAudio()
    with stream_of(fake) as stream:
        (opened,) = fake.streams
        assert (4, 24_000, 1, "int16", 480) == tuple(
            opened.options[name]
            for name in ("device", "samplerate", "channels", "dtype", "blocksize")
        )
        assert (True, 0.02) == (opened.started, stream.latency_s)
    assert opened.closed


def test_a_device_that_does_not_open() -> None:
    """PortAudio's words under the device's name."""
    fake = FakePortAudio(refuses=lambda _: "Device unavailable")
    with pytest.raises(DeviceError, match="cannot open the microphone 4 'Mic': Device unavailable"):
        stream_of(fake).__enter__()


def test_overruns_are_counted() -> None:
    """With all blocks beside them."""
    fake = FakePortAudio()
    with stream_of(fake) as stream:
        fake.streams[0].record(np.zeros((480, 1), np.int16), overflow=True)
        fake.streams[0].record(np.zeros((480, 1), np.int16))
        assert (1, 2) == (stream.xruns, stream.blocks)
        stream.check()


def test_a_device_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was heard of it for seconds."""
    fake = FakePortAudio()
    with stream_of(fake) as stream:
        stream.check()
        later = time.monotonic() + LOST_S + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with pytest.raises(DeviceError, match="the microphone 'Mic' has stopped: was it unplugged"):
            stream.check()


def test_a_stream_that_ends_by_itself_is_lost() -> None:
    """PortAudio says so; but not when it is closed."""
    fake = FakePortAudio()
    with stream_of(fake) as stream:
        fake.streams[0].options["finished_callback"]()
        with pytest.raises(DeviceError, match="has stopped"):
            stream.check()
    stream.check()


def test_a_fault_in_the_callback_ends_the_stream_and_is_told() -> None:
    """PortAudio's thread would only print it."""
    fake = FakePortAudio()

    def fail(*_: object) -> None:
        raise ValueError("odd")

    with stream_of(fake, fail) as stream:
        with pytest.raises(CallbackAbort):
            fake.streams[0].record(np.zeros((480, 1), np.int16))
        with pytest.raises(DeviceError, match=r"the microphone 'Mic' stopped: ValueError\('odd'\)"):
            stream.check()
