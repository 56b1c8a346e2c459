"""One recording while it is written: frames in; timeline, energy and files out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.energy import EnergyTable
from otel_realtime.recording.track import TapAudio, Track
from otel_realtime.state.journal import JOURNAL, line, read
from tests.support.calls import PER_MS, Call, append_frame, delta_frame, silence, spans, tone
from tests.support.streams import bounded
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


# -- frames ----------------------------------------------------------------------------------------


def test_a_sample_may_stand_in_two_frames(call: Call) -> None:
    """Its halves meet again, each side for itself; a half that is left over is left out."""
    said, told = tone(300).tobytes(), tone(200, 700).tobytes()
    for at in range(0, len(said), 961):
        call.track.frame(300 * MS, True, append_frame(said[at : at + 961]))
        if told[at:]:
            call.track.frame(300 * MS, False, delta_frame(told[at : at + 961]))
    call.track.frame(300 * MS, False, delta_frame(b"\x01", "item_b"))
    call.track.frame(301 * MS, False, delta_frame(tone(100).tobytes(), "item_c"))
    call.close(2_000)
    assert said == (call.folder / "user.raw").read_bytes()
    assert told + tone(100).tobytes() == (call.folder / "agent.raw").read_bytes()


def test_what_cannot_be_read_is_counted(call: Call) -> None:
    """It takes no time, and is no sound."""
    for frame in ("nonsense", b"\xff", append_frame(b"")):
        call.track.frame(5 * MS, True, frame)
    call.track.frame(5 * MS, False, "nonsense")
    summary = call.track.summary()
    assert (3, 0.0, True) == (summary.bad_frames, summary.user_talk_s, summary.has_audio)


def test_a_part_keeps_its_format(call: Call) -> None:
    """What began before the session changed is read as it began."""
    call.hear(10, tone(100), "item_a")
    output = {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}
    call.received(20, "session.updated", session=output)
    call.hear(30, tone(100), "item_a")
    call.track.frame(40 * MS, False, delta_frame(bytes(800), "item_b"))
    generated = [call.track.item(f"item_{name}") for name in "ab"]
    assert [200, 100] == [one.generated_ms for one in generated if one is not None]


def test_lost_frames_take_as_long_as_they_were(call: Call) -> None:
    """By the size of those before them; what follows stays in place."""
    frame = append_frame(tone(20).tobytes())
    for number in range(5):
        call.track.frame((number + 1) * 20 * MS, True, frame)
    call.track.hole(200 * MS, True, 5, 5 * len(frame))
    for number in range(10, 15):
        call.track.frame((number + 1) * 20 * MS, True, frame)
    left, _ = call.close(1_000)
    assert [(0, 100 * PER_MS), (200 * PER_MS, 300 * PER_MS)] == spans(left)
    assert 1 == call.track.summary().holes


def test_nothing_of_a_pause_is_kept(call: Call) -> None:
    """It lasts as long as it did, on both sides."""
    call.speak(0, tone(200))
    call.track.pause(200 * MS)
    call.speak(200, tone(200))
    call.hear(300, tone(500), "item_a")
    call.track.resume(400 * MS)
    call.speak(400, tone(200))
    left, right = call.close(2_000)
    assert [(0, 200 * PER_MS), (400 * PER_MS, 600 * PER_MS)] == spans(left)
    assert [] == spans(right)
    assert 400 * PER_MS * 2 == (call.folder / "user.raw").stat().st_size
    audio = call.track.item("item_a")
    assert audio is not None
    assert (500, 500) == (audio.generated_ms, audio.heard_ms)


def test_sound_may_be_known_and_not_kept(call: Call) -> None:
    """From then on: facts go on, and the journal does too."""
    call.speak(0, tone(200))
    call.track.keep_no_audio()
    call.speak(200, tone(200))
    call.close(1_000)
    assert 200 * PER_MS * 2 == (call.folder / "user.raw").stat().st_size
    assert 0.4 == call.track.summary().user_talk_s


# -- facts -----------------------------------------------------------------------------------------


def test_talk_times_are_exact_once_they_are_measured(call: Call) -> None:
    """Until then they count what was sent and received."""
    call.speak(0, tone(500))
    call.hear(500, tone(1_000))
    call.speak(500, tone(500))
    call.received(1_200, "input_audio_buffer.speech_started")
    before = call.track.summary()
    call.track.close(3_000 * MS, True)
    call.track.measure()
    after = call.track.summary()
    assert (False, 1.0, 1.0, 0.0, 0.0) == (
        before.measured,
        before.user_talk_s,
        before.agent_talk_s,
        before.overlap_s,
        before.dead_air_s,
    )
    assert (True, 1.0, 0.7, 0.5, 1.8, 3.0) == (
        after.measured,
        after.user_talk_s,
        pytest.approx(after.agent_talk_s, abs=0.03),
        pytest.approx(after.overlap_s, abs=0.03),
        pytest.approx(after.dead_air_s, abs=0.03),
        after.duration_s,
    )


@pytest.mark.parametrize("tapped", [True, False])
def test_the_users_last_voice(call: Call, tapped: bool) -> None:
    """By the microphone if the app gives it, else by what was sent."""
    call.speak(0, tone(300))
    call.speak(300, silence(300))
    if tapped:
        play(call, 1_000, tone(400), side="user")
        play(call, 1_400, silence(200), side="user")
    last_ms = 1_400 if tapped else 300
    found = call.track.last_voice(5_000 * MS)
    assert found is not None
    assert last_ms == pytest.approx(found / MS, abs=20)
    assert call.track.last_voice(10 * MS) is None


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_fault_costs_the_files_only(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """The first one is told; facts go on."""
    call.speak(0, tone(200))
    call.track.flush()
    call.track.fail(ValueError("one"))
    call.track.fail(ValueError("other"))
    call.speak(200, tone(200))
    call.track.note(400 * MS, "meta", {})
    call.track.finish()
    summary = call.track.summary()
    assert ("internal error: ValueError('one')", 0.4) == (summary.error, summary.user_talk_s)
    assert 200 * PER_MS * 2 == (call.folder / "user.raw").stat().st_size
    assert 1 == len(caplog.messages)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Nothing is on disk, and it says why."""
    (tmp_path / "file").write_text("no folder")
    track = Track({}, tmp_path / "file" / "call")
    track.open()
    track.frame(20 * MS, True, append_frame(tone(20).tobytes()))
    track.finish()
    summary = track.summary()
    assert (None, 0.02) == (track.folder, summary.user_talk_s)
    assert "cannot write to the state directory" in (summary.error or "")


class _Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("-inf"), 10**5_000, {"\ud800": "\ud800"}, {1: 2}, {3, 4}, _Unspeakable()],
    ids=["nan", "inf", "huge", "surrogate", "int key", "set", "unspeakable"],
)
def test_a_value_of_the_apps_that_no_json_holds(tmp_path: Path, value: object) -> None:
    """It costs neither the recording nor what stands beside it, at the open and later."""
    header = {"trace_id": "1", "metadata": {"good": 1, "bad": value}}
    track = Track(header, tmp_path / "call")
    track.open()
    track.note(5, "meta", {"metadata": {"good": 1, "bad": value}, "tags": ["a"]})
    track.close(10, True)
    track.finish()
    records = list(read(tmp_path / "call"))
    assert (["open", "buffered", "meta", "close"], None) == (
        [record[0] for record in records],
        track.summary().error,
    )
    assert ("1", 1, 1, ["a"]) == (
        records[0][2]["trace_id"],
        records[0][2]["metadata"]["good"],
        records[2][2]["metadata"]["good"],
        records[2][2]["tags"],
    )


def talk_call(folder: Path, detection: dict[str, Any] | None) -> Call:
    """Speech from 1,000 to 2,000 ms within what the server gives the model as an item."""
    call = Call(folder)
    audio = {"input": {"turn_detection": detection}}
    call.received(0, "session.created", session={"audio": audio})
    call.speak(0, np.concatenate((silence(1_000), tone(1_000), silence(1_500))))
    return call


def test_an_item_is_where_its_speech_is(tmp_path: Path) -> None:
    """Without the VAD's padding; in a commit or a semantic VAD's turn by the energy."""
    server = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 500}
    for name, detection in (("server", server), ("semantic", {"type": "semantic_vad"})):
        call = talk_call(tmp_path / name, detection)
        buffer = "input_audio_buffer."
        call.received(1_050, f"{buffer}speech_started", item_id="u", audio_start_ms=700)
        call.received(3_400, f"{buffer}speech_stopped", item_id="u", audio_end_ms=2_500)
        assert (1_000 * MS, 2_000 * MS) == call.track.user_speech("u")
    call = talk_call(tmp_path / "commit", None)
    call.sent(3_600, "input_audio_buffer.commit")
    call.received(3_650, "input_audio_buffer.committed", item_id="u")
    assert (1_000 * MS, 2_000 * MS) == call.track.user_speech("u")
    assert call.track.user_speech("other") is None


STEPS = ("say", "hear", "rest", "burst", "start", "stop", "commit", "mic", "late mic")


@bounded
@given(st.lists(st.sampled_from(STEPS), max_size=14), st.booleans())
def test_what_was_found_before_is_what_is_found_at_the_end(
    steps: list[str], semantic: bool
) -> None:
    """Whatever the client sends at once, late, or tells by a tap, and whenever somebody asked."""
    with tempfile.TemporaryDirectory() as folder:
        call = Call(Path(folder) / "call")
        detection = {"type": "semantic_vad"} if semantic else None
        session = {"audio": {"input": {"turn_detection": detection}}}
        call.received(0, "session.created", session=session)
        at, turn, buffer = 0, 0, "input_audio_buffer."
        for step in steps:
            if step == "say":
                call.speak(at, np.concatenate((silence(300), tone(700))))
                at += 1_000
            elif step == "hear":
                call.hear(at, tone(1_500), item=f"a{at}")
            elif step == "burst":
                call.say(at, tone(6_000))
            elif step == "mic":
                play(call, at, tone(1_000), side="user")
                at += 1_000
            elif step == "late mic":
                play(call, at - 500, tone(1_000), side="user")
            elif step == "start":
                call.received(at, f"{buffer}speech_started", item_id=f"u{turn}", audio_start_ms=at)
            elif step == "stop":
                call.received(at, f"{buffer}speech_stopped", item_id=f"u{turn}", audio_end_ms=at)
            elif step == "commit":
                call.received(at, f"{buffer}committed", item_id=f"u{turn}")
                turn += 1
            else:
                at += 2_500
            call.track.refresh(at_once=True)
            for number in range(turn + 1):
                call.track.user_speech(f"u{number}")
        call.track.close((at + 500) * MS, True)
        before = [call.track.user_speech(f"u{number}") for number in range(turn + 1)]
        call.track._speeches.clear()
        assert [call.track.user_speech(f"u{number}") for number in range(turn + 1)] == before
        call.track.finish()


def test_nobody_searches_for_speech_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long call has hundreds of items, and its close is on the app's event loop."""
    call = talk_call(tmp_path / "call", {"type": "semantic_vad"})
    call.received(1_050, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=700)
    call.received(3_400, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=2_500)
    call.received(3_450, "input_audio_buffer.committed", item_id="u")
    call.speak(3_500, silence(4_000))
    call.track.refresh(at_once=True)
    monkeypatch.setattr(EnergyTable, "voiced", lambda *_: pytest.fail("searched again"))
    assert (1_000 * MS, 2_000 * MS) == call.track.user_speech("u")
    call.track.close(8_000 * MS, True)
    assert (1_000 * MS, 2_000 * MS) == call.track.user_speech("u")


def test_the_talk_that_the_server_reports_is_measured(tmp_path: Path) -> None:
    """The room goes on talking, and is not the user."""
    server = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 500}
    call = talk_call(tmp_path / "call", server)
    call.received(1_050, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=700)
    call.received(3_400, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=2_500)
    call.received(3_450, "input_audio_buffer.committed", item_id="u")
    call.speak(3_500, tone(2_000))
    call.close(6_000)
    assert 1.0 == call.track.summary().user_talk_s


def test_frames_at_once_are_recorded_as_one_by_one(tmp_path: Path) -> None:
    """Sides, formats, halves of samples, nonsense, and the journal to the byte."""
    voice, nothing = tone(30).tobytes(), silence(20).tobytes()
    run: list[tuple[int, bool, str | bytes]] = [
        (20 * MS, True, append_frame(voice)),
        (30 * MS, False, delta_frame(voice[:-1], "item_a")),
        (25 * MS, True, append_frame(nothing)),  # a sender's thread was late
        (40 * MS, False, delta_frame(voice[-1:] + voice, "item_a")),
        (41 * MS, True, "nonsense"),
        (45 * MS, False, delta_frame(voice, 'an "item"', "resp_2", 1).encode()),
        (50 * MS, True, append_frame(voice)),
    ]
    found = []
    for name, together in (("one", False), ("all", True)):
        track = Track({}, tmp_path / name / "call")
        track.open()
        for entries in [run] if together else [[entry] for entry in run]:
            track.frames(entries)
        track.close(90 * MS, True)
        track.measure()
        track.finish()
        assert track.folder is not None
        files = {file.name: file.read_bytes() for file in track.folder.iterdir()}
        found.append((files, track.summary(), track.item("item_a")))
    assert found[0] == found[1]
    journal = found[1][0][JOURNAL].splitlines(keepends=True)
    assert journal == [line(record) for record in read(tmp_path / "all" / "call")]
