"""After the close: render the recording, give it to whoever wants it, hand the root over.

One background thread per process works through closed conversations in order. The folder of a
conversation goes when everything that wanted it has it; until then it stays on disk.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_realtime.attributes import ATTACH_STATUS
from otel_realtime.errors import RecordingError
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from otel_realtime.langsmith.delivery import RootDelivery
    from otel_realtime.langsmith.runs import Recording, RunClosing
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.recording.render import Rendered

logger = logging.getLogger(__name__)

#: Longest wait for the writer to take in what a closed conversation queued.
DRAIN_S = 30.0


@dataclass(slots=True, kw_only=True)
class Finish:
    """What is left to do for one closed conversation.

    Attributes:
        recorded: there is a recording to be made; a folder alone may be only the journal.
        name: file name for kept recordings, without extension.
        info: what ``on_recording`` is told besides the path.
        closing: makes the run's last patch, with the final audio facts.
        tidy: called afterwards: what waits on disk has become more.
        done: told when nothing is left, and whether LangSmith accepted the end.
    """

    recorder: Recorder
    settings: Settings
    recorded: bool
    name: str
    info: dict[str, Any]
    delivery: RootDelivery | None
    closing: Callable[[], RunClosing]
    done: Callable[[bool], None]
    tidy: Callable[[], None]


class Finisher:
    """The background thread of closed conversations; started with the first open one."""

    def __init__(self) -> None:
        self._jobs: deque[Finish] = deque()
        self._change = threading.Condition()
        self._busy = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; no thread can be started any more when the interpreter exits."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="otel-realtime-finisher", daemon=True
                )
                self._thread.start()

    def submit(self, job: Finish) -> None:
        """Queue a closed conversation."""
        with self._change:
            self._jobs.append(job)
            self._busy += 1
            self._change.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every closed conversation was rendered and handed over."""
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
                finish(job)
                job.tidy()
            except Exception:
                logger.exception("a closed conversation could not be finished")
            with self._change:
                self._busy -= 1
                self._change.notify_all()


def finish(job: Finish) -> None:
    """Render one conversation's recording, keep it where asked, deliver its root."""
    recorder = job.recorder
    recorder.settle(DRAIN_S)
    folder = recorder.folder
    rendered = _render(job, folder) if folder is not None and job.recorded else None
    if rendered is not None:
        _keep(job, rendered)
    if job.delivery is None:
        recorder.discard()
        job.done(True)
        return

    def delivered(ok: bool, _status: str) -> None:
        if ok:
            recorder.discard()
        job.done(ok)

    closing = job.closing()
    job.delivery.finish(
        closing,
        recording=lambda: _attachment(rendered, closing),
        on_done=delivered,
        max_attachment_mb=job.settings.max_attachment_mb,
    )


def _render(job: Finish, folder: Path) -> Rendered | None:
    from otel_realtime.recording.render import render

    summary = job.recorder.summary()
    if not summary.has_audio or summary.error is not None:
        return None
    try:
        return render(folder, folder / "conversation.wav")
    except (OSError, RecordingError) as error:
        logger.warning(
            "the recording of conversation %s could not be rendered: %s", job.name, error
        )
        return None


def _attachment(rendered: Rendered | None, closing: RunClosing) -> Recording:
    from otel_realtime.langsmith.runs import Recording

    if rendered is not None:
        return Recording(path=rendered.path)
    status = closing.metadata[ATTACH_STATUS]
    return Recording(status="failed" if status == "pending" else status)


def _keep(job: Finish, rendered: Rendered) -> None:
    info = {**job.info, "duration_s": rendered.duration_s, "rate_hz": rendered.rate_hz}
    if job.settings.recordings_dir:
        try:
            keep(rendered.path, job.settings.recordings_dir, job.name)
        except OSError as error:
            logger.warning(
                "the recording could not be kept in %s: %s", job.settings.recordings_dir, error
            )
    if job.settings.on_recording is not None:
        try:
            job.settings.on_recording(rendered.path, info)
        except Exception:
            logger.exception("Settings.on_recording failed for conversation %s", job.name)


def keep(recording: Path, directory: str, name: str) -> Path:
    """Copy a finished recording to where the app wants it; it appears when it is whole.

    Raises:
        OSError: it cannot be written there.
    """
    target = Path(directory).expanduser() / f"{name}.wav"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(recording, part)
    part.replace(target)
    return target
