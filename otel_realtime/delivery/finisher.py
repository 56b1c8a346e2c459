"""After the close: render the recording, give it to whoever wants it, hand the root over.

One background worker per process renders closed conversations in order; a second one brings the
recordings to where the app wants them, which may be a bucket that is slow or away. The folder of a
conversation goes when everybody who wanted it has it; until then it stays on disk, where the next
start or ``otel-realtime recover`` tries again::

    submit -> settle the writer -> render -> keep (recordings_dir, on_recording) -+-> delete folder
                                        +--> root's end, recording attached ------+
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.attributes import Meta
from otel_realtime.background import Worker
from otel_realtime.delivery.keep import is_remote, keep
from otel_realtime.delivery.model import Closing, Recording, Root
from otel_realtime.errors import RecordingError
from otel_realtime.settings import Settings
from otel_realtime.state.progress import KEPT, ROOT, Progress

if TYPE_CHECKING:
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.recording.render import Rendered

logger = logging.getLogger(__name__)

#: Longest wait for the writer to take in what a closed conversation queued.
DRAIN_S: Final = 30.0
#: Waits between tries to reach a bucket.
KEEP_WAITS_S: Final = (1.0, 5.0)
_NOT_SENT: Final = frozenset({"none", "disabled"})


@dataclass(slots=True, kw_only=True)
class Finish:
    """What is left to do for one closed conversation.

    Attributes:
        recorder: holds its audio.
        settings: of the conversation.
        recorded: there is a recording to be made; a folder alone may be only the journal.
        name: file name for kept recordings, without extension.
        info: what ``on_recording`` is told besides the path.
        delivery: its root run at the backend; None without one.
        closing: makes the run's end, with the final audio facts; None if that failed already.
        last_resort: makes the bare end, where ``closing`` fails.
        tidy: called afterwards: what waits on disk has become more.
        done: told when the root was delivered or given up, and what became of the recording on its
            way to the backend: its ``ls_audio_attach_status``, None if there was none to send.
    """

    recorder: Recorder
    settings: Settings
    recorded: bool
    name: str
    info: dict[str, Any]
    delivery: Root | None
    closing: Callable[[], Closing] | None
    last_resort: Callable[[], Closing]
    done: Callable[[str | None], None]
    tidy: Callable[[], None]


class Finisher:
    """The background work of closed conversations."""

    def __init__(self) -> None:
        self._finishing = Worker("otel-realtime-finisher")
        self._keeping = Worker("otel-realtime-keeper")
        self._failed = threading.Event()

    def start(self, settings: Settings) -> None:
        """Start what a conversation with these settings will need at its end."""
        for worker, wanted in (
            (self._finishing, True),
            (self._keeping, _wants_copy(settings)),
        ):
            if wanted:
                worker.resume()
                worker.start()

    def submit(self, job: Finish) -> None:
        """Queue a closed conversation."""
        self._finishing.resume()
        self._finishing.submit(lambda: self._finish(job), on_fault=lambda _: _give_up(job))

    def flush(self, timeout_s: float) -> bool:
        """Wait until every closed conversation was rendered, kept and handed over.

        Returns:
            False if that took longer, a recording could not be rendered or kept, or a step failed,
            ``on_recording`` included, since the last call.
        """
        deadline = time.monotonic() + timeout_s
        done = self._finishing.flush(timeout_s)
        done = self._keeping.flush(max(deadline - time.monotonic(), 0.0)) and done
        failed = self._failed.is_set()
        self._failed.clear()
        return done and not failed

    def stop(self, timeout_s: float) -> bool:
        """End the threads after what they are doing; False if they are at it for longer."""
        deadline = time.monotonic() + timeout_s
        done = self._finishing.stop(timeout_s)
        return self._keeping.stop(max(deadline - time.monotonic(), 0.0)) and done

    def _finish(self, job: Finish) -> None:
        job.recorder.settle(DRAIN_S)
        diagnostics.lose(diagnostics.AUDIO, job.recorder.summary().holes)
        rendered, failed = _render(job)
        if failed:
            self._failed.set()
        keeps = rendered is not None and _wants_copy(job.settings)
        folder = _FolderUse(job.recorder, 1 + keeps, failed=failed)
        if rendered is not None and keeps:
            self._keeping.resume()
            self._keeping.submit(
                lambda: self._keep(job, rendered, folder),
                on_fault=lambda _: folder.step_ended(KEPT, False),
            )
        self._hand_over(job, rendered, folder)
        job.tidy()

    def _keep(self, job: Finish, rendered: Rendered, folder: _FolderUse) -> None:
        info = {**job.info, "duration_s": rendered.duration_s, "rate_hz": rendered.rate_hz}
        kept = True
        if job.settings.recordings_dir:
            info["kept_as"] = where = _kept(rendered.path, job.settings.recordings_dir, job.name)
            kept = where is not None
        told = True
        if job.settings.on_recording is not None:
            try:
                job.settings.on_recording(rendered.path, info)
            except BaseException:
                told = False
                logger.exception(
                    "Settings.on_recording failed for conversation %s; the recording stays in %s",
                    job.name,
                    rendered.path.parent,
                )
        if not (kept and told):
            self._failed.set()
        folder.step_ended(KEPT, kept, stays=not told)

    def _hand_over(self, job: Finish, rendered: Rendered | None, folder: _FolderUse) -> None:
        """Deliver the root run's end, the recording with it."""
        if job.delivery is None:
            folder.step_ended(ROOT, True)
            job.done(None)
            return

        def delivered(ok: bool, status: str) -> None:
            folder.step_ended(ROOT, ok)
            job.done(None if status in _NOT_SENT else status if ok else "failed")

        closing = self._closing(job)
        job.delivery.finish(
            closing,
            recording=lambda: _attachment(job, rendered, closing),
            on_done=delivered,
            max_attachment_mb=job.settings.max_attachment_mb,
        )

    def _closing(self, job: Finish) -> Closing:
        """The run's end; a bare one rather than none."""
        if job.closing is not None:
            try:
                return job.closing()
            except Exception as error:  # noqa: BLE001 - reported; the root must end
                diagnostics.report("describing the end of a conversation", error)
        self._failed.set()
        return job.last_resort()


def _give_up(job: Finish) -> None:
    """Finishing failed: the root ends all the same, and the folder stays for a recovery."""
    if job.delivery is not None:
        job.delivery.finish(job.last_resort(), on_done=lambda ok, status: job.done("failed"))
    else:
        job.done(None)


class _FolderUse:
    """Deletes a conversation's folder when all steps have ended well; else notes those that have."""

    def __init__(self, recorder: Recorder, steps: int, *, failed: bool) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()
        self._left = steps
        self._failed = failed
        self._done: list[str] = []

    def step_ended(self, step: str, ok: bool, *, stays: bool = False) -> None:
        """A step has ended, on any thread; ``stays``: nobody repeats it, but its folder is wanted."""
        with self._lock:
            self._left -= 1
            self._failed |= stays or not ok
            if ok:
                self._done.append(step)
            if self._left:
                return
        folder = self._recorder.folder
        if not self._failed:
            self._recorder.discard()
        elif folder is not None:
            for name in self._done:
                Progress(folder).note(name)


def _wants_copy(settings: Settings) -> bool:
    return bool(settings.recordings_dir) or settings.on_recording is not None


def _render(job: Finish) -> tuple[Rendered | None, bool]:
    """The recording, if there is one to be made, and whether that failed."""
    from otel_realtime.recording.render import render  # brings numpy

    folder, summary = job.recorder.folder, job.recorder.summary()
    if folder is None or not job.recorded or not summary.has_audio:
        return None, False  # what was written before an error is still there
    try:
        return render(folder, folder / "conversation.wav"), False
    except (OSError, RecordingError) as error:
        logger.warning(
            "cannot render the recording of conversation %s: %s; it stays in %s",
            job.name,
            error,
            folder,
        )
        return None, True


def _attachment(job: Finish, rendered: Rendered | None, closing: Closing) -> Recording:
    if rendered is not None:
        from otel_realtime.delivery.attachments import attachment

        return attachment(rendered.path, job.settings.audio_format)
    status = closing.metadata[Meta.ATTACH_STATUS]
    return Recording(status="failed" if status == "pending" else status)


def _kept(recording: Path, directory: str, name: str) -> str | None:
    """Keep a recording; where it is now, None if it could not be."""
    for wait_s in (*KEEP_WAITS_S, None) if is_remote(directory) else (None,):
        try:
            return keep(recording, directory, name)
        except RecordingError as error:
            if wait_s is None:
                logger.error("%s; it stays in %s until it can be", error, recording.parent)
            else:
                time.sleep(wait_s)
    return None
