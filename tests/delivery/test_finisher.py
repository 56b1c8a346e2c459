"""After the close: whatever a step raises, the root ends, flush() tells, and what is not done stays on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.attributes import Meta
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.delivery import keeper as keeping
from otel_realtime.delivery.finisher import ClosedRecorder, Finish, Finisher
from otel_realtime.delivery.model import Closing, OnDone, Opening, Recording, Render
from otel_realtime.recording.track import AudioSummary
from otel_realtime.recording.writer import Writer
from otel_realtime.settings import Settings
from otel_realtime.state.journal import JOURNAL
from otel_realtime.state.owner import new_folder
from otel_realtime.state.progress import PROGRESS
from tests.support.calls import append_frame, tone
from tests.support.folder_backend import FolderBackend
from tests.support.provoked import provoked

MS = 1_000_000
WHOLE = Closing(end_ns=2, outputs={"whole": True}, metadata={Meta.ATTACH_STATUS: "pending"})
BARE = Closing(end_ns=2, error="bare", metadata={Meta.ATTACH_STATUS: "failed"})


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket is tried once."""
    monkeypatch.setattr(keeping, "KEEP_WAITS_S", ())


@pytest.fixture
def writer() -> Iterator[Writer]:
    """Writes the recordings of a test."""
    found = Writer()
    yield found
    assert found.shutdown(5)


@pytest.fixture
def finisher() -> Iterator[Finisher]:
    """What is tested."""
    found = Finisher()
    yield found
    assert found.stop(5)


class Root:
    """A root run at a backend: keeps its end and its recording, or does not."""

    def __init__(self, folder: Path, *, accepts: bool = True) -> None:
        self.ends: list[Closing] = []
        self.recordings: list[Recording | None] = []
        self._accepts = accepts
        self._real = FolderBackend(folder).open(
            Opening(trace_id=1, span_id=1, name="root", start_ns=1)
        )
        self.status, self.url = self._real.status, self._real.url

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Take it once."""
        if self.ends:
            return
        self.ends.append(closing)
        self.recordings.append(recording() if recording is not None else None)
        if self._accepts:
            self._real.finish(closing, recording, on_done=on_done)
        elif on_done is not None:
            on_done(False, "failed")


@dataclass
class Call:
    """A conversation that has just closed.

    Attributes:
        folder: where it stands on disk.
        done: what was told at the end of its delivery.
        tidied: how often it was said that more waits on disk.
    """

    job: Finish
    folder: Path
    done: list[str | None] = field(default_factory=list)
    tidied: list[int] = field(default_factory=list)

    @property
    def progress(self) -> list[str]:
        """Steps that were noted as done."""
        noted: list[str] = json.loads((self.folder / PROGRESS).read_text())
        return sorted(noted)


def closed(writer: Writer, tmp_path: Path, root: Root | None, **settings: Any) -> Call:
    """One second of a voice, written to its end."""
    folder = new_folder(tmp_path / "state")
    recorder = writer.open({}, folder=folder)
    for at in range(0, 1_000, 20):
        recorder.frame((at + 20) * MS, True, append_frame(tone(20).tobytes()))
    recorder.close(1_000 * MS, by_client=True)
    assert recorder.settle(5)
    done: list[str | None] = []
    tidied: list[int] = []
    job = Finish(
        recorder=recorder,
        settings=Settings(state_dir=tmp_path / "state", **settings),
        recorded=True,
        name="call-1",
        info={"thread_id": "t"},
        delivery=root,  # type: ignore[arg-type]
        processed=lambda: None,
        closing=lambda: WHOLE,
        last_resort=lambda: BARE,
        done=done.append,
        tidy=lambda: tidied.append(1),
    )
    return Call(job, folder, done, tidied)


def finish(finisher: Finisher, call: Call) -> bool:
    """Do all that is left; what ``flush`` says."""
    finisher.start(call.job.settings)
    finisher.submit(call.job)
    return finisher.flush(10)


def test_what_everybody_has_is_not_on_disk(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """The root with its recording, the app's folder, and the app's function."""
    root, told = Root(tmp_path / "backend"), []
    call = closed(
        writer,
        tmp_path,
        root,
        recordings_dir=str(tmp_path / "kept"),
        on_recording=lambda path, info: told.append((path.exists(), info)),
    )
    assert finish(finisher, call)
    kept = tmp_path / "kept" / "call-1.wav"
    info = {"thread_id": "t", "duration_s": 1.0, "rate_hz": 24_000, "kept_as": str(kept)}
    assert {"user"} == told[0][1].pop("loudness_lufs").keys()  # nobody answered
    assert ([WHOLE], [(True, info)], ["attached"], 1) == (
        root.ends,
        told,
        call.done,
        len(call.tidied),
    )
    assert kept.read_bytes() == (tmp_path / "backend" / "conversation.wav").read_bytes()
    assert not call.folder.exists()


def test_a_conversation_without_sound_has_no_recording(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """Its end goes alone, and says why; nobody is told of a recording."""
    root, told = Root(tmp_path / "backend"), []
    call = closed(writer, tmp_path, root, on_recording=lambda *given: told.append(given))
    call.job.recorded = False
    call.job.closing = lambda: Closing(end_ns=2, metadata={Meta.ATTACH_STATUS: "disabled"})
    assert finish(finisher, call)
    assert ([Recording(status="disabled")], [], [None]) == (root.recordings, told, call.done)
    assert not call.folder.exists()


def test_a_root_that_was_not_accepted_stays_on_disk(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """Whoever tries again knows what was kept already."""
    kept = tmp_path / "kept"
    root = Root(tmp_path / "backend", accepts=False)
    call = closed(writer, tmp_path, root, recordings_dir=str(kept))
    finish(finisher, call)
    assert (["failed"], ["kept"]) == (call.done, call.progress)
    assert {JOURNAL, "user.raw"} <= {path.name for path in call.folder.iterdir()}


def test_a_recording_that_cannot_be_kept_stays_on_disk(
    finisher: Finisher, writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The root has it all the same; it is said once by the log and once by ``flush``."""
    (tmp_path / "file").write_text("no folder")
    root = Root(tmp_path / "backend")
    call = closed(writer, tmp_path, root, recordings_dir=str(tmp_path / "file" / "kept"))
    assert not finish(finisher, call)
    assert finisher.flush(1)
    assert (["attached"], ["root"]) == (call.done, call.progress)
    (message,) = caplog.messages
    assert str(call.folder) in message


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("kept", [True, False])
def test_a_function_of_the_apps_that_fails(
    finisher: Finisher,
    writer: Writer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    kept: bool,
) -> None:
    """Whatever it raises: the root ends, ``flush`` says so, and the recording is still there."""

    def fails(path: Path, info: dict[str, Any]) -> None:
        raise error

    root = Root(tmp_path / "backend")
    where = {"recordings_dir": str(tmp_path / "kept")} if kept else {}
    call = closed(writer, tmp_path, root, on_recording=fails, **where)
    assert not finish(finisher, call)
    assert ([WHOLE], ["attached"]) == (root.ends, call.done)
    assert ["kept", "root"] == call.progress
    assert (call.folder / "conversation.wav").exists()
    assert "Settings.on_recording raised for conversation call-1" in caplog.text
    assert finish(finisher, closed(writer, tmp_path, None))


def test_a_recording_that_cannot_be_rendered_stays_on_disk(
    finisher: Finisher, writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk may be full just now: the root ends without it, and a later start tries again."""
    for root in (Root(tmp_path / "backend"), None):
        call = closed(writer, tmp_path, root, recordings_dir=str(tmp_path / "kept"))
        (call.folder / "conversation.wav").mkdir()  # in the way
        assert not finish(finisher, call)
        assert {JOURNAL, "user.raw"} <= {path.name for path in call.folder.iterdir()}
        assert ["root"] == call.progress
        if root is not None:
            assert [Recording(status="failed")] == root.recordings
    assert not (tmp_path / "kept").exists()
    assert "conversation call-1 is delivered without its recording" in caplog.text


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(3)])
def test_any_fault_of_rendering(
    finisher: Finisher,
    writer: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """The root gets its bare end, the next conversation its whole one."""

    def fails(folder: Path, out: Path, **about: object) -> None:
        raise error

    root, after = Root(tmp_path / "backend"), Root(tmp_path / "after")
    call = closed(writer, tmp_path, root)
    with monkeypatch.context() as patch:
        patch.setattr("otel_realtime.recording.render.render", fails)
        assert not finish(finisher, call)
    assert ([BARE], ["failed"]) == (root.ends, call.done)
    provoked(f"otel-realtime-finisher: {type(error).__name__}")
    assert {JOURNAL, "user.raw"} <= {path.name for path in call.folder.iterdir()}
    assert finish(finisher, closed(writer, tmp_path, after))
    assert [WHOLE] == after.ends


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (None, None),
        (ValueError("no"), "describing the end of a conversation"),
        (SystemExit(3), "describing the end of a conversation"),
    ],
    ids=["failed before", "fails", "ends the process"],
)
def test_an_end_that_cannot_be_described(
    finisher: Finisher,
    writer: Writer,
    tmp_path: Path,
    error: BaseException | None,
    where: str | None,
) -> None:
    """The root gets a bare one; ``flush`` says so."""

    def fails() -> Closing:
        assert error is not None
        raise error

    root = Root(tmp_path / "backend")
    call = closed(writer, tmp_path, root)
    call.job.closing = None if error is None else fails
    assert not finish(finisher, call)
    assert [BARE] == root.ends
    assert 1 == len(call.done)
    provoked(*([] if where is None else [f"{where}: {type(error).__name__}"]))


def test_a_delivery_that_fails_costs_no_other(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """The folder stays, the conversation is over, and the thread goes on."""

    class Broken(Root):
        def finish(self, *given: Any, **named: Any) -> None:
            raise RuntimeError("no end")

    call, after = closed(writer, tmp_path, Broken(tmp_path / "b")), Root(tmp_path / "after")
    assert not finish(finisher, call)
    who = "otel-realtime-finisher"
    provoked(f"{who}: RuntimeError", f"{who}: on_fault: RuntimeError")
    assert ["failed"] == call.done
    assert call.folder.exists()
    assert finish(finisher, closed(writer, tmp_path, after))
    assert [WHOLE] == after.ends


def test_a_fault_after_the_delivery_changes_nothing_of_it(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """The end that was sent stays the only one."""

    def fails() -> None:
        raise RuntimeError("no room")

    root = Root(tmp_path / "backend")
    call = closed(writer, tmp_path, root)
    call.job.tidy = fails
    assert not finish(finisher, call)
    provoked("otel-realtime-finisher: RuntimeError")
    assert ([WHOLE], ["attached"]) == (root.ends, call.done)
    assert not call.folder.exists()


def test_a_recording_that_is_not_written_in_time_stays_on_disk(
    finisher: Finisher, writer: Writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The root gets what was written; the rest comes after it, so the folder stays."""
    root = Root(tmp_path / "backend")
    call = closed(writer, tmp_path, root)

    @dataclass
    class Slow:
        of: ClosedRecorder
        folder: Path = call.folder

        def settle(self, timeout_s: float) -> bool:
            return False

        def summary(self) -> AudioSummary:
            return self.of.summary()

        def timeline(self) -> Timeline | None:
            return None

        def discard(self) -> None:
            self.of.discard()

    call.job.recorder = Slow(call.job.recorder)
    assert not finish(finisher, call)
    assert ([WHOLE], ["attached"], ["root"]) == (root.ends, call.done, call.progress)
    assert {JOURNAL, "user.raw"} <= {path.name for path in call.folder.iterdir()}
    assert f"not completely written within 30 s; its audio stays in {call.folder}" in caplog.text


def test_the_metrics_of_the_last_answers_cost_no_delivery(
    finisher: Finisher, writer: Writer, tmp_path: Path
) -> None:
    """They are recorded before the root's end is described; a fault of theirs is reported."""

    def fails() -> None:
        order.append("processed")
        raise ValueError("no metrics")

    def end() -> Closing:
        order.append("closing")
        return WHOLE

    order: list[str] = []
    root = Root(tmp_path / "backend")
    call = closed(writer, tmp_path, root)
    call.job.processed, call.job.closing = fails, end
    assert finish(finisher, call)
    provoked("measuring: ValueError")
    assert (["processed", "closing"], [WHOLE], ["attached"]) == (order, root.ends, call.done)
    assert not call.folder.exists()
