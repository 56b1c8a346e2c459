"""The facts of a recording whose process is gone."""

from __future__ import annotations

import pytest

from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.recording import soundtrack
from otel_realtime.recording.soundtrack import Soundtrack
from otel_realtime.state.journal import SOURCES, read
from tests.support.calls import Call, append_frame, silence, tone
from tests.support.taps import play

MS = 1_000_000


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


def test_the_users_speech_ends_where_it_ended_though_it_is_silenced(call: Call) -> None:
    """A second reading of a folder, whose sources were overwritten by the first rendering."""
    call.speak(0, tone(1_000))
    call.speak(1_000, silence(500))
    call.track.redact(1_500 * 1_000_000, Stretch(0, 1_200 * 1_000_000, "user"))
    left, _ = call.close(3_000)
    assert not left.any()
    with Soundtrack(call.folder) as again:
        for record in read(call.folder):
            again.apply(record)
        again.finish()
        assert call.track.last_voice(3_000_000_000) == again.last_voice(3_000_000_000)
        assert call.track.summary() == again.summary()


def test_what_was_lost_is_known_again(call: Call) -> None:
    """A pause writes holes, too, but loses nothing."""
    frame = append_frame(tone(100).tobytes())
    call.speak(0, tone(500))
    call.track.hole(1_000 * MS, True, 3, 3 * len(frame))
    call.track.pause(1_500 * MS)
    call.track.frame(1_600 * MS, True, frame)
    call.track.resume(2_000 * MS)
    call.close(3_000)
    with Soundtrack(call.folder) as again:
        for record in read(call.folder):
            again.apply(record)
        again.finish()
        assert 300 == call.track.summary().dropped_ms
        assert 300 == again.summary().dropped_ms


def test_nobody_knows_who_talked_in_sound_that_was_not_kept(call: Call) -> None:
    """Its times are not 0: they are not measured."""
    call.speak(0, tone(500))
    call.close(3_000)
    for source in call.folder.glob("*.raw"):
        source.unlink()
    with Soundtrack(call.folder) as again:
        for record in read(call.folder):
            again.apply(record)
        again.finish()
        assert (True, True) == (call.track.summary().measured, again.summary().has_audio)
        assert not again.summary().measured


def test_chunks_that_are_measured_together_give_what_each_alone_gives(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a hole, a silenced word, and audio of another rate after the first."""
    for at in range(0, 4_000, 250):
        call.speak(at, tone(250) if at % 1_000 else silence(250))
    call.track.hole(4_100 * MS, True, 3, 12_000)
    session = {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}
    call.received(4_200, "session.updated", session=session)
    call.speak(4_300, tone(700))
    play(call, 5_200, tone(300), side="user")
    call.track.redact(5_600 * MS, Stretch(1_250 * MS, 1_500 * MS, "user"))
    call.close(6_000)
    found = []
    for most in (1, soundtrack._RUN_BYTES):
        monkeypatch.setattr(soundtrack, "_RUN_BYTES", most)
        with Soundtrack(call.folder) as again:
            for record in read(call.folder):
                again.apply(record)
            again.finish()
            found.append([again._energy[source]._bands for source in SOURCES])
    assert found[0] == found[1]
    assert any(found[0][0][0])
