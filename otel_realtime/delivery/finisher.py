"""Finishes closed conversations: renders the recording, keeps a copy, delivers the root's end.

One background thread renders closed conversations in order; one that takes long does not hold up the
next. The ``Keeper`` makes copies for the app. A conversation's folder is deleted when all steps have
succeeded. Otherwise it stays on disk, where the next start or ``otel-realtime recover`` tries again::

        submit -> settle, spans on disk -> render -+-> keep (recordings_dir, on_recording) -+-> delete folder
                                                   +-> root's end, recording attached ------+

If a worker delivers, the folder is handed over to it instead, as soon as everything is on disk. Then this
process renders nothing, unless the app's own function wants the recording.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_realtime import diagnostics
from otel_realtime.attributes import Meta
from otel_realtime.background import Worker
from otel_realtime.delivery.keeper import Keeper, Kept
from otel_realtime.delivery.model import Closing, Recording, Root
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import About
from otel_realtime.settings import Settings
from otel_realtime.state.progress import KEPT, ROOT, Progress

if TYPE_CHECKING:
    from otel_realtime.core.audio.timeline import Timeline
    from otel_realtime.recording.render import Rendered
    from otel_realtime.recording.track import AudioSummary

logger = logger_of(__name__)

#: Longest wait for the writer to process what a closed conversation enqueued.
DRAIN_S: Final = 30.0
#: Seconds after which a conversation no longer holds up the next: an hour is rendered in two.
PATIENCE_S: Final = 2.0
#: Maximum number of conversations that are finished at a time.
_MOST: Final = 4
#: Values of ``ls_audio_attach_status`` that do not count as an upload.
_NOT_SENT: Final = frozenset({"none", "disabled"})


class ClosedRecorder(Protocol):
    """The recorder of a closed conversation; see ``recording.recorder.Recorder``."""

    @property
    def folder(self) -> Path | None:
        """Folder of the journal and the audio; ``None`` if nothing is on disk."""
        ...

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything enqueued is on disk; return ``False`` on timeout."""
        ...

    def summary(self) -> AudioSummary:
        """Return the recording's totals."""
        ...

    def timeline(self) -> Timeline | None:
        """Return the finished recording's timeline; ``None`` if it has to be read from the journal."""
        ...

    def discard(self) -> None:
        """Delete the folder."""
        ...


@dataclass(slots=True, kw_only=True)
class Finish:
    """The remaining work for one closed conversation.

    Attributes:
        recorder: its recorder.
        settings: settings of the conversation.
        recorded: audio was recorded; otherwise the folder holds only the journal.
        name: file name of a kept recording, without extension.
        info: what ``Settings.on_recording`` receives, besides the path.
        delivery: its root run at the backend; ``None`` without one.
        processed: called once all audio has been processed.
        closing: returns the run's end with the final audio facts; ``None`` if that already failed.
        about: returns the description stored in the recording; ``None`` if that already failed.
        last_resort: returns a minimal end, in case ``closing`` fails.
        done: called when the root was delivered or given up on, with the ``ls_audio_attach_status``
            of the recording; ``None`` if there was no recording to deliver.
        tidy: called at the end, because more data may be waiting on disk than before.
        describe: returns the call as JSON text, given the folder of its journal, and the name, the
            seconds and the sample rate of its recording; ``None``: no JSON is kept beside recordings.
        stored: waits, for the given number of seconds, until the conversation's spans are on disk;
            returns ``False`` on timeout.
        release: hands the folder over to the worker that delivers it; ``None``: this process delivers.
    """

    recorder: ClosedRecorder
    settings: Settings
    recorded: bool
    name: str
    info: dict[str, Any]
    delivery: Root | None
    processed: Callable[[], None]
    closing: Callable[[], Closing] | None
    last_resort: Callable[[], Closing]
    done: Callable[[str | None], None]
    tidy: Callable[[], None]
    describe: Callable[[Path, str, float, int], str] | None = None
    about: Callable[[], About] | None = None
    stored: Callable[[float], bool] = lambda _timeout_s: True
    release: Callable[[], None] | None = None


class Finisher:
    """Finishes closed conversations in the background."""

    def __init__(self) -> None:
        self._finishing = Worker("otel-realtime-finisher", patience_s=PATIENCE_S, most=_MOST)
        self._keeper = Keeper()
        self._failed = threading.Event()
        # Jobs that have not begun, and that ``stop`` prevents from beginning.
        self._waiting: dict[int, Finish] = {}

    def start(self, settings: Settings) -> None:
        """Start the threads that a conversation with these settings needs at its end.

        Called when the conversation opens: an exiting interpreter can no longer start a thread.
        """
        self._finishing.resume()
        self._finishing.start()
        self._keeper.start(settings)

    def submit(self, job: Finish) -> None:
        """Enqueue a closed conversation."""
        self._waiting[id(job)] = job
        self._finishing.resume()
        self._finishing.submit(lambda: self._finish(job), on_fault=lambda _: _give_up(job))

    def flush(self, timeout_s: float) -> bool:
        """Wait until every closed conversation is rendered, kept, and enqueued at its backend.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``False`` on timeout, or if since the previous call a step failed (``on_recording`` included),
            or a recording could not be rendered or kept.
        """
        deadline = time.monotonic() + timeout_s
        # In this order, because finishing submits the jobs that keep copies.
        done = self._finishing.flush(timeout_s)
        done = self._keeper.flush(max(deadline - time.monotonic(), 0.0)) and done
        failed = self._failed.is_set() or self._keeper.failed.is_set()
        self._failed.clear()
        self._keeper.failed.clear()
        return done and not failed

    def stop(self, timeout_s: float) -> bool:
        """End the threads after the jobs they are running; the rest stays on disk.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``False`` if a thread is still running after that time.
        """
        deadline = time.monotonic() + timeout_s
        done = self._finishing.stop(timeout_s)
        for key in list(self._waiting):
            job = self._waiting.pop(key, None)
            if job is not None:
                job.done("failed" if job.recorded else None)
        return self._keeper.stop(max(deadline - time.monotonic(), 0.0)) and done

    def _finish(self, job: Finish) -> None:
        """Render one conversation and start both deliveries; on the finisher's thread."""
        self._waiting.pop(id(job), None)
        settled = job.recorder.settle(DRAIN_S)
        if not settled:
            logger.warning(
                "conversation %s was not completely written within %.0f s; its audio stays in %s",
                job.name,
                DRAIN_S,
                job.recorder.folder,
            )
        # Before the root's end: when the end is accepted, the folder is deleted, and with it the journal
        # from which a recovery would recreate lost spans.
        if not job.stored(DRAIN_S):
            logger.warning("the spans of conversation %s are not on disk yet", job.name)
            settled = False
        try:
            job.processed()
        except BaseException as error:  # noqa: BLE001 - reported; a failed metric prevents no delivery
            diagnostics.report("measuring", error)
        summary = job.recorder.summary()
        diagnostics.lose(diagnostics.AUDIO, summary.holes + summary.bad_frames)
        if job.release is not None:
            self._release(job, job.release, settled=settled)
            return
        rendered, failed = _render(job)
        failed |= not settled
        if failed:
            self._failed.set()
        keeps = rendered is not None and _wants_copy(job.settings)
        folder = _FolderUse(job.recorder, 1 + keeps, failed=failed)
        if rendered is not None and keeps:
            self._keeper.submit(
                self._kept(
                    job,
                    rendered,
                    lambda kept, accepted: folder.step_ended(KEPT, kept, stays=not accepted),
                )
            )
        self._hand_over(job, rendered, folder)
        job.tidy()

    def _release(self, job: Finish, release: Callable[[], None], *, settled: bool) -> None:
        """Hand the folder over to the worker, which renders and delivers; the app's function runs first."""
        folder = job.recorder.folder
        if folder is None:
            if job.delivery is not None or job.recorded:  # it could not be written, as was logged
                diagnostics.lose(diagnostics.CONVERSATION)
                self._failed.set()
            job.done("failed" if job.recorded else None)
            return

        def give_up(accepted: bool = True) -> None:
            if not (settled and accepted):
                self._failed.set()
            if not settled:  # it stays with this process, and is delivered after that ends
                job.done(None)
                return
            try:
                release()
            except OSError as error:
                self._failed.set()
                logger.warning(
                    "conversation %s cannot be handed over to the worker before this process ends: %s",
                    job.name,
                    error,
                )

        rendered = _render(job)[0] if job.settings.on_recording is not None else None
        if rendered is None:
            give_up()
        else:
            kept = self._kept(job, rendered, lambda _kept, accepted: give_up(accepted))
            self._keeper.submit(replace(kept, settings=replace(job.settings, recordings_dir=None)))
        job.tidy()

    @staticmethod
    def _kept(job: Finish, rendered: Rendered, ended: Callable[[bool, bool], None]) -> Kept:
        audio = {
            "duration_s": rendered.duration_s,
            "rate_hz": rendered.rate_hz,
            "loudness_lufs": dict(rendered.loudness),
        }
        return Kept(
            path=rendered.path,
            settings=job.settings,
            name=job.name,
            info={**job.info, **audio},
            describe=_description(job, rendered),
            ended=ended,
        )

    def _hand_over(self, job: Finish, rendered: Rendered | None, folder: _FolderUse) -> None:
        """Enqueue the root run's end at the backend, with the recording."""
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
        """Return the run's end, at least a minimal one: without an end, a run stays pending."""
        if job.closing is not None:
            try:
                return job.closing()
            except BaseException as error:  # noqa: BLE001 - reported; the root must end
                diagnostics.report("describing the end of a conversation", error)
        self._failed.set()
        return job.last_resort()


def _give_up(job: Finish) -> None:
    """End the root of a conversation that could not be finished; its folder stays for a recovery."""
    if job.delivery is None:
        job.done(None)
        return
    try:
        job.delivery.finish(job.last_resort(), on_done=lambda ok, status: job.done("failed"))
    except BaseException:
        job.done("failed")  # the backend itself fails, so nothing else would call ``done``
        raise


class _FolderUse:
    """Deletes a conversation's folder when all steps have succeeded.

    Until then each successful step is noted in the folder, so that a recovery does not repeat it,
    whenever this process dies.

    Args:
        recorder: recorder of the conversation.
        steps: number of steps.
        failed: an earlier step has failed, so the folder stays.
    """

    def __init__(self, recorder: ClosedRecorder, steps: int, *, failed: bool) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()
        self._left = steps
        self._failed = failed

    def step_ended(self, step: str, ok: bool, *, stays: bool = False) -> None:
        """Note the end of a step; called on any thread.

        Args:
            step: name of the step (see ``state.progress``).
            ok: it succeeded.
            stays: keep the folder, although the step succeeded and is not repeated.
        """
        with self._lock:
            self._left -= 1
            self._failed |= stays or not ok
            folder = self._recorder.folder
            if ok and folder is not None:
                Progress(folder).note(step)
            if self._left or self._failed:
                return
        self._recorder.discard()


def _wants_copy(settings: Settings) -> bool:
    return bool(settings.recordings_dir) or settings.on_recording is not None


def _render(job: Finish) -> tuple[Rendered | None, bool]:
    """Return the rendered recording, if there is one, and whether rendering failed."""
    from otel_realtime.recording.render import render  # imports numpy

    folder, summary = job.recorder.folder, job.recorder.summary()
    # Also after a write error (``summary.error``): audio written before it can be rendered.
    if folder is None or not job.recorded or not summary.has_audio:
        return None, False
    try:
        out, timeline = folder / "conversation.wav", job.recorder.timeline()
        return render(folder, out, about=_about(job), timeline=timeline), False
    except (OSError, RecordingError) as error:
        logger.warning(
            "conversation %s is delivered without its recording: %s; its audio stays in %s",
            job.name,
            error,
            folder,
        )
        return None, True


def _about(job: Finish) -> About:
    """Return the description of the recording, or an empty one if that fails."""
    if job.about is not None:
        try:
            return job.about()
        except BaseException as error:  # noqa: BLE001 - reported; only the labels are lost
            diagnostics.report("describing a recording", error)
    return About()


def _description(job: Finish, rendered: Rendered) -> Callable[[], str] | None:
    """Return a function that makes the JSON beside a kept recording, on the keeper's thread."""
    if job.describe is None:
        return None
    file = f"{job.name}{rendered.path.suffix}"
    about = (rendered.path.parent, file, rendered.duration_s, rendered.rate_hz)
    return partial(job.describe, *about)


def _attachment(job: Finish, rendered: Rendered | None, closing: Closing) -> Recording:
    """Return the recording to attach to the root run, or why there is none; on a delivery thread."""
    if rendered is not None:
        from otel_realtime.delivery.attachments import attachment

        return attachment(rendered.path, job.settings.audio_format, rendered.loudness)
    status = closing.metadata[Meta.ATTACH_STATUS]
    return Recording(status="failed" if status == "pending" else status)
