"""What the speaker plays, against what was on the wire: by the sample."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from otel_realtime.recording.track import TapAudio
from tests.support.calls import PER_MS, Call, silence, spans, tone
from tests.support.taps import MS, facts, play


def test_the_speakers_audio_replaces_the_model(call: Call) -> None:
    """It sounds when it was played, not when it arrived, and as long as it was played."""
    call.hear(1_000, tone(3_000))
    play(call, 1_300, tone(800, 700))
    _, right = call.close(6_000)
    assert spans(right) == [(1_300 * PER_MS, 2_100 * PER_MS)]
    assert np.array_equal(tone(800, 700), right[1_300 * PER_MS : 2_100 * PER_MS])


def test_a_cut_is_where_the_speaker_stopped(call: Call) -> None:
    """Facts say so, whether the app names the item or not."""
    for item in (None, "item_a"):
        call = Call(call.folder.with_name(f"named-{item}"))
        call.hear(1_000, tone(3_000))
        play(call, 1_200, tone(1_000), item)
        call.received(2_150, "input_audio_buffer.speech_started")
        _, right = call.close(9_000)
        assert spans(right) == [(1_200 * PER_MS, 2_200 * PER_MS)]
        assert (3_000, 1_000, "tap", True) == facts(call)


def test_items_that_queue_play_one_after_another(call: Call) -> None:
    """Without names: in order of arrival; after a cut, the first response that came later."""
    call.hear(1_000, tone(500), "item_a")
    call.hear(1_050, tone(500), "item_b")
    call.hear(1_100, tone(500), "item_c")
    play(call, 1_100, tone(700))
    call.received(1_780, "input_audio_buffer.speech_started")
    call.hear(3_000, tone(400), "item_d", "resp_2")
    play(call, 3_100, tone(400))
    call.close(9_000)
    heard = [facts(call, f"item_{name}") for name in "abcd"]
    assert [(500, 500), (500, 200), (500, 0), (400, 400)] == [one[:2] for one in heard]
    assert [False, True, True, False] == [one[3] for one in heard]
    assert {"tap"} == {one[2] for one in heard}


def test_silence_of_a_running_device_is_no_sound(call: Call) -> None:
    """Zeros take no room on disk; zeros within an item count as its own."""
    call.hear(1_000, np.concatenate((tone(200), silence(100), tone(200))))
    play(call, 0, silence(1_100))
    play(call, 1_100, np.concatenate((tone(200), silence(100), tone(200))))
    play(call, 1_600, silence(500))
    _, right = call.close(3_000)
    assert spans(right) == [
        (1_100 * PER_MS, 1_300 * PER_MS),
        (1_400 * PER_MS, 1_600 * PER_MS),
    ]
    assert (500, 500, "tap", False) == facts(call)
    assert (call.folder / "agent-tap.raw").stat().st_size == 400 * PER_MS * 2


def test_audio_ahead_of_the_clock_is_no_playback(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that reports what it received: said once, and the model holds for all the call."""
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        for number in range(15):
            call.hear(1_000 + number * 40, tone(200))
            given = TapAudio(tone(200, 700).tobytes())
            call.track.tap((1_000 + number * 40) * MS, "agent", given)
    call.received(2_000, "input_audio_buffer.speech_started")
    _, right = call.close(6_000)
    assert spans(right) == [(1_000 * PER_MS, 2_000 * PER_MS)]
    assert (3_000, 1_000, "estimated", True) == facts(call)
    assert 1 == len([r for r in caplog.records if "ahead of the clock" in r.message])
