"""Keeps copies of rendered recordings for the app, and calls its ``on_recording``.

A bucket may be slow or unreachable, and the app's function may do anything, so each has a thread of
its own: neither finishing nor delivery waits for them. Copies, and calls of the function, are made
one after the other, but one that takes long does not hold up the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_realtime.background import Again, Worker
from otel_realtime.delivery.keep import is_remote, keep, keep_beside
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.interrupts import let_through
from otel_realtime.settings import Settings

logger = logger_of(__name__)

#: Delays before each further attempt to reach a bucket.
KEEP_WAITS_S: Final = (1.0, 5.0)
#: Number of seconds after which a copy, or a call of the app's function, no longer holds up the next.
COPY_PATIENCE_S: Final = 5.0
CALL_PATIENCE_S: Final = 10.0
#: Maximum number of copies, and of calls, at a time.
_MOST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recording to keep.

    Attributes:
        path: the rendered file.
        settings: settings of its conversation.
        name: file name of the copy, without extension.
        info: what ``Settings.on_recording`` receives, besides the path.
        describe: returns the call as JSON text for a file beside the copy; ``None``: no such file.
        ended: called at the end, with whether the recording is kept, and whether the app's function
            accepted it.
    """

    path: Path
    settings: Settings
    name: str
    info: dict[str, Any]
    ended: Callable[[bool, bool], None]
    describe: Callable[[], str] | None = None


class Keeper:
    """Keeps recordings in the background."""

    def __init__(self) -> None:
        self._copying = Worker("otel-realtime-keeper", patience_s=COPY_PATIENCE_S, most=_MOST)
        self._calling = Worker("otel-realtime-callbacks", patience_s=CALL_PATIENCE_S, most=_MOST)
        self.failed = threading.Event()

    def start(self, settings: Settings) -> None:
        """Start the threads that a conversation with these settings needs; see ``Finisher.start``."""
        for worker, wanted in (
            (self._copying, settings.recordings_dir),
            (self._calling, settings.on_recording),
        ):
            if wanted:
                worker.resume()
                worker.start()

    def submit(self, job: Kept) -> None:
        """Enqueue a recording."""
        if job.settings.recordings_dir:
            self._copying.resume()
            self._copying.submit(
                _Copy(job, job.settings.recordings_dir, self._copied),
                on_fault=lambda _: self._ended(job, False, True),
            )
        else:
            self._copied(job, None)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything enqueued is kept and the app's function has been called.

        Args:
            timeout_s: longest wait in seconds.
        """
        deadline = time.monotonic() + timeout_s
        # In this order, because a copied recording is then passed to the app's function.
        done = self._copying.flush(timeout_s)
        return self._calling.flush(max(deadline - time.monotonic(), 0.0)) and done

    def stop(self, timeout_s: float) -> bool:
        """End the threads; arguments and result as for ``Finisher.stop``."""
        deadline = time.monotonic() + timeout_s
        done = self._copying.stop(timeout_s)
        return self._calling.stop(max(deadline - time.monotonic(), 0.0)) and done

    def _copied(self, job: Kept, target: str | None) -> None:
        """Continue with a recording whose copy was made, was not wanted, or failed for good."""
        kept = target is not None or not job.settings.recordings_dir
        if job.settings.recordings_dir:
            job.info["kept_as"] = target
        if job.settings.on_recording is None:
            self._ended(job, kept, True)
            return
        self._calling.resume()
        self._calling.submit(
            lambda: self._call(job, kept), on_fault=lambda _: self._ended(job, kept, False)
        )

    def _call(self, job: Kept, kept: bool) -> None:
        """Call the app's function."""
        accepted = True
        try:
            if job.settings.on_recording is not None:
                job.settings.on_recording(job.path, job.info)
        except BaseException:  # the hook runs on our thread: even SystemExit must not end it
            accepted = False
            logger.exception(
                "Settings.on_recording raised for conversation %s; the recording stays in %s",
                job.name,
                job.path.parent,
            )
        self._ended(job, kept, accepted)

    def _ended(self, job: Kept, kept: bool, accepted: bool) -> None:
        if not (kept and accepted):
            self.failed.set()
        job.ended(kept, accepted)


class _Copy:
    """The job that copies one recording, with further attempts if the target is remote."""

    def __init__(self, job: Kept, directory: str, done: Callable[[Kept, str | None], None]) -> None:
        self._job = job
        self._directory = directory
        self._done = done
        self._waits = iter(KEEP_WAITS_S if is_remote(directory) else ())

    def __call__(self) -> Again | None:
        path = self._job.path
        try:
            target: str | None = keep(path, self._directory, self._job.name)
        except RecordingError as error:
            wait_s = next(self._waits, None)
            if wait_s is not None:
                return Again(wait_s, floor_s=wait_s)
            target = None
            logger.error(
                "%s; it stays in %s, and the next start or `otel-realtime recover` tries again",
                error,
                path.parent,
            )
        else:
            self._describe()
        self._done(self._job, target)
        return None

    def _describe(self) -> None:
        """Write the call as a JSON object beside the copy; a failure affects nothing else."""
        describe = self._job.describe
        if describe is None:
            return
        try:
            keep_beside(describe(), self._directory, self._job.name)
        except BaseException as error:  # noqa: BLE001 - logged; the recording is kept
            let_through(error)
            logger.warning("recording %s is kept without its JSON: %s", self._job.name, error)
