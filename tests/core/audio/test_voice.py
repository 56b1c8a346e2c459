"""Speech and noise by their energy, against speech whose place is known to the sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_realtime.core.audio.talk import joined
from otel_realtime.core.audio.voice import (
    LINE_NOISE_DB,
    LOST_POWER,
    SYNTHETIC_NOISE_DB,
    Voiced,
    band_powers,
    find_voice,
)
from tests.support.calls import silence, tone
from tests.support.speech import RATE, Said, at_level, call, noise

KINDS = ("white", "pink", "hum", "line", "babble")


def voiced(samples: np.ndarray, rate_hz: int = RATE, loudest: float = LINE_NOISE_DB) -> Voiced:
    """Which frames have speech in them."""
    size = rate_hz // 50
    frames = samples[: samples.size // size * size].astype(np.float32).reshape(-1, size)
    return find_voice(band_powers(frames, rate_hz), loudest)


def stretches(found: Voiced) -> Said:
    """Start and end of what was found, in seconds; pauses between words are talk."""
    starts = np.flatnonzero(found) / 50
    return [(float(a), float(b)) for a, b in joined(np.column_stack((starts, starts + 0.02)))]


def errors_s(found: Said, said: Said) -> tuple[float, float]:
    """The largest distance of a boundary from the truth, and of the total; nothing else is found."""
    boundaries = []
    for start, end in said:
        own = [one for one in found if one[1] > start and one[0] < end]
        assert own, f"{start:.2f} s was missed"
        boundaries += [abs(own[0][0] - start), abs(own[-1][1] - end)]
    total = sum(end - start for start, end in found) - sum(end - start for start, end in said)
    return max(boundaries), abs(total)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("noise_db", "speech_db"), [(-60, -40), (-50, -30), (-40, -20), (-30, -12)]
)
def test_speech_is_found_in_noise(kind: str, noise_db: float, speech_db: float) -> None:
    """Boundaries within 150 ms, totals within half a second a minute, however loud the noise is."""
    random = np.random.default_rng(3)
    background = at_level(noise(kind, 30, random), noise_db)
    samples, said = call(30, speech_db, background, random)
    boundary, total = errors_s(stretches(voiced(samples)), said)
    assert boundary <= 0.15
    assert total <= 0.25


@pytest.mark.parametrize("speech_db", [-15, -30, -40, -50])
def test_soft_speech_is_found_where_it_is_quiet(speech_db: float) -> None:
    """Far below any level that a fixed gate could have."""
    samples, said = call(30, speech_db, None, np.random.default_rng(4))
    boundary, total = errors_s(stretches(voiced(samples)), said)
    assert boundary <= 0.15
    assert total <= 0.25


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_every_rate_tells_the_same(rate_hz: int) -> None:
    """Of a telephone's 8 kHz as of a sound card's 48 kHz."""
    random = np.random.default_rng(5)
    samples, said = call(30, -25, at_level(noise("line", 30, random), -45), random)
    at = np.arange(int(30 * rate_hz)) / rate_hz * RATE
    other = np.interp(at, np.arange(samples.size), samples)
    boundary, total = errors_s(stretches(voiced(other, rate_hz)), said)
    assert boundary <= 0.15
    assert total <= 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_noise_alone_is_no_speech(kind: str) -> None:
    """Nobody talks, at whatever level."""
    random = np.random.default_rng(6)
    hiss = noise(kind, 30, random)
    for level_db in (-60, -45, -30):
        assert not voiced(at_level(hiss, level_db)).any()


def test_a_step_in_the_noise_is_no_speech() -> None:
    """A window is opened, a fan goes on: each level lasts."""
    random = np.random.default_rng(7)
    parts = [at_level(noise("line", 12, random), level_db) for level_db in (-60, -42, -52)]
    found = voiced(np.concatenate(parts))
    assert np.count_nonzero(found) / 50 <= 0.2


def test_a_steady_tone_is_speech_unless_it_lasts() -> None:
    """Between silences, for less than eight seconds; or louder than any noise, for ever."""
    soft = np.concatenate((silence(2_000), tone(3_000, level=500), silence(2_000)))
    assert [(2.0, 5.0)] == stretches(voiced(soft))
    assert voiced(tone(60_000)).all()
    assert not voiced(tone(60_000, level=500)).any()
    assert voiced(tone(60_000, level=500), loudest=SYNTHETIC_NOISE_DB).all()


def test_comfort_noise_between_answers_is_no_speech() -> None:
    """A voice that is made has none of a line's noise, but may be given some."""
    hiss = at_level(noise("white", 20, np.random.default_rng(8)), -58)
    hiss[5 * RATE : 8 * RATE] += tone(3_000)
    ((start, end),) = stretches(voiced(hiss, loudest=SYNTHETIC_NOISE_DB))
    assert (5.0, 8.0) == pytest.approx((start, end), abs=0.04)


def test_what_is_far_below_the_speech_is_none_of_it() -> None:
    """Breath before a word and the room after it; alone it could be soft speech."""
    breath = at_level(noise("pink", 1, np.random.default_rng(9)), -62)
    samples = np.concatenate((silence(2_000), breath, tone(1_000), breath, silence(2_000)))
    assert [(3.0, 4.0)] == stretches(voiced(samples))


def test_a_lost_frame_is_silent_and_tells_nothing_of_the_noise() -> None:
    """It is not the quietest moment of the call."""
    hiss = at_level(noise("white", 20, np.random.default_rng(10)), -40)
    frames = hiss.astype(np.float32).reshape(-1, 480)
    bands = [powers.copy() for powers in band_powers(frames, RATE)]
    for powers in bands:
        powers[300:450] = LOST_POWER
    assert not find_voice(bands, LINE_NOISE_DB).any()


def test_nothing_has_no_voice() -> None:
    """Not even a frame."""
    assert [] == stretches(voiced(silence(0)))
    assert not voiced(silence(20)).any()


levels = st.lists(
    st.one_of(st.just(LOST_POWER), st.floats(0, 1e9, width=32)), min_size=0, max_size=700
)


@settings(deadline=None)
@given(levels, st.floats(-60, -20))
def test_any_energies_have_an_answer(powers: list[float], loudest: float) -> None:
    """One for each frame, none for a lost one, the same whatever is lost at the end."""
    band = np.array(powers, np.float32)
    found = find_voice([band, band], loudest)
    assert band.size == found.size
    assert not found[band < 0].any()
    longer = np.append(band, np.float32(LOST_POWER))
    assert found.tolist() == find_voice([longer, longer], loudest).tolist()[:-1]
