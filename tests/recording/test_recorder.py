"""The app's side of a recording: it only queues, and works off what takes no time and no disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.recording import recorder as recorder_module
from otel_realtime.recording.recorder import MEASURED_INLINE_NS, Backlog, Recorder, _Hole
from otel_realtime.recording.render import load
from otel_realtime.recording.track import TapAudio, Track
from otel_realtime.state.journal import JOURNAL, read
from otel_realtime.state.owner import new_folder
from tests.support.calls import append_frame, delta_frame, tone
from tests.support.waiting import wait_for

MS = 1_000_000


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A writer's worker that nobody gave a job."""
    found = Worker("otel-realtime-test")
    yield found
    assert found.stop(5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the recording goes."""
    return new_folder(tmp_path / "state")


def recorder_of(worker: Worker, folder: Path | None = None, mono_ns: int | None = None) -> Recorder:
    """A recorder whose writer has not come by yet."""
    return Recorder(Track({}, folder), Backlog(), worker, mono_ns)


def write(recorder: Recorder) -> None:
    """The writer comes by, and takes all."""
    while recorder.process(lambda: False):
        pass


def hear(recorder: Recorder, ms: int = 100, item: str = "item_a") -> None:
    """The server's audio arrives."""
    recorder.frame(10 * MS, False, delta_frame(tone(ms).tobytes(), item))


def generated_ms(recorder: Recorder, item: str = "item_a") -> int | None:
    """How much of an item was taken in."""
    audio = recorder.item(item)
    return None if audio is None else audio.generated_ms


# -- working off on the caller's thread ------------------------------------------------------------


def test_what_is_queued_is_worked_off_here(worker: Worker, folder: Path) -> None:
    """Frames, events and what the app says, in order; facts are known, and the disk waits."""
    recorder = recorder_of(worker, folder)
    write(recorder)
    before = (folder / JOURNAL).read_bytes()
    hear(recorder)
    recorder.event(50 * MS, True, {"type": "conversation.item.delete", "item_id": "item_a"})
    recorder.frame(60 * MS, True, append_frame(tone(40).tobytes()))
    recorder.note("meta", {})
    recorder.drain(10)
    audio = recorder.item("item_a")
    assert audio is not None
    assert (100, 0, 0.04, False) == (
        audio.generated_ms,
        audio.heard_ms,
        recorder.summary().user_talk_s,
        recorder.pending,
    )
    assert before == (folder / JOURNAL).read_bytes()
    assert not (folder / "agent.raw").exists()
    write(recorder)
    assert ["open", "buffered", "agent", "delete", "user", "meta"] == [
        record[0] for record in read(folder)
    ]


def test_nothing_that_touches_the_disk_is_worked_off_here(worker: Worker, folder: Path) -> None:
    """Neither the folder's making nor what waits behind it."""
    recorder = recorder_of(worker, folder)
    hear(recorder)
    recorder.drain(10)
    assert (None, True, False) == (
        generated_ms(recorder),
        recorder.pending,
        folder.parent.parent.exists(),
    )
    write(recorder)
    assert 100 == generated_ms(recorder)


def test_the_end_is_measured_here_and_written_there(worker: Worker, folder: Path) -> None:
    """A closed recording is exact at once, and done when the writer has closed its files."""
    recorder = recorder_of(worker, folder)
    write(recorder)
    hear(recorder, 1_000)
    recorder.close(3_000 * MS, by_client=True)
    recorder.drain(10)
    summary = recorder.summary()
    assert (True, 1.0, False) == (summary.measured, summary.agent_talk_s, recorder.done)
    write(recorder)
    assert recorder.done
    assert ["close", 3_000 * MS, True] == list(read(folder))[-1]


def test_a_long_recording_is_measured_by_the_writer(worker: Worker) -> None:
    """That may take more than the caller has."""
    recorder = recorder_of(worker)
    write(recorder)
    hear(recorder)
    recorder.close(MEASURED_INLINE_NS + 1, by_client=True)
    recorder.drain(10)
    assert (100, False) == (generated_ms(recorder), recorder.summary().measured)
    write(recorder)
    assert recorder.summary().measured


def test_nobody_waits_for_a_writer_that_is_at_it(worker: Worker) -> None:
    """It returns at once and leaves the rest to it."""
    recorder, at_it, free = recorder_of(worker), threading.Event(), threading.Event()

    def due() -> bool:
        at_it.set()
        return free.wait(10)

    writer = threading.Thread(target=recorder.process, args=(due,))
    writer.start()
    assert at_it.wait(5)
    hear(recorder)
    began = time.perf_counter()
    recorder.drain(10)
    assert time.perf_counter() - began < 1
    assert (None, True) == (generated_ms(recorder), recorder.pending)
    free.set()
    writer.join()


def test_a_budget_is_kept(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not cover stays queued, in order, and the writer is called."""
    monkeypatch.setattr(recorder_module, "RUN_FRAMES", 2)  # so many are processed at once
    called = threading.Event()
    worker.submit(lambda: called.set(), after_s=60)
    recorder = recorder_of(worker)
    write(recorder)
    for _ in range(3):
        hear(recorder)
    recorder.drain(0.0)
    assert (200, True) == (generated_ms(recorder), recorder.pending)
    assert called.wait(5)
    recorder.drain(10)
    assert (300, False) == (generated_ms(recorder), recorder.pending)


def test_an_entry_that_fails_costs_no_other(worker: Worker) -> None:
    """It is reported as ours, the rest is still there, and the backlog is right."""
    recorder = recorder_of(worker)
    write(recorder)
    recorder.tap(5 * MS, "nobody", TapAudio(b"\0\0"))
    hear(recorder)
    recorder.drain(10)
    assert (100, 0) == (generated_ms(recorder), recorder._shared.queued)
    assert {"recording: KeyError": 1} == diagnostics.faults()
    diagnostics.REGISTER.clear()


# -- what is taken ---------------------------------------------------------------------------------


def test_one_backlog_bounds_all_conversations(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is far behind costs the others, and each says how often."""
    frame = append_frame(tone(100).tobytes())
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", 2 * len(frame))
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", 2 * len(frame))
    shared = Backlog()
    one, other = (Recorder(Track({}, None), shared, worker, None) for _ in range(2))
    for number in range(3):
        one.frame(number * 100 * MS, True, frame)
    other.frame(0, True, frame)
    other.tap(0, "user", TapAudio(b"\0\0"))
    for recorder in (one, other):
        write(recorder)
    assert [0, 2] == [recorder.summary().holes for recorder in (one, other)]
    other.frame(MS, True, frame)
    write(other)
    assert (0.1, 0) == (other.summary().user_talk_s, shared.queued)


def test_a_crowd_wakes_the_writer_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that replays a call as fast as it can does not wait for the next round."""
    frame = append_frame(tone(100).tobytes())
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", 2 * len(frame))
    woken: list[int] = []
    monkeypatch.setattr(worker, "hurry", lambda: woken.append(1))
    recorder = recorder_of(worker)
    for number in range(3):
        recorder.frame(number * 100 * MS, True, frame)
    assert [] == woken
    for number in range(3, 9):
        recorder.frame(number * 100 * MS, True, frame)
    assert [1] == woken
    write(recorder)
    assert (0.9, 0) == (recorder.summary().user_talk_s, recorder.summary().holes)


def test_frames_that_are_lost_in_a_row_are_one_hole(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each side; what is said of them takes as long as they did."""
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", -1)
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", -1)
    recorder = recorder_of(worker)
    for number in range(50):
        recorder.frame(number * MS, True, append_frame(tone(20).tobytes()))
    hear(recorder)
    write(recorder)
    assert 2 == recorder.summary().holes


def test_a_hole_that_is_counted_takes_no_more(worker: Worker) -> None:
    """The frame that came too late for it begins another one."""
    track = Track({}, None)
    hole = _Hole(track, 0)
    assert hole.add(True, 4_000)
    hole()
    assert not hole.add(True, 4_000)
    assert 1 == track.holes


def test_what_is_lost_is_said_and_measured(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the wire and from a tap, once in the log; what a pause would not have kept is not lost."""
    diagnostics.REGISTER.forget("audio dropped")
    frame = append_frame(tone(100).tobytes())
    recorder = recorder_of(worker)
    recorder.frame(0, True, frame)
    write(recorder)
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", -1)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", -1)
    for number in range(1, 4):
        recorder.frame(number * 100 * MS, True, frame)
    recorder.tap(400 * MS, "agent", TapAudio(tone(20).tobytes()))
    recorder.pause(500 * MS)
    recorder.frame(600 * MS, True, frame)
    write(recorder)
    assert 320 == recorder.summary().dropped_ms
    assert 1 == sum("dropped_audio_ms" in record.getMessage() for record in caplog.records)


def test_a_replay_does_not_wait_for_a_stuck_disk_for_ever(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits once; what comes then is a hole, as in a call that the app lives through."""
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", -1)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", -1)
    monkeypatch.setattr(recorder_module, "REPLAY_PATIENCE_S", 0.05)
    waits: list[bool] = []

    def is_replay() -> bool:
        waits.append(True)
        return True

    recorder = recorder_of(worker)
    recorder.use_clock(lambda: 0, is_replay)
    for number in range(3):
        recorder.frame(number * 20 * MS, True, append_frame(tone(20).tobytes()))
    write(recorder)
    assert (1, [True]) == (recorder.summary().holes, waits)


def test_a_live_call_with_times_of_its_own_never_waits(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody hears it."""
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", -1)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", -1)
    recorder = recorder_of(worker)
    recorder.use_clock(lambda: 0, lambda: False)
    monkeypatch.setattr(worker, "wait_until", lambda *_: pytest.fail("it waits"))
    hear(recorder)
    write(recorder)
    assert 1 == recorder.summary().holes


def test_a_clock_that_an_apps_test_broke_does_not_end_a_recording(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's own functions of time are those of the import."""
    recorder = recorder_of(worker)
    monkeypatch.setattr(time, "monotonic", lambda: pytest.fail("told by the app's function"))
    hear(recorder)
    write(recorder)
    assert (100, None) == (generated_ms(recorder), recorder.summary().error)


def test_a_closed_recording_takes_nothing(worker: Worker) -> None:
    """Late calls of any kind change no fact."""
    recorder = recorder_of(worker)
    recorder.close(1_000 * MS, by_client=True)
    hear(recorder)
    recorder.event(2_000 * MS, True, {"type": "output_audio_buffer.clear"})
    recorder.tap(2_000 * MS, "agent", TapAudio(tone(20).tobytes()))
    recorder.played(2_000 * MS, "item_a", 0, 5.0)
    recorder.note("meta", {})
    recorder.close(5_000 * MS, by_client=False)
    write(recorder)
    summary = recorder.summary()
    assert (1.0, False, 0) == (summary.duration_s, summary.has_audio, summary.holes)


def test_its_clock_never_runs_back(worker: Worker) -> None:
    """It is the monotonic one, the app's own, or the latest record's."""
    recorder = recorder_of(worker, mono_ns=time.monotonic_ns() - 5_000 * MS)
    assert 5_000 * MS <= recorder.now() < 60_000 * MS
    recorder.frame(90_000 * MS, True, append_frame(tone(20).tobytes()))
    write(recorder)
    assert 90_000 * MS == recorder.now()
    recorder.clock = lambda: 95_000 * MS
    assert 95_000 * MS == recorder.now()
    assert 0 == recorder_of(worker).now()


# -- waiting and letting go ------------------------------------------------------------------------


def test_settling_is_waiting_for_what_was_queued(worker: Worker, folder: Path) -> None:
    """On disk as well; a writer that does not come by is told."""
    recorder = recorder_of(worker, folder)
    hear(recorder)
    assert not recorder.settle(0.05)
    queued = len(recorder._queue)

    def come() -> Again | None:
        return Again(0.005) if len(recorder._queue) == queued else write(recorder)

    worker.submit(come)
    assert recorder.settle(5)
    assert ["open", "buffered", "agent"] == [record[0] for record in read(folder)]


@pytest.mark.parametrize("closed", [True, False])
def test_a_discarded_recording_leaves_nothing(worker: Worker, folder: Path, closed: bool) -> None:
    """Whoever is there does it: the writer, or nobody else once all is written."""
    recorder = recorder_of(worker, folder)
    hear(recorder)
    if closed:
        recorder.close(1_000 * MS, by_client=True)
    write(recorder)
    assert folder.exists()
    recorder.discard()
    if not closed:
        assert folder.exists()
        write(recorder)
    assert (False, None) == (folder.exists(), recorder.folder)


def test_what_is_abandoned_is_never_written(worker: Worker, folder: Path) -> None:
    """A fork's child lets go; facts can still be asked for, and nobody waits."""
    recorder = recorder_of(worker, folder)
    write(recorder)
    before = (folder / JOURNAL).read_bytes()
    hear(recorder)
    recorder.abandon()
    hear(recorder)
    assert (True, False, None) == (recorder.done, recorder.pending, recorder.item("item_a"))
    assert recorder.settle(1)
    write(recorder)
    assert before == (folder / JOURNAL).read_bytes()
    wait_for(lambda: recorder.summary().duration_s == 0.0, "summary")


def test_a_timeline_is_given_out_when_it_changes_no_more(worker: Worker, folder: Path) -> None:
    """Until then, and if the disk has not all of it, a rendering reads the journal."""
    whole, torn = (recorder_of(worker, folder.with_name(name)) for name in ("whole", "torn"))
    for recorder in (whole, torn):
        hear(recorder)
        write(recorder)
        recorder.close(200_000_000, by_client=True)
        assert recorder.timeline() is None
    torn.fail(OSError("the disk is full"))
    for recorder in (whole, torn):
        write(recorder)
        assert recorder.done
    known = whole.timeline()
    assert known is not None
    assert load(folder.with_name("whole")).segments("agent") == known.segments("agent")
    assert torn.timeline() is None
