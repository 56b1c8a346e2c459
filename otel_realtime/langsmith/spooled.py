"""The ``Backend`` of a process that leaves its deliveries to a worker: it only writes to disk.

Everything that a delivery needs is on disk anyway, so that a kill loses nothing: the root run's opening
and end are in the journal, its recording is beside it, and its spans are in the spool. This module writes
the spans. A file holds spans of one conversation only, and when the conversation has ended, all of it is
released (see ``state.release``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.encoding import Entry, encode
from otel_realtime.langsmith.native_runs import is_sent_natively
from otel_realtime.langsmith.span_queue import SpanQueue
from otel_realtime.state.release import release

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_realtime.delivery.model import Closing, OnDone, Opening, PostStatus, Render
    from otel_realtime.langsmith.stamping import Stamp
    from otel_realtime.state.spool import Spool
    from otel_realtime.tracing.members import Member, Membership

logger = logger_of(__name__)

_THREAD: Final = "otel-realtime-spool"
#: Maximum time between a span's end and its being on disk.
WITHIN_S: Final = 0.5
#: Delay of the job while nothing waits; enqueueing wakes it.
_IDLE_S: Final = 3600.0


class SpooledRoot:
    """The root run of a conversation that a worker delivers; implements ``delivery.model.Root``.

    Attributes:
        status: ``pending``, because it is accepted or refused only when the worker has sent it.
        url: unknown in this process.
    """

    status: PostStatus = "pending"
    url: str | None = None

    def finish(
        self,
        closing: Closing,
        recording: Render | None = None,
        *,
        on_done: OnDone | None = None,
        max_attachment_mb: float | None = None,
    ) -> None:
        """Leave the end to the worker, which makes it from the journal; it is never accepted here."""
        if on_done is not None:
            on_done(False, "none")


class Spooled:
    """Writes the data that a worker delivers to one LangSmith project; implements ``delivery.model.Backend``.

    Args:
        spool: writes batches of spans.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._worker = Worker(_THREAD)
        self._reset()

    def _reset(self) -> None:
        self._queue = SpanQueue()
        self._lock = threading.Lock()
        self._batches: dict[Membership, list[Path]] = {}
        self._store_below = 0  # spans with a lower number are written at once
        self._reported_lost = 0
        self._running = self._stopped = False

    def open(
        self,
        opening: Opening,
        *,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> SpooledRoot:
        """Return a root run that is not posted here: its opening is in the journal."""
        return SpooledRoot()

    def put(self, span: ReadableSpan, member: Member, /) -> bool:
        """Enqueue an ended span of leg ``direct``; return ``False`` if it is lost.

        Called on the app's task or thread. See ``langsmith.backend.LangSmith.put``.
        """
        if is_sent_natively(span):
            return True
        if self._stopped or not self._queue.put(span, cast("Stamp", member)):
            diagnostics.lose(diagnostics.SPAN)
            return False
        if not self._running:
            self._start()
        elif self._queue.needs_wakeup():
            self._worker.hurry()
        return True

    def store(self, timeout_s: float) -> bool:
        """Write all enqueued spans to disk; return ``False`` if that takes longer than this time."""
        with self._queue.lock:
            target = self._store_below = self._queue.enqueued_count()
        if self._queue.is_encoded(target):
            return True
        self._worker.hurry()
        return self._worker.wait_until(
            lambda: self._stopped or self._queue.is_encoded(target), timeout_s
        )

    def batches_of(self, membership: Membership) -> list[Path]:
        """Return the files of a forgotten conversation, once; later files are released at once."""
        with self._lock:
            return self._batches.pop(membership, [])

    def hurry(self) -> None:
        """Start writing everything that is enqueued now, without waiting for it."""
        with self._queue.lock:
            self._store_below = self._queue.enqueued_count()
        self._worker.hurry()

    def flush(self, timeout_s: float) -> bool:
        """Write everything that is enqueued now.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``True`` only if all of it is on disk, and since the previous call no span was lost.
        """
        stored = self.store(timeout_s)
        with self._queue.lock:
            lost, self._reported_lost = self._queue.lost - self._reported_lost, self._queue.lost
        return stored and lost == 0

    def stop(self, timeout_s: float) -> bool:
        """Write for a bounded time, then stop; arguments and result as for ``flush``."""
        deadline = time.monotonic() + timeout_s
        stored = self.flush(timeout_s)
        self._stopped = True
        self._worker.stop(max(deadline - time.monotonic(), 0.0))
        self._spool.close()
        return stored

    def reset_after_fork(self) -> None:
        """Drop everything in a forked child: the parent writes it."""
        self._worker.reset_after_fork()
        self._reset()

    # -- writing -----------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._queue.lock:  # the first spans may end on several threads
            first, self._running = not self._running, True
        if first:
            self._worker.submit(self._round, repeats=True)
        else:
            self._worker.hurry()

    def _round(self) -> Again:
        """Write a batch if it is due, and schedule the next round."""
        queue = self._queue
        age = queue.age_s()
        if age is None:
            return Again(_IDLE_S)
        if (
            age < WITHIN_S
            and not queue.is_full()
            and not queue.has_waiting_below(self._store_below)
        ):
            return Again(WITHIN_S - age)
        try:
            self._write()
        except BaseException as error:  # noqa: BLE001 - the job has to run again
            diagnostics.report("storing spans", error)
        return Again(0.0)

    def _write(self) -> None:
        entries, first, _ = self._queue.dequeue()
        lost = len(entries)  # unless they are written: the queue must be told, whatever is raised
        try:
            conversations: dict[Membership, list[Entry]] = {}
            for entry in entries:
                conversations.setdefault(entry[1].membership, []).append(entry)
            for membership, members in conversations.items():
                lost -= self._write_some(membership, members, first)
        finally:
            diagnostics.lose(diagnostics.SPAN, lost)
            self._queue.encoded([], lost)

    def _write_some(self, membership: Membership, entries: list[Entry], first: int) -> int:
        """Write spans of one conversation; return how many of them are on disk."""
        batches, lost = encode(entries, first)
        paths = [self._spool.write(batch.body, batch.spans, batch.size) for batch in batches]
        written = [path for path in paths if path is not None]
        note = membership.stored
        if len(written) == len(batches) and note is not None:
            note([span.context.span_id for span, _ in entries if span.context is not None])
        with self._lock:
            released = membership.forgotten
            if not released:
                self._batches.setdefault(membership, []).extend(written)
        if released and written:  # from a span of the app that outlived its conversation
            _release_spans(self._spool.state_dir, written)
        kept = sum(
            batch.spans for batch, path in zip(batches, paths, strict=True) if path is not None
        )
        return min(kept, len(entries) - lost)


def _release_spans(state_dir: Path, paths: list[Path]) -> None:
    try:
        release(state_dir, None, paths)
    except OSError as error:
        diagnostics.warn_once(
            ("release", str(state_dir)),
            "spans cannot be handed over to the worker before this process ends: %s",
            error,
            log=logger,
        )
