"""The background writer: queues in, folder and facts out."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_realtime import diagnostics
from otel_realtime.recording import recorder as recorder_module
from otel_realtime.recording.recorder import Recorder
from otel_realtime.recording.render import render
from otel_realtime.recording.writer import THREAD_NAME, Writer
from otel_realtime.state.journal import JOURNAL, read
from otel_realtime.state.owner import new_folder
from tests.support.calls import PER_MS, append_frame, channels, delta_frame, spans, tone
from tests.support.provoked import provoked
from tests.support.waiting import wait_for

MS = 1_000_000


@pytest.fixture
def writer() -> Iterator[Writer]:
    found = Writer()
    yield found
    assert found.shutdown(5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path / "state")


def converse(recorder: Recorder) -> None:
    """One question, an answer that is interrupted."""
    question, answer = tone(1_000), tone(2_000, 700)
    for at in range(0, 1_000, 20):
        chunk = question[at * PER_MS : (at + 20) * PER_MS]
        recorder.frame((at + 520) * MS, True, append_frame(chunk.tobytes()))
    recorder.frame(2_000 * MS, False, delta_frame(answer.tobytes()))
    truncate = {"type": "conversation.item.truncate", "item_id": "item_a", "audio_end_ms": 600}
    recorder.event(2_700 * MS, True, truncate)


def test_a_conversation_ends_up_on_disk_and_in_the_facts(writer: Writer, folder: Path) -> None:
    """From queue to samples."""
    recorder = writer.open({"thread_id": "t"}, folder=folder)
    converse(recorder)
    recorder.note("response", {"id": "resp_1"})
    assert recorder.settle(5)
    audio = recorder.item("item_a")
    assert audio is not None
    assert (2_000, 600, True) == (audio.generated_ms, audio.heard_ms, audio.interrupted)
    assert recorder.item("nope") is None
    assert recorder.user_time(500) == 1_000 * MS
    assert recorder.last_voice(1_200 * MS) == 1_200 * MS
    assert recorder.last_voice(9_000 * MS) == 1_500 * MS
    assert recorder.last_voice(100 * MS) is None
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    summary = recorder.summary()
    assert summary.error is None
    assert (1.0, 0.6, 0.0, 2.4, 4.0) == (
        summary.user_talk_s,
        summary.agent_talk_s,
        summary.overlap_s,
        pytest.approx(summary.dead_air_s),
        summary.duration_s,
    )
    left, right = channels(render(folder, folder / "out.wav"))
    assert spans(left) == [(500 * PER_MS, 1_500 * PER_MS)]
    assert spans(right) == [(2_100 * PER_MS, 2_700 * PER_MS)]
    records = list(read(folder))
    assert records[0] == ["open", 0, {"thread_id": "t"}]
    assert records[-1] == ["close", 4_000 * MS, True]
    assert ["response", 2_700 * MS, {"id": "resp_1"}] in records


def test_what_is_queued_is_on_disk_while_the_call_goes_on(writer: Writer, folder: Path) -> None:
    """A kill leaves what happened until then."""
    recorder = writer.open({}, folder=folder)
    recorder.frame(1_000 * MS, True, append_frame(tone(100).tobytes()))
    wait_for((folder / JOURNAL).exists, "journal", every_s=0.002)
    wait_for(lambda: len(list(read(folder))) == 3, "line about the frame", every_s=0.002)
    left, _ = channels(render(folder, folder / "out.wav"))
    assert spans(left) == [(900 * PER_MS, 1_000 * PER_MS)]


def test_without_a_folder_nothing_touches_the_disk(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts are there all the same."""
    monkeypatch.chdir(tmp_path)
    recorder = writer.open({}, folder=None)
    converse(recorder)
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    audio = recorder.item("item_a")
    assert audio is not None
    assert audio.heard_ms == 600
    assert recorder.folder is None
    assert recorder.summary().user_talk_s == 1.0
    assert os.listdir(tmp_path) == []


def test_an_unwritable_state_directory_costs_only_the_recording(
    writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The summary says why; one log line says it, however many conversations there are."""
    (tmp_path / "state").write_text("a file where a directory should be")
    with caplog.at_level(logging.ERROR, "otel_realtime"):
        for _ in range(3):
            recorder = writer.open({}, folder=tmp_path / "state" / "conversations" / "call")
            converse(recorder)
            recorder.close(4_000 * MS, by_client=True)
            assert recorder.settle(5)
            summary = recorder.summary()
            assert summary.error is not None
            assert "state directory" in summary.error
            assert summary.has_audio
            assert recorder.folder is None
    assert len(caplog.records) == 1


def test_a_disk_that_fills_up_costs_only_the_recording(writer: Writer, folder: Path) -> None:
    """What was written before stays; facts go on."""
    recorder = writer.open({}, folder=folder)
    assert recorder.settle(5)
    (folder / "agent.raw").symlink_to("/dev/full")
    converse(recorder)
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    error = recorder.summary().error
    assert error is not None
    assert "cannot write" in error
    audio = recorder.item("item_a")
    assert audio is not None
    assert audio.heard_ms == 600


def test_frames_that_cannot_be_read_are_counted(writer: Writer) -> None:
    """The conversation goes on."""
    recorder = writer.open({}, folder=None)
    recorder.frame(0, True, "nonsense")
    recorder.frame(0, False, b"\xff")
    recorder.frame(5, True, append_frame(tone(20).tobytes()))
    assert recorder.settle(5)
    assert recorder.summary().bad_frames == 2
    assert recorder.summary().has_audio


def test_times_never_go_back(writer: Writer, folder: Path) -> None:
    """Sends and receipts come from several threads."""
    recorder = writer.open({}, folder=folder)
    for t in (1_000, 990, 1_001):
        recorder.frame(t * MS, True, append_frame(tone(20).tobytes()))
    recorder.close(5 * MS, by_client=False)
    assert recorder.settle(5)
    assert [r[1] for r in read(folder)] == [0, 0, *(t * MS for t in (1_000, 1_000, 1_001, 1_001))]


def test_a_full_backlog_is_a_counted_hole(
    folder: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is lost takes its time and is silent; what follows stays in place."""
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", 20_000)
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", 20_000)
    recorder = writer.open({"mono_ns": time.monotonic_ns()}, folder=folder)
    busy, free = threading.Event(), threading.Event()

    def block(_: int) -> None:
        busy.set()
        free.wait(5)

    recorder.frame(100 * MS, True, append_frame(tone(100).tobytes()))
    assert recorder.settle(5)
    recorder.on_tick = block
    assert busy.wait(5)
    for at in range(200, 1_100, 100):
        recorder.frame(at * MS, True, append_frame(tone(100).tobytes()))
    recorder.note("lost", {})
    recorder.on_tick = None
    free.set()
    assert recorder.settle(5)
    recorder.frame(1_100 * MS, True, append_frame(tone(100).tobytes()))
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    assert recorder.summary().holes == 1
    left, _ = channels(render(folder, folder / "out.wav"))
    assert spans(left) == [(0, 500 * PER_MS), (1_000 * PER_MS, 1_100 * PER_MS)]
    holes = [record for record in read(folder) if record[0] == "hole"]
    assert holes == [["hole", 600 * MS, "user", 500 * 48]]


def test_ticks_come_until_the_close(writer: Writer) -> None:
    """On the writer's thread, with the recording's time, whatever they raise."""
    ticks: list[tuple[int, str]] = []

    def tick(t: int) -> None:
        ticks.append((t, threading.current_thread().name))
        raise ValueError("a fault in the tick")

    recorder = writer.open({"mono_ns": time.monotonic_ns()}, folder=None, on_tick=tick)
    wait_for(lambda: len(ticks) >= 3, "ticks", every_s=0.002)
    recorder.close(ticks[-1][0] + MS, by_client=True)
    assert recorder.settle(5)
    count = len(ticks)
    other = writer.open({}, folder=None)
    assert other.settle(5)
    assert len(ticks) == count
    assert [t for t, _ in ticks] == sorted(t for t, _ in ticks)
    assert {name for _, name in ticks} == {THREAD_NAME}
    assert {"writing: ValueError"} == diagnostics.faults().keys()
    diagnostics.REGISTER.clear()


def test_a_conversation_with_its_own_clock_ticks_by_it(writer: Writer) -> None:
    """Without ``mono_ns`` the time is that of the latest record."""
    ticks: list[int] = []
    recorder = writer.open({}, folder=None, on_tick=ticks.append)
    recorder.frame(77_000 * MS, True, append_frame(tone(20).tobytes()))
    wait_for(lambda: 77_000 * MS in ticks, "tick", every_s=0.002)
    assert set(ticks) <= {0, 77_000 * MS}


def test_after_the_close_nothing_is_taken(writer: Writer, folder: Path) -> None:
    """Late frames, notes and closes are nobody's; facts stay."""
    recorder = writer.open({}, folder=folder)
    converse(recorder)
    recorder.close(4_000 * MS, by_client=True)
    recorder.frame(5_000 * MS, True, append_frame(tone(20).tobytes()))
    recorder.event(5_000 * MS, True, {"type": "output_audio_buffer.clear"})
    recorder.note("late", {})
    recorder.close(6_000 * MS, by_client=True)
    assert recorder.settle(5)
    before = (folder / JOURNAL).read_bytes()
    assert recorder.settle(5)
    assert recorder.summary().duration_s == 4.0
    assert json.loads(before.splitlines()[-1]) == ["close", 4_000 * MS, True]
    assert before == (folder / JOURNAL).read_bytes()


@pytest.mark.parametrize("closed", [True, False])
def test_a_discarded_recording_is_gone(writer: Writer, folder: Path, closed: bool) -> None:
    """After delivery, or because nobody wants it."""
    recorder = writer.open({}, folder=folder)
    converse(recorder)
    if closed:
        recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    assert folder.exists()
    recorder.discard()
    assert recorder.settle(5)
    recorder.frame(9_000 * MS, True, append_frame(tone(20).tobytes()))
    assert recorder.settle(5)
    assert not folder.exists()
    assert recorder.folder is None


def test_a_fault_of_ours_costs_only_what_it_was_about(
    writer: Writer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; this conversation and others go on."""
    recorder = writer.open({}, folder=folder)
    no_mapping: Any = 5
    with caplog.at_level(logging.ERROR, "otel_realtime"):
        for _ in range(2):
            recorder.note("note", no_mapping)
        assert recorder.settle(5)
    converse(recorder)
    assert recorder.settle(5)
    assert recorder.summary().error is None
    assert recorder.item("item_a") is not None
    assert (folder / "agent.raw").stat().st_size
    said = [r.message for r in caplog.records]
    assert 1 == sum("telemetry of a conversation is incomplete" in text for text in said)
    diagnostics.REGISTER.clear()


def test_a_round_that_raises_is_not_the_last_one(
    writer: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is written later is written, and others are, too."""
    monkeypatch.setattr("otel_realtime.background._FAULT_S", 0.01)
    settle, raised = recorder_module.Backlog.settle, []

    def once(self: recorder_module.Backlog) -> None:
        if not raised:
            raised.append(True)
            raise MemoryError
        settle(self)

    monkeypatch.setattr(recorder_module.Backlog, "settle", once)
    recorder = writer.open({}, folder=folder)
    wait_for(lambda: diagnostics.faults(), "the round that raises")
    converse(recorder)
    assert recorder.settle(5)
    provoked("otel-realtime-writer: MemoryError")


def test_many_conversations_share_one_thread(writer: Writer, tmp_path: Path) -> None:
    """None mixes with another, and the thread rests when the last one ends."""
    recorders = [writer.open({}, folder=new_folder(tmp_path / "state")) for _ in range(20)]
    for number, recorder in enumerate(recorders):
        samples = tone(100 + number)
        recorder.frame(1_000 * MS, True, append_frame(samples.tobytes()))
    for recorder in recorders:
        recorder.close(2_000 * MS, by_client=True)
    for number, recorder in enumerate(recorders):
        assert recorder.settle(5)
        assert recorder.folder is not None
        source = (recorder.folder / "user.raw").read_bytes()
        assert source == tone(100 + number).tobytes()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count(THREAD_NAME) == 1
    wait_for(lambda: writer._live == [], "end of the last one", every_s=0.002)


def test_one_that_hurries_does_not_bring_the_writer_to_all(writer: Writer, tmp_path: Path) -> None:
    """With a thousand open calls each new one would cost as much as all of them."""
    here, there = (writer.open({}, folder=new_folder(tmp_path / "state")) for _ in range(2))
    for recorder in (here, there):
        assert recorder.settle(5)
    writer._due = time.monotonic() + 60
    for recorder in (here, there):
        recorder.frame(1_000 * MS, True, append_frame(tone(100).tobytes()))
    assert here.settle(5)
    assert (False, True) == (here.pending, there.pending)
    writer._due = 0.0
    assert here.settle(5)
    wait_for(lambda: not there.pending, "regular round", every_s=0.002)


def test_shutdown_writes_what_is_queued(folder: Path) -> None:
    """Also of open conversations; a later one starts the thread again."""
    writer = Writer()
    assert writer.shutdown(5)
    recorder = writer.open({}, folder=folder)
    converse(recorder)
    assert writer.shutdown(5)
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert len(list(read(folder))) == 54
    again = writer.open({}, folder=None)
    assert again.settle(5)
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    assert writer.shutdown(5)


def test_frames_from_several_threads_all_arrive(writer: Writer, folder: Path) -> None:
    """Two senders and a receiver at once."""
    recorder = writer.open({}, folder=folder)
    frame = append_frame(tone(20).tobytes())

    def send() -> None:
        for number in range(300):
            recorder.frame(number * 20 * MS, True, frame)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close(9_000 * MS, by_client=True)
    assert recorder.settle(5)
    assert (folder / "user.raw").stat().st_size == 900 * 960
    assert writer._backlog.queued == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_sum_that_lost_an_addition_is_put_right(writer: Writer, folder: Path) -> None:
    """Without a GIL two threads may do that; else the backlog would seem full, or empty, for ever."""
    recorder = writer.open({}, folder=folder)
    for lost in (1 << 30, -(1 << 30)):
        recorder.frame(0, True, append_frame(bytes(960)))
        writer._backlog.queued += lost
        assert recorder.settle(5)
        wait_for(lambda: writer._backlog.queued == 0, "the sum to be put right")


def test_a_forks_child_writes_nothing(writer: Writer, folder: Path) -> None:
    """It lets go of queue and files; the parent's recording goes on."""
    recorder = writer.open({}, folder=folder)
    converse(recorder)
    assert recorder.settle(5)
    recorder.frame(3_000 * MS, True, append_frame(tone(20).tobytes()))
    child = os.fork()
    if child == 0:
        recorder.frame(3_100 * MS, True, append_frame(tone(20).tobytes()))
        recorder.close(3_200 * MS, by_client=True)
        fine = recorder.settle(0.1) and recorder.item("item_a") is not None
        ours = [t for t in threading.enumerate() if t.name.startswith("otel-realtime")]
        os._exit(0 if fine and not ours else 1)
    assert os.waitpid(child, 0)[1] == 0
    recorder.close(4_000 * MS, by_client=True)
    assert recorder.settle(5)
    records = list(read(folder))
    assert records[-1] == ["close", 4_000 * MS, True]
    assert [record[1] for record in records[-2:-1]] == [3_000 * MS]


@pytest.mark.parametrize("on_a_loop", [False, True])
def test_a_replay_waits_instead_of_losing_audio(
    folder: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, *, on_a_loop: bool
) -> None:
    """A call that is told faster than it can be written: all of it is there."""
    monkeypatch.setattr(recorder_module, "CROWDED_BYTES", 100_000)
    monkeypatch.setattr(recorder_module, "BACKLOG_BYTES", 100_000)
    recorder = writer.open({}, folder=folder)
    recorder.use_clock(lambda: 0, lambda: True)
    frame = append_frame(tone(100).tobytes())

    async def tell() -> None:
        for number in range(600):
            recorder.frame((number + 1) * 100 * MS, True, frame)

    if on_a_loop:
        asyncio.run(tell())
    else:
        with pytest.raises(StopIteration):
            tell().send(None)
    recorder.close(60_000 * MS, by_client=True)
    assert recorder.settle(10)
    summary = recorder.summary()
    assert (0, 0, 60.0) == (summary.holes, summary.dropped_ms, summary.user_talk_s)
    left, _ = channels(render(folder, folder / "out.wav"))
    assert [(0, 60_000 * PER_MS)] == spans(left)
