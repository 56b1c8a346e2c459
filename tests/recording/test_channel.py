"""Recordings of several formats and rates: the higher rate, and nothing to hear at any border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import ALAW, MULAW, PCM, AudioFormat
from otel_realtime.recording.render import Rendered, render
from tests.support.calls import Call, channels, spans, tone

HZ = 440.0
START_S = 1.5e-5  # no sample of the tone is zero
EDGE = 100
"""Samples within which a filter answers to a tone that starts or stops at once."""


def sine(ms: int, rate_hz: int, level: float = 8_000.0) -> npt.NDArray[np.int16]:
    """A tone at some rate, whole periods long."""
    n = np.arange(ms * rate_hz // 1_000)
    return np.round(level * np.sin(2 * np.pi * HZ * (n / rate_hz + START_S))).astype("<i2")


def codes(samples: npt.NDArray[np.int16], audio_format: AudioFormat) -> npt.NDArray[np.uint8]:
    """G.711 codes nearest to the samples."""
    values = decode(bytes(range(256)), audio_format).astype(np.int32)
    distance = np.abs(samples.astype(np.int32)[:, None] - values[None, :])
    return distance.argmin(axis=1).astype(np.uint8)


def formats(**sides: dict[str, object]) -> dict[str, object]:
    """A session with these formats."""
    return {"audio": {side: {"format": value} for side, value in sides.items()}}


def noise_db(heard: npt.NDArray[np.int16], rate_hz: int = 24_000) -> float:
    """The loudest part of the spectrum away from the tone, relative to it."""
    spectrum = np.abs(np.fft.rfft(heard * np.blackman(heard.size)))
    frequency = np.fft.rfftfreq(heard.size, 1 / rate_hz)
    away = np.abs(frequency - HZ) > 60
    return float(20 * np.log10(spectrum[away].max() / spectrum.max()))


def finish(call: Call, ms: int) -> tuple[Rendered, npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Close and render."""
    call.track.close(ms * 1_000_000, True)
    call.track.measure()
    call.track.finish()
    rendered = render(call.folder, call.folder / "out.wav")
    return rendered, *channels(rendered)


@pytest.mark.parametrize(("encoding", "rate_hz"), [(PCM, 16_000), (PCM, 8_000), (PCM, 22_050)])
def test_chunk_borders_leave_no_trace(call: Call, encoding: str, rate_hz: int) -> None:
    """A lower rate beside 24 kHz: one clean tone over chunks of odd sizes and two items."""
    call.received(1, "session.created", session=formats(output={"type": encoding, "rate": rate_hz}))
    told, at, number = sine(2_000, rate_hz), 0, 0
    while at < told.size:
        size = 700 + 37 * (number % 9)
        item = "item_a" if at < told.size // 2 else "item_b"
        call.hear(1_000 + number, told[at : at + size], item)
        at, number = at + size, number + 1
    call.say(2_000, tone(100))
    rendered, left, right = finish(call, 4_000)
    assert (24_000, 96_000) == (rendered.rate_hz, rendered.frames)
    heard = right[24_000 + EDGE : 72_000 - EDGE]
    assert noise_db(heard) < -75
    n = np.arange(EDGE, 48_000 - EDGE)
    expected = 8_000 * np.sin(2 * np.pi * HZ * (n / 24_000 + START_S))
    assert np.abs(heard - expected).max() < 3
    assert not right[: 24_000 - 1].any()
    assert not right[72_000 + 1 :].any()
    assert spans(left) == [(45_600, 48_000)]


@pytest.mark.parametrize("encoding", [MULAW, ALAW])
def test_g711_beside_pcm(call: Call, encoding: str) -> None:
    """A phone's user and a 24 kHz agent: 24 kHz, as clean as the law itself."""
    law = AudioFormat(encoding, 8_000)
    call.received(1, "session.created", session=formats(input={"type": encoding}))
    said = codes(sine(2_000, 8_000), law)
    for at in range(0, said.size, 160):
        call.say(1_020 + at / 8, said[at : at + 160])
    answer = tone(1_000, 700)
    call.hear(4_000, answer)
    rendered, left, right = finish(call, 6_000)
    assert 24_000 == rendered.rate_hz
    assert (right[96_000:120_000] == answer).all()
    heard = left[24_000 + EDGE : 72_000 - EDGE]
    assert noise_db(heard) < -35
    assert noise_db(heard) < noise_db(decode(said.tobytes(), law), 8_000) + 3


def test_a_session_update_changes_the_format_in_mid_call(call: Call) -> None:
    """Input from the request on, output from the answer on, back again after a refusal."""
    law = AudioFormat(MULAW, 8_000)
    wide, narrow = sine(500, 24_000), codes(sine(500, 8_000), law)
    call.received(1, "session.created", session=formats(input={"type": PCM}, output={"type": PCM}))
    call.say(1_000, wide)
    call.hear(1_000, wide, "a")
    both = formats(input={"type": MULAW}, output={"type": MULAW})
    call.sent(2_000, "session.update", session=both, event_id="e1")
    call.say(2_500, narrow)
    call.hear(2_500, wide, "b")
    call.received(3_000, "session.updated", session=both)
    call.hear(3_500, narrow, "c")
    alaw = formats(input={"type": ALAW})
    call.sent(4_000, "session.update", session=alaw, event_id="e2")
    call.received(4_100, "error", error={"event_id": "e2", "message": "no"})
    call.say(5_000, narrow)
    rendered, left, right = finish(call, 7_000)
    assert 24_000 == rendered.rate_hz
    for channel, at_ms, exact in (
        (left, 500, True),
        (left, 2_000, False),
        (left, 4_500, False),
        (right, 1_000, True),
        (right, 2_500, True),
        (right, 3_500, False),
    ):
        heard = channel[at_ms * 24 :][: wide.size]
        assert bool((heard == wide).all()) is exact
        assert noise_db(heard[EDGE:-EDGE]) < (-75 if exact else -35)
        assert np.abs(heard - wide.astype(int))[EDGE:-EDGE].max() < 400
    for channel, count in ((left, 3), (right, 3)):
        assert count * wide.size == pytest.approx(np.count_nonzero(channel), rel=0.01)


def test_the_rate_is_the_highest_of_what_is_heard(call: Call) -> None:
    """A server that speaks 48 kHz, a user at 16 kHz."""
    session = formats(input={"type": PCM, "rate": 16_000}, output={"type": PCM, "rate": 48_000})
    call.received(1, "session.created", session=session)
    call.say(500, sine(500, 16_000))
    call.hear(1_000, sine(500, 48_000))
    rendered, left, right = finish(call, 2_000)
    assert (48_000, 96_000) == (rendered.rate_hz, rendered.frames)
    assert (right[48_000:72_000] == sine(500, 48_000)).all()
    assert noise_db(left[EDGE : 24_000 - EDGE], 48_000) < -75


def test_silence_between_two_rates_is_exact(call: Call) -> None:
    """No dither, no ringing where nobody speaks."""
    call.received(1, "session.created", session=formats(output={"type": PCM, "rate": 8_000}))
    call.say(500, tone(100))
    call.hear(1_000, np.zeros(8_000, "<i2"))
    call.hear(3_000, sine(100, 8_000), "b")
    _, _, right = finish(call, 5_000)
    assert not right[: 3_000 * 24].any()
    assert not right[3_101 * 24 :].any()
