"""What the speaker plays, against what was on the wire: by the sample."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def give(call: Call, at_ms: float, samples: np.ndarray, item: str | None = None) -> None:
    """A device asks for a block of 20 ms, and gets what there is."""
    call.track.tap(round(at_ms * MS), "agent", TapAudio(samples.tobytes(), item_id=item))


@pytest.mark.parametrize("item", [None, "item_a"])
@pytest.mark.parametrize("late", [25, 40, 55, 90])
@pytest.mark.parametrize("number", [30, 149])
def test_a_callback_that_is_late_is_no_hole(
    call: Call, item: str | None, late: int, number: int
) -> None:
    """The device played on from its buffer, and nothing after it is shifted."""
    call.hear(900, tone(3_000))
    last, samples = 0, tone(3_000, 700)
    for block in range(150):
        last = max(last, 1_000 + block * 20 + (late if block == number else 0))
        give(call, last, samples[block * 20 * PER_MS : (block + 1) * 20 * PER_MS], item)
    _, right = call.close(6_000)
    assert spans(right) == [(1_000 * PER_MS, 4_000 * PER_MS)]
    assert np.array_equal(samples, right[1_000 * PER_MS : 4_000 * PER_MS])
    assert (3_000, 3_000, "tap", False) == facts(call)


def test_facts_are_told_before_the_look_ahead_has_passed(call: Call) -> None:
    """While it plays, and at its end; a call that has just come late moves nothing."""
    call.hear(900, tone(1_000))
    for block in range(50):
        late = 55 if block >= 48 else 0
        give(call, 1_000 + block * 20 + late, tone(20))
        audio = call.track.item("item_a")
        assert audio is not None
        assert ((block + 1) * 20, 1_000 * MS) == (audio.heard_ms, audio.audible_from_t)
        assert audio.audible_until_t >= (1_020 + block * 20) * MS
    assert audio.audible_until_t == 2_000 * MS


@pytest.mark.parametrize("idles", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_the_next_answer_after_a_flush_starts_at_its_time(
    call: Call, idles: bool, named: bool
) -> None:
    """The first is heard to where it was cut, the next one whole."""
    call.hear(900, tone(3_000))
    for at in range(1_000, 2_000, 20):
        give(call, at + (40 if at == 1_600 else 0), tone(20), "item_a" if named else None)
    call.received(2_000, "input_audio_buffer.speech_started")
    for at in range(2_000, 3_500, 20) if idles else ():
        give(call, at, silence(20))
    call.hear(3_500, tone(1_000), "item_b", "resp_2")
    for at in range(3_500, 4_500, 20):
        give(call, at + (45 if at == 3_600 else 0), tone(20), "item_b" if named else None)
    _, right = call.close(8_000)
    assert spans(right) == [(1_000 * PER_MS, 2_000 * PER_MS), (3_500 * PER_MS, 4_500 * PER_MS)]
    assert (3_000, 1_000, "tap", True) == facts(call)
    assert (1_000, 1_000, "tap", False) == facts(call, "item_b")


def test_a_buffer_that_holds_two_items_counts_for_both(call: Call) -> None:
    """What is heard of all items is what is in the file."""
    for number, name in enumerate("abc"):
        call.hear(900 + number, tone(510), f"item_{name}")
    for at in range(1_000, 2_530, 20):
        give(call, at, tone(1_530)[(at - 1_000) * PER_MS : (at - 980) * PER_MS])
    _, right = call.close(6_000)
    assert spans(right) == [(1_000 * PER_MS, 2_530 * PER_MS)]
    heard = [call.track.item(f"item_{name}") for name in "abc"]
    assert [510, 510, 510] == [one.heard_ms for one in heard if one]
    assert [1_000, 1_510, 2_020] == [(one.audible_from_t or 0) // MS for one in heard if one]


def test_what_was_not_given_was_not_heard(call: Call) -> None:
    """Not even its last milliseconds, although that is no interruption."""
    call.hear(900, tone(1_000))
    give(call, 1_000, tone(985))
    _, right = call.close(4_000)
    assert 985 * PER_MS == np.count_nonzero(right)
    assert (1_000, 985, "tap", False) == facts(call)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-30, 90), st.sampled_from([0, 0, 0, 60, 400]), st.integers(1, 40)),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_what_was_heard_is_what_the_file_holds(
    drawn: list[tuple[int, int, int]], named: bool
) -> None:
    """However late the calls are: in sum, and by the sample in order."""
    with TemporaryDirectory() as folder:
        call = Call(Path(folder) / "call")
        lengths = [count * 20 for _, _, count in drawn]
        for number, ms in enumerate(lengths):
            call.hear(900 + number, tone(ms), f"item_{number}", f"resp_{number}")
        samples, at, last, begin = tone(sum(lengths), 700), 1_000, 0, 0
        for number, (late, stall, count) in enumerate(drawn):
            at += stall
            for block in range(count):
                last = max(last, at + (late if block == count // 2 else 0))
                raw = samples[begin * PER_MS : (begin + 20) * PER_MS]
                give(call, last, raw, f"item_{number}" if named else None)
                at, begin = at + 20, begin + 20
        _, right = call.close(60_000)
        assert np.array_equal(samples, right[right != 0])
        heard = [facts(call, f"item_{number}") for number in range(len(drawn))]
        assert [(ms, ms, "tap", False) for ms in lengths] == heard
