"""One recording while it is written: frames in; timeline, energy and files out."""

from __future__ import annotations

import numpy as np
import pytest

from otel_realtime.recording.track import TapAudio
from otel_realtime.state.journal import read
from tests.support.calls import PER_MS, Call, spans, tone
from tests.support.taps import MS, facts, play


def test_the_microphone_replaces_what_is_sent(call: Call) -> None:
    """From its first call on; until then the wire counts."""
    call.speak(0, tone(1_000, 300))
    play(call, 1_020, tone(500, 900), side="user")
    call.speak(1_000, tone(500, 300))
    left, _ = call.close(4_000)
    ((first, last),) = spans(left)
    assert (0, 1_500) == (first // PER_MS, last // PER_MS)
    assert np.array_equal(tone(1_000, 300), left[: 1_000 * PER_MS])
    assert np.array_equal(tone(500, 900), left[1_000 * PER_MS : 1_500 * PER_MS])
    summary = call.track.summary()
    assert 1.5 == pytest.approx(summary.user_talk_s, abs=0.03)


def test_other_rates_are_resampled(call: Call) -> None:
    """A device at 48 kHz; the recording has the highest rate."""
    call.hear(1_000, tone(1_000))
    call.track.tap(1_200 * MS, "agent", TapAudio(bytes(np.repeat(tone(500), 2)), 48_000))
    call.track.close(3_000 * MS, True)
    call.track.measure()
    call.track.finish()
    assert ["tap_format", 1_200 * MS, "agent", {"type": "audio/pcm", "rate": 48_000}] in list(
        read(call.folder)
    )
    assert facts(call)[1] == 500


def test_a_pause_of_the_recording_silences_the_taps(call: Call) -> None:
    """Exactly while it lasts, and nothing of it is on disk."""
    call.hear(1_000, tone(2_000))
    play(call, 1_000, tone(500))
    call.track.pause(1_520 * MS)
    play(call, 1_540, tone(400, 700))
    call.track.resume(1_960 * MS)
    play(call, 1_980, tone(500))
    _, right = call.close(5_000)
    assert spans(right) == [(1_000 * PER_MS, 1_500 * PER_MS), (1_980 * PER_MS, 2_480 * PER_MS)]
    assert (call.folder / "agent-tap.raw").stat().st_size == 1_000 * PER_MS * 2
