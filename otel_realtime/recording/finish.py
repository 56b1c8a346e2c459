"""After the close: render the recording, give it to whoever wants it, hand the root over.

One background thread per process renders closed conversations in order; a second one brings the
recordings to where the app wants them, which may be a bucket that is slow or away. The folder of a
conversation goes when everybody who wanted it has it; until then it stays on disk, where the next
start or ``otel-realtime recover`` tries again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import losses
from otel_realtime.attributes import ATTACH_STATUS
from otel_realtime.errors import RecordingError
from otel_realtime.recording.keep import is_remote, keep
from otel_realtime.recording.progress import KEPT, ROOT, Progress
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from otel_realtime.langsmith.delivery import RootDelivery
    from otel_realtime.langsmith.runs import Recording, RunClosing
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
        recorded: there is a recording to be made; a folder alone may be only the journal.
        name: file name for kept recordings, without extension.
        info: what ``on_recording`` is told besides the path.
        closing: makes the run's last patch, with the final audio facts.
        tidy: called afterwards: what waits on disk has become more.
        done: told when the root was delivered or given up, and what became of the recording on its
            way to LangSmith: its ``ls_audio_attach_status``, None if there was none to send.
    """

    recorder: Recorder
    settings: Settings
    recorded: bool
    name: str
    info: dict[str, Any]
    delivery: RootDelivery | None
    closing: Callable[[], RunClosing]
    done: Callable[[str | None], None]
    tidy: Callable[[], None]


class _Thread:
    """Works through jobs in order on a thread of its own, started when it is first wanted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._busy = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; no thread can be started any more when the interpreter exits."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job."""
        with self._change:
            self._jobs.append(job)
            self._busy += 1
            self._change.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every job is done; False if that took longer."""
        deadline = time.monotonic() + timeout_s
        with self._change:
            while self._busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._change.wait(left)
        return True

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._jobs:
                    self._change.wait()
                job = self._jobs.popleft()
            try:
                job()
            except Exception:
                logger.exception("a closed conversation could not be finished")
            with self._change:
                self._busy -= 1
                self._change.notify_all()


class Finisher:
    """The background threads of closed conversations; started with the first open one."""

    def __init__(self) -> None:
        self._finishing = _Thread("otel-realtime-finisher")
        self._keeping = _Thread("otel-realtime-keeper")
        self._failed = threading.Event()

    def start(self, settings: Settings) -> None:
        """Start what a conversation with these settings will need."""
        self._finishing.start()
        if settings.recordings_dir or settings.on_recording is not None:
            self._keeping.start()

    def submit(self, job: Finish) -> None:
        """Queue a closed conversation."""
        self._finishing.submit(lambda: self._finish(job))

    def flush(self, timeout_s: float) -> bool:
        """Wait until every closed conversation was rendered, kept and handed over.

        Returns:
            False if that took longer, or a recording could not be kept since the last call.
        """
        deadline = time.monotonic() + timeout_s
        done = self._finishing.flush(timeout_s)
        done = self._keeping.flush(max(deadline - time.monotonic(), 0.0)) and done
        failed = self._failed.is_set()
        self._failed.clear()
        return done and not failed

    def _finish(self, job: Finish) -> None:
        job.recorder.settle(DRAIN_S)
        losses.lose(losses.AUDIO, job.recorder.summary().holes)
        rendered = _render(job)
        wanted = job.settings.recordings_dir or job.settings.on_recording is not None
        keeps = rendered is not None and bool(wanted)
        rest = _Rest(job.recorder, 1 + keeps)
        if rendered is not None and keeps:
            self._keeping.submit(lambda: self._keep(job, rendered, rest))
        _hand_over(job, rendered, rest)
        job.tidy()

    def _keep(self, job: Finish, rendered: Rendered, rest: _Rest) -> None:
        info = {**job.info, "duration_s": rendered.duration_s, "rate_hz": rendered.rate_hz}
        kept = True
        if job.settings.recordings_dir:
            info["kept_as"] = where = _kept(rendered.path, job.settings.recordings_dir, job.name)
            kept = where is not None
        if job.settings.on_recording is not None:
            try:
                job.settings.on_recording(rendered.path, info)
            except Exception:
                logger.exception("Settings.on_recording failed for conversation %s", job.name)
        if not kept:
            self._failed.set()
        rest.ended(KEPT, kept)


class _Rest:
    """Deletes a conversation's folder when all steps have ended well; else notes those that have."""

    def __init__(self, recorder: Recorder, steps: int) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()
        self._left = steps
        self._failed = False
        self._done: list[str] = []

    def ended(self, step: str, ok: bool) -> None:
        """A step has ended, on any thread."""
        with self._lock:
            self._left -= 1
            self._failed |= not ok
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


def _hand_over(job: Finish, rendered: Rendered | None, rest: _Rest) -> None:
    """Deliver the root run's end, the recording with it."""
    if job.delivery is None:
        rest.ended(ROOT, True)
        job.done(None)
        return

    def delivered(ok: bool, status: str) -> None:
        rest.ended(ROOT, ok)
        job.done(None if status in _NOT_SENT else status if ok else "failed")

    closing = job.closing()
    job.delivery.finish(
        closing,
        recording=lambda: _attachment(job, rendered, closing),
        on_done=delivered,
        max_attachment_mb=job.settings.max_attachment_mb,
    )


def _render(job: Finish) -> Rendered | None:
    from otel_realtime.recording.render import render

    folder, summary = job.recorder.folder, job.recorder.summary()
    if folder is None or not job.recorded or not summary.has_audio:
        return None  # what was written before an error is still there
    try:
        return render(folder, folder / "conversation.wav")
    except (OSError, RecordingError) as error:
        logger.warning(
            "the recording of conversation %s could not be rendered: %s", job.name, error
        )
        return None


def _attachment(job: Finish, rendered: Rendered | None, closing: RunClosing) -> Recording:
    from otel_realtime.langsmith.runs import Recording

    if rendered is not None:
        from otel_realtime.recording.attachments import attachment

        return attachment(rendered.path, job.settings.audio_format)
    status = closing.metadata[ATTACH_STATUS]
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
