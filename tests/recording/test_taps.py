"""What the app says it plays and hears, against what was on the wire: by the sample."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from otel_realtime.recording.soundtrack import Soundtrack
from otel_realtime.recording.track import TapAudio
from otel_realtime.state.journal import read
from tests.support.calls import PER_MS, Call, silence, spans, tone

MS = 1_000_000
BLOCK = 20


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """A call in a folder."""
    return Call(tmp_path / "call")


def play(
    call: Call, at_ms: int, samples: np.ndarray, item: str | None = None, side: str = "agent"
) -> None:
    """An audio thread gives blocks of 20 ms as they are played, up to 9 ms late."""
    for number, at in enumerate(range(0, samples.size, BLOCK * PER_MS)):
        late = number * 7 % 10
        raw = samples[at : at + BLOCK * PER_MS].tobytes()
        t = (at_ms + number * BLOCK + late) * MS
        call.track.tap(t, side, TapAudio(raw, item_id=item))


def report(call: Call, at_ms: int, upto_ms: int, item: str = "item_a", step_ms: int = 20) -> None:
    """Positions, each told when it was reached; the item plays from ``at_ms``."""
    for position in range(step_ms, upto_ms + 1, step_ms):
        call.track.played((at_ms + position) * MS, item, 0, position)


def facts(call: Call, item: str = "item_a") -> tuple[int, int, str, bool]:
    """Generated, heard, by whose word, interrupted."""
    audio = call.track.item(item)
    assert audio is not None
    return audio.generated_ms, audio.heard_ms, audio.heard_source, audio.interrupted


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


def test_positions_ahead_of_the_clock_are_no_playback(call: Call) -> None:
    """The same for ``played``."""
    call.hear(1_000, tone(3_000))
    call.track.played(1_100 * MS, "item_a", 0, 3_000)
    call.received(2_000, "input_audio_buffer.speech_started")
    call.close(6_000)
    assert (3_000, 1_000, "estimated", True) == facts(call)


def test_a_tap_that_ends_hands_back_to_the_model(call: Call) -> None:
    """The next answer is heard by the model, and says so."""
    call.hear(1_000, tone(1_000))
    play(call, 1_200, tone(1_000))
    call.hear(5_000, tone(4_000), "item_b", "resp_2")
    _, right = call.close(12_000)
    assert spans(right) == [(1_200 * PER_MS, 2_200 * PER_MS), (5_000 * PER_MS, 9_000 * PER_MS)]
    assert (1_000, 1_000, "tap", False) == facts(call)
    assert (4_000, 4_000, "estimated", False) == facts(call, "item_b")


def test_positions_that_end_hand_back_to_the_model(call: Call) -> None:
    """Also in the midst of an item, which then plays on from there."""
    call.hear(1_000, tone(5_000))
    report(call, 1_200, 1_000)
    call.hear(9_000, tone(4_000), "item_b", "resp_2")
    _, right = call.close(20_000)
    assert spans(right) == [(1_200 * PER_MS, 6_200 * PER_MS), (9_000 * PER_MS, 13_000 * PER_MS)]
    assert (5_000, 5_000, "estimated", False) == facts(call)
    assert (4_000, 4_000, "estimated", False) == facts(call, "item_b")


def test_a_pause_of_the_player_is_a_gap(call: Call) -> None:
    """Reports that go on after seconds tell that it was held, not that the tap was gone."""
    call.hear(1_000, tone(2_000))
    report(call, 1_100, 500)
    for position in range(520, 2_001, 20):
        call.track.played((4_600 + position) * MS, "item_a", 0, position)
    _, right = call.close(9_000)
    assert spans(right) == [(1_100 * PER_MS, 1_600 * PER_MS), (5_100 * PER_MS, 6_600 * PER_MS)]
    assert (2_000, 2_000, "tap", False) == facts(call)


def test_late_and_coarse_reports_shift_nothing(call: Call) -> None:
    """Only the earliest origin counts, and a cut bounds what the last report left open."""
    call.hear(1_000, tone(3_000))
    for position, late in ((250, 40), (500, 90), (750, 10)):
        call.track.played((1_200 + position + late) * MS, "item_a", 0, position)
    call.received(2_080, "input_audio_buffer.speech_started")
    _, right = call.close(9_000)
    assert spans(right) == [(1_210 * PER_MS, 2_080 * PER_MS)]
    assert (3_000, 870, "tap", True) == facts(call)


def test_a_queued_item_that_was_never_reported_was_not_heard(call: Call) -> None:
    """The model would have begun it."""
    call.hear(1_000, tone(500), "item_a")
    call.hear(1_050, tone(2_000), "item_b")
    report(call, 1_300, 500)
    call.received(1_805, "input_audio_buffer.speech_started")
    call.close(9_000)
    assert (500, 500, "tap", False) == facts(call)
    assert facts(call, "item_b")[1:] == (20, "tap", True)


def test_facts_of_a_call_in_progress(call: Call) -> None:
    """What may still be played is not over."""
    call.hear(1_000, tone(3_000))
    report(call, 1_200, 400)
    audio = call.track.item("item_a")
    assert audio is not None
    assert (audio.heard_ms, audio.audible_from_t) == (400, 1_200 * MS)
    assert audio.audible_until_t >= 1_600 * MS


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


def test_a_dead_processs_taps_are_read_again(call: Call) -> None:
    """The journal and the sources say what was seen live."""
    call.hear(1_000, tone(2_000))
    play(call, 1_300, tone(700))
    call.speak(0, tone(500))
    play(call, 2_500, tone(300), side="user")
    call.received(2_050, "input_audio_buffer.speech_started")
    call.close(5_000)
    with Soundtrack(call.folder) as again:
        for record in read(call.folder):
            again.apply(record)
        again.finish()
        assert call.track.summary() == again.summary()
        assert call.track.item("item_a") == again.item("item_a")
