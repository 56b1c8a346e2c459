"""Times that the app gives, and formats that a server claims: what is wrong there spoils nothing."""

from __future__ import annotations

import base64
import logging
import shutil
import wave
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime.recording import recorder as recorder_module
from otel_realtime.recovery.replay import replay
from otel_realtime.settings import Settings
from tests.support.calls import tone
from tests.support.isolation import isolated
from tests.support.traces import Traces, facts

BEGAN_NS = 1_780_000_000_000_000_000
MS = 1_000_000
DAYS_MS = 1_000_000_000  # 11.6 days

Event = dict[str, Any]


class Reported:
    """A conversation that is reported with its times, its spans, and its kept recording."""

    def __init__(self, folder: Path) -> None:
        self.traces = Traces()
        self.kept = folder / "kept"

    def feed(self, *rows: tuple[int, Event], copy: Path | None = None) -> None:
        """Report received events at their times in ms; ``copy``: where the journal goes before the end."""
        settings = Settings(recordings_dir=self.kept)
        with otel_realtime.conversation(
            tracer_provider=self.traces.provider, settings=settings
        ) as call:
            for t, event in rows:
                call.received(event, at_ns=BEGAN_NS + t * MS)
            recorder = call._engine.recorder
            if copy is not None and recorder is not None and recorder.settle(5):
                assert recorder.folder is not None
                shutil.copytree(recorder.folder, copy)
        assert otel_realtime.flush(20)

    @property
    def recording(self) -> tuple[int, float]:
        """Rate in Hz and length in s of the recording."""
        (path,) = self.kept.glob("*.wav")
        with wave.open(str(path), "rb") as file:
            return file.getframerate(), file.getnframes() / file.getframerate()

    @property
    def offsets(self) -> list[int]:
        """When each event's span began, in ms."""
        spans = [span for span in self.traces.spans if "otel_realtime.event.type" in facts(span)]
        return [((span.start_time or 0) - BEGAN_NS) // MS for span in spans]

    @property
    def root(self) -> dict[str, Any]:
        """Attributes of the root."""
        return dict(facts(self.traces.root))


@pytest.fixture
def reported(tmp_path: Path) -> Iterator[Reported]:
    """A process whose app has another transport."""
    with isolated(tmp_path):
        diagnostics.REGISTER.forget("time jump")
        yield Reported(tmp_path)


def session(output: Event | str) -> Event:
    """The first event: what the audio is."""
    audio = {"input": {"format": output}, "output": {"format": output}}
    return {"type": "session.created", "session": {"type": "realtime", "audio": audio}}


def delta(raw: bytes) -> Event:
    """A chunk of the agent's audio."""
    return {
        "type": "response.output_audio.delta",
        "response_id": "r",
        "item_id": "a",
        "content_index": 0,
        "delta": base64.b64encode(raw).decode(),
    }


CREATED: Event = {"type": "response.created", "response": {"id": "r", "conversation_id": "c"}}
DONE: Event = {
    "type": "response.done",
    "response": {
        "id": "r",
        "status": "completed",
        "output": [{"id": "a", "type": "message", "role": "assistant", "content": []}],
    },
}
LIMITS: Event = {"type": "rate_limits.updated", "rate_limits": []}
PCM: Event = {"type": "audio/pcm", "rate": 24_000}


def test_times_far_ahead_make_no_long_recording(
    reported: Reported, caplog: pytest.LogCaptureFixture
) -> None:
    """Three events that are stamped days later: the recording is what was heard, and it is said."""
    with caplog.at_level(logging.WARNING):
        reported.feed(
            (0, session(PCM)),
            (100, CREATED),
            (200, delta(tone(1_000).tobytes())),
            (DAYS_MS, DONE),
            (DAYS_MS + 20, LIMITS),
            (DAYS_MS + 40, LIMITS),
        )
    assert (24_000, 1.2) == reported.recording
    assert [0, 100, 200, 220, 240] == reported.offsets
    assert 1 == reported.root["otel_realtime.time_jumps"]
    assert 0.24 == reported.root["otel_realtime.duration_s"]
    assert 1 == sum("time_jumps" in record.getMessage() for record in caplog.records)


def test_one_wrong_time_does_not_hold_up_the_rest(reported: Reported) -> None:
    """Everything after it stands where it belongs."""
    reported.feed(
        (0, session(PCM)),
        (100, CREATED),
        (DAYS_MS, LIMITS),
        (2_000, delta(tone(1_000).tobytes())),
        (2_100, DONE),
        (-50_000, LIMITS),
        (4_000, LIMITS),
    )
    assert (24_000, 4.0) == reported.recording
    assert [0, 100, 100, 2_100, 2_100, 4_000] == reported.offsets
    assert 2 == reported.root["otel_realtime.time_jumps"]
    (chat,) = [span for span in reported.traces.spans if span.name.startswith("chat")]
    assert 1_900 == facts(chat)["otel_realtime.time_to_first_audio_ms"]


def test_a_recovery_counts_the_jumps_too(reported: Reported, tmp_path: Path) -> None:
    """The journal of a process that died holds times that are right, and how many were not."""
    copy = tmp_path / "copy"
    reported.feed((0, session(PCM)), (DAYS_MS, LIMITS), (2_000, LIMITS), copy=copy)
    found = replay(copy)
    assert (1, 2_000 * MS) == (found.state.counts.time_jumps, found.end.t)


def test_right_times_are_not_counted(reported: Reported) -> None:
    """Not even as none."""
    reported.feed((0, session(PCM)), (3_500_000, LIMITS))
    assert "otel_realtime.time_jumps" not in reported.root


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_g711_is_8_khz_whatever_rate_is_claimed(reported: Reported, encoding: str) -> None:
    """A gateway echoes 24 kHz for telephone audio."""
    reported.feed(
        (0, session({"type": encoding, "rate": 24_000})),
        (100, CREATED),
        (200, delta(bytes(range(256)) * 125)),  # 4 s
        (300, DONE),
        (4_200, LIMITS),  # it was waited for
    )
    (chat,) = [span for span in reported.traces.spans if span.name.startswith("chat")]
    assert (4_000, 4_000) == tuple(
        facts(chat)[f"otel_realtime.{key}"] for key in ("generated_ms", "heard_ms")
    )
    assert (8_000, 4.2) == reported.recording


def test_a_recording_is_named_after_the_given_start(reported: Reported, tmp_path: Path) -> None:
    """By whoever ends the call: the process that lived through it, or a recovery."""
    copy = tmp_path / "copy"
    reported.feed((0, session(PCM)), (100, CREATED), (200, delta(tone(1_000).tobytes())), copy=copy)
    (path,) = reported.kept.glob("*.wav")
    assert f"{datetime.fromtimestamp(BEGAN_NS / 1e9, timezone.utc):%Y%m%dT%H%M%SZ}-" in path.name
    assert path.stem == replay(copy).header.name


def test_a_call_that_is_told_fast_is_recorded_whole(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes without a pause, ten times what may wait for the writer: nothing is silent."""
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", 500_000)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", 500_000)
    chunks = [(number * 200 + 200, delta(tone(200).tobytes())) for number in range(600)]
    reported.feed((0, session(PCM)), (100, CREATED), *chunks, (120_300, LIMITS))
    (path,) = reported.kept.glob("*.wav")
    with wave.open(str(path), "rb") as file:
        agent = np.frombuffer(file.readframes(file.getnframes()), "<i2")[1::2]
    assert 120_000 * 24 == np.count_nonzero(agent)
    assert "otel_realtime.dropped_audio_ms" not in reported.root


def test_the_root_says_how_much_was_lost(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When even a replay could not wait any longer."""
    monkeypatch.setattr(recorder_module, "REPLAY_PATIENCE_S", 0.0)
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", -1)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", -1)
    reported.feed((0, session(PCM)), (100, CREATED), (200, delta(tone(1_000).tobytes())))
    lost = reported.root["otel_realtime.dropped_audio_ms"]
    assert 1_000 == pytest.approx(lost, abs=20)
