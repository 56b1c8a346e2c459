"""A recording that waits for its delivery: noted in its journal, and gone from what lies there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import otel_realtime
from otel_realtime.core.audio.redactions import BY_COMMAND, Stretch
from otel_realtime.editing.undelivered import silence_undelivered
from otel_realtime.errors import RecordingError
from otel_realtime.recording.render import load, render
from otel_realtime.recovery.replay import replay
from otel_realtime.settings import Settings
from otel_realtime.state.journal import JOURNAL
from tests.e2e.test_redaction import read
from tests.support.redacted import AGENT, BOTH, Told, silenced
from tests.support.traces import Traces, stretches

Leave = Callable[..., "tuple[otel_realtime.Conversation, Path]"]
MS = 1_000_000
STRETCH = Stretch(500 * MS, 750 * MS, None, why=BY_COMMAND)


def test_the_next_rendering_is_silent(leave: Leave, tmp_path: Path) -> None:
    """Of a call that died; so are its sources, and its root says so when it is recovered."""
    _, folder = leave("died", closed=False)
    whole, rate_hz = read(render(folder, tmp_path / "whole.wav").path)
    assert STRETCH == silence_undelivered(folder, STRETCH)
    assert Stretch(1_000 * MS, 2_000 * MS, "agent", why=BY_COMMAND) == silence_undelivered(
        folder, Stretch(1_000 * MS, 10**15, "agent", why=BY_COMMAND)
    )
    user, agent = (np.frombuffer((folder / f"{side}.raw").read_bytes(), "<i2") for side in SIDES)
    assert [(0, 12_000), (18_000, 48_000)] == stretches(user)
    assert [(0, 12_000), (18_000, 24_000)] == stretches(agent)
    found, _ = read(render(folder, tmp_path / "found.wav").path)
    silent = [(500.0, 750.0, BOTH), (1_000.0, 2_000.0, AGENT)]
    assert np.array_equal(silenced(whole, rate_hz, silent), found)
    redacted = replay(folder).sound.redacted()
    assert [BY_COMMAND, BY_COMMAND] == [stretch.why for stretch in redacted]


SIDES = ("user", "agent")


def closed_but_kept(tmp_path: Path) -> Path:
    """The folder of a call that has ended, whose recording the app's hook refused."""

    def refuse(path: Path, info: object) -> None:
        raise RuntimeError("no")

    settings = Settings(on_recording=refuse, langsmith="off")
    with otel_realtime.conversation(settings=settings, tracer_provider=Traces().provider) as call:
        Told(call).both(2_000)
    assert not otel_realtime.flush(20)
    (folder,) = settings.state_dir.glob("conversations/*")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    return copy


def test_what_was_rendered_already_is_silenced_as_well(tmp_path: Path) -> None:
    """Its process ended after the close; smaller files that were made of it go."""
    folder = closed_but_kept(tmp_path)
    (folder / "conversation.flac").write_bytes(b"fLaC")
    whole, rate_hz = read(folder / "conversation.wav")
    silence_undelivered(folder, STRETCH)
    expected = silenced(whole, rate_hz, [(500, 750, BOTH)])
    assert np.array_equal(expected, read(folder / "conversation.wav")[0])
    assert np.array_equal(expected, read(render(folder, tmp_path / "again.wav").path)[0])
    assert not (folder / "conversation.flac").exists()


def test_a_torn_journal_is_gone_on_with(leave: Leave) -> None:
    """The line that a kill cut off stays no line."""
    _, folder = leave("torn", closed=False)
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(b'["user",123,4')
    silence_undelivered(folder, STRETCH)
    assert [STRETCH] == load(folder).redacted()
    assert load(folder).length_ns == 2_000 * MS


def test_a_living_process_keeps_its_own(traces: Traces, tmp_path: Path) -> None:
    """There the call itself can be asked."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"), langsmith="off")
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        Told(call).both(1_000)
        recorder = call._engine.frames.recorder
        assert recorder is not None
        assert recorder.settle(5)
        assert recorder.folder is not None
        with pytest.raises(RecordingError, match=r"redact_audio\(\)"):
            silence_undelivered(recorder.folder, STRETCH)
        assert [] == load(recorder.folder).redacted()


def test_a_stretch_beyond_the_end_is_refused(leave: Leave) -> None:
    """And not noted."""
    _, folder = leave("short", closed=False)
    with pytest.raises(RecordingError, match=r"is only 2\.000 s long"):
        silence_undelivered(folder, Stretch(2_000 * MS, 3_000 * MS))
    assert b'"redact"' not in (folder / JOURNAL).read_bytes()


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No journal, no recording."""
    with pytest.raises(RecordingError, match="cannot be read"):
        silence_undelivered(tmp_path, STRETCH)
