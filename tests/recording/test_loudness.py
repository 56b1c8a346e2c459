"""Loudness is that of ITU-R BS.1770, for any signal, rate and way of feeding it."""

from __future__ import annotations

import numpy as np
import pytest

from otel_realtime.recording.loudness import (
    LoudnessMeter,
    integrated,
    power_basis,
    shelf_power,
    weighting_of,
)
from tests.support.calls import DATA

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
#: What a measurement may be off, LU.
CLOSE = 0.15


#: The filters of BS.1770-5, tables 1 and 2, for 48 kHz: numerator, denominator.
FILTERS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)  # fmt: skip


def response(hz: np.ndarray) -> np.ndarray:
    """What the filters leave of an amplitude; no phase, which moves nothing by a millisecond."""
    z = np.exp(-2j * np.pi * hz / 48_000)
    factors = [np.polyval(above[::-1], z) / np.polyval(below[::-1], z) for above, below in FILTERS]
    return np.abs(factors[0] * factors[1])


def exact(samples: np.ndarray, rate_hz: int) -> float | None:
    """The recommendation to the letter: both filters over the whole signal, blocks, gates."""
    padded = np.concatenate((samples, np.zeros(rate_hz)))  # else its end would meet its beginning
    spectrum = np.fft.rfft(padded / 32_768)
    hz = np.fft.rfftfreq(padded.size, 1 / rate_hz)
    weighted = np.fft.irfft(spectrum * response(hz), padded.size)[: samples.size]
    size, step = round(0.4 * rate_hz), rate_hz / 10
    starts = [round(n * step) for n in range(int((samples.size - size) / step) + 1)]
    powers = np.array([np.mean(weighted[at : at + size] ** 2) for at in starts])
    powers = powers[-0.691 + 10 * np.log10(powers + 1e-20) > -70]
    if not powers.size:
        return None
    powers = powers[powers > powers.mean() / 10]
    return float(-0.691 + 10 * np.log10(powers.mean()))


def measured(samples: np.ndarray, rate_hz: int, piece: int | None = None) -> float | None:
    """As it is measured, fed in pieces."""
    meter = LoudnessMeter(rate_hz)
    whole = np.round(samples).clip(-32_768, 32_767).astype("<i2")
    for at in range(0, whole.size, piece or rate_hz):
        meter.feed(whole[at : at + (piece or rate_hz)])
    return integrated([meter])


def sine(hz: float, dbfs: float, rate_hz: int, seconds: float = 5) -> np.ndarray:
    """A sine whose peak has this level."""
    n = np.arange(round(seconds * rate_hz))
    return 32_767 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * n / rate_hz)


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_sine_that_the_scale_is_made_of(rate_hz: int) -> None:
    """A sine of 997 Hz, 20 dB below full scale, on one channel: -23.0 LUFS (BS.1770, annex 1)."""
    assert measured(sine(997, -20, rate_hz), rate_hz) == pytest.approx(-23.0, abs=CLOSE)


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_series_is_close_to_the_shelf_at_every_frequency(rate_hz: int) -> None:
    """Nowhere more than 0.1 dB from it, so no signal is measured further from its loudness."""
    weighting = weighting_of(rate_hz)
    angles = np.linspace(0, np.pi, 4_001)
    series = np.array([weighting.share, *(each / weighting.near for each in weighting.series)])
    reached = power_basis(angles, weighting.near) @ series
    errors = 10 * np.log10(reached / shelf_power(angles, rate_hz))
    assert np.abs(errors).max() < 0.1
    assert errors[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("hz", [20, 50, 100, 150, 300, 500, 1_500, 2_000, 3_500])
def test_a_tone_of_any_pitch(rate_hz: int, hz: float) -> None:
    """A hum that hardly counts, a voice's lowest tone, what the ear hears best."""
    samples = sine(hz, -12, rate_hz)
    assert measured(samples, rate_hz) == pytest.approx(exact(samples, rate_hz), abs=CLOSE)


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("offset", [0, 9_000])
def test_noise_with_and_without_an_offset(rate_hz: int, offset: int) -> None:
    """A constant is not heard, however large it is beside what is."""
    samples = np.random.default_rng(4).normal(0, 400, 5 * rate_hz) + offset
    assert measured(samples, rate_hz) == pytest.approx(exact(samples, rate_hz), abs=CLOSE)


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared sample data")
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_speech(rate_hz: int) -> None:
    """Real speech at the rates of the wire."""
    import soxr

    speech = np.frombuffer((DATA / "audio/marcelo_24khz.pcm").read_bytes(), "<i2")
    samples = soxr.resample(speech.astype(float), 24_000, rate_hz)
    assert measured(samples, rate_hz) == pytest.approx(exact(samples, rate_hz), abs=0.1)


def test_silence_between_turns_does_not_count() -> None:
    """Half of the time nobody speaks: as loud as the other half; a whisper does not count either."""
    turn, quiet = sine(997, -20, 24_000), np.zeros(5 * 24_000)
    whisper = sine(997, -45, 24_000)
    assert measured(np.concatenate((quiet, turn, quiet, whisper)), 24_000) == pytest.approx(
        -23.0, abs=0.3
    )


@pytest.mark.parametrize("piece", [1, 999, 24_000, 10**6])
def test_how_it_is_fed_does_not_matter(piece: int) -> None:
    """Sample by sample, or all at once."""
    samples = sine(440, -20, 24_000, 0.9 if piece == 1 else 12)
    assert measured(samples, 24_000, piece) == pytest.approx(measured(samples, 24_000), abs=1e-3)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0),
        np.zeros(24_000 * 30),
        sine(997, -20, 24_000, 0.3),
        sine(997, -80, 24_000),
    ],
    ids=["nothing", "silence", "shorter than a block", "below the gate"],
)
def test_what_has_no_loudness(samples: np.ndarray) -> None:
    """Nothing as loud as -70 LUFS for 400 ms."""
    assert measured(samples, 24_000) is None


def test_two_channels_together_are_louder_by_their_sum() -> None:
    """Both sides at once: 3 LU more."""
    meters = [LoudnessMeter(24_000), LoudnessMeter(24_000)]
    for meter in meters:
        meter.feed(sine(997, -20, 24_000).astype("<i2"))
    assert integrated(meters) == pytest.approx(-20.0, abs=CLOSE)
