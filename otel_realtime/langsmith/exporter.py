"""Exports the spans of leg ``direct`` to LangSmith, and keeps them until they are accepted.

OpenTelemetry's own exporter gives up on a batch after 10 s, does not retry 408 and 500, and treats a
redirect as a success; its processor reports a failed flush as a success. This one retries as long as
the process lives, splits requests that are too large, and its ``flush`` returns the actual outcome.

Two jobs run on threads of their own, so that a slow LangSmith does not keep spans from the disk::

    put (app's thread) -> queue -> encode job: batches, on disk within 0.5 s -> queue
                                   send job: one request at a time, retried ---^
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.diagnostics import logger_of, warn_again, warn_once
from otel_realtime.langsmith.budget import budget_for
from otel_realtime.langsmith.config import LangSmithConfig, warn_key_refused
from otel_realtime.langsmith.encoding import Batch, Entry, encode, join, split
from otel_realtime.langsmith.http import Answer, Body, Http
from otel_realtime.langsmith.span_queue import Request, SpanQueue, Stored
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.langsmith.statuses import CORRECTABLE, KEY_REFUSED, TOO_LARGE, Backoff, Verdict
from otel_realtime.state import spool as spools
from otel_realtime.state.spool import Spool
from otel_realtime.tracing.members import Membership

logger = logger_of(__name__)

_THREAD: Final = "otel-realtime-spans"
#: How long spans are collected before a request: LangSmith limits the requests per key, and many
#: processes may share a key. https://docs.langchain.com/langsmith/cloud-rate-limits
LINGER_S: Final = 2.0
#: Delay of a job that has nothing to do; enqueueing wakes it earlier.
_IDLE_S: Final = 3600.0
#: Maximum time between a span's end and its being encoded and on disk.
ENCODE_S: Final = 0.5


@dataclass(slots=True)
class _Pause:
    """A pause after failed requests.

    Attributes:
        until: no request is sent before this time (``monotonic``).
        earliest: nor before this one, even if ``flush`` requests it (``monotonic``).
        failures: number of failures in a row.
    """

    until: float = 0.0
    earliest: float = 0.0
    failures: int = 0


class DirectExporter:
    """Sends the spans of conversations to LangSmith's OTLP endpoint in the background.

    Args:
        config: address and credentials.
        queue: holds the spans that are not delivered yet.
        spool: keeps them on disk as well; ``None``: only in memory.
        backoff: delays between attempts.
        linger_s: how long spans are collected before a request, in seconds.
    """

    def __init__(
        self,
        config: LangSmithConfig,
        *,
        queue: SpanQueue | None = None,
        spool: Spool | None = None,
        backoff: Backoff | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        self._config = config
        self._url = config.otlp_traces_url
        self._headers = {
            **config.headers(),
            **config.otlp_destination(),
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._backoff = backoff or Backoff()
        self._linger_s = linger_s
        self._spool = spool
        self._worker = Worker(_THREAD, 2)  # a thread for each of the two jobs
        self._start(queue or SpanQueue())

    def _start(self, queue: SpanQueue) -> None:
        self._queue = queue
        self._http = Http()
        self._budget = budget_for(self._config.account)
        self._pause = _Pause()
        self._flush_below = 0  # spans with a lower number are encoded and sent at once
        self._store_below = 0  # spans with a lower number are encoded at once
        self._stopped = False
        self._reported_lost = 0  # losses that an earlier ``flush`` reported
        self._refused = 0
        self._running = False

    def reset_after_fork(self) -> None:
        """Drop everything in a forked child without sending it: the parent sends it."""
        self._worker.reset_after_fork()
        self._start(SpanQueue())

    @property
    def lost(self) -> int:
        """Number of spans given up on so far: refused, not encodable, or beyond the bound."""
        return self._queue.lost

    @property
    def refused(self) -> int:
        """Number of spans that LangSmith refused for good so far; they are not kept anywhere."""
        return self._refused

    @property
    def is_settled(self) -> bool:
        """Whether everything enqueued was accepted or given up on."""
        return self._queue.is_settled(self._queue.enqueued_count())

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Enqueue an ended span, on the app's task or thread, without blocking.

        Returns:
            ``False`` if the span is lost: the queue is full, or the exporter was shut down.
        """
        if self._stopped:
            diagnostics.lose(diagnostics.SPAN)
            return False
        if not self._queue.put(span, stamp):
            diagnostics.lose(diagnostics.SPAN)
            self._warn(
                "full",
                "dropping spans: the queue is full because LangSmith is not accepting them; check "
                "its status and the network, and that the state directory is writable",
            )
            return False
        if not self._running:
            self._start_jobs()
        elif self._queue.needs_wakeup():
            self._worker.hurry()
        return True

    def adopt(self, batch: Batch, path: Path | None) -> None:
        """Enqueue a batch that another process left.

        Args:
            batch: the batch.
            path: its file, which is deleted when it is accepted.
        """
        self._queue.adopt(batch, path)
        self._start_jobs()

    def hurry(self) -> int:
        """Start sending everything that is enqueued now, without waiting for it.

        Returns:
            Number of the next span.
        """
        with self._queue.lock:
            self._flush_below = target = self._queue.enqueued_count()
            self._pause.until = min(self._pause.until, self._pause.earliest)
        self._worker.hurry()
        return target

    def flush(self, timeout_s: float) -> bool:
        """Send everything that is enqueued now.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``True`` only if LangSmith accepted every span enqueued before the call, and none was
            lost since the previous call.
        """
        queue, target = self._queue, self.hurry()
        settled = self._worker.wait_until(
            lambda: self._stopped or queue.is_settled(target), timeout_s
        )
        with queue.lock:
            lost, self._reported_lost = queue.lost - self._reported_lost, queue.lost
            return settled and queue.is_settled(target) and lost == 0

    def store(self, timeout_s: float) -> bool:
        """Encode everything that is enqueued now, and write it to disk if there is a spool.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``False`` on timeout.
        """
        queue = self._queue
        with queue.lock:
            target = self._store_below = queue.enqueued_count()
        if queue.is_encoded(target):
            return True
        self._worker.hurry()
        return self._worker.wait_until(lambda: self._stopped or queue.is_encoded(target), timeout_s)

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time, then stop; arguments and result as for ``flush``.

        Unsent spans stay on disk, if there is a spool.
        """
        deadline = time.monotonic() + timeout_s
        accepted = self.flush(timeout_s)
        self._stopped = True
        self._worker.stop(max(deadline - time.monotonic(), 0.0))
        if self._spool is not None:
            self._spool.close()
        return accepted

    # -- jobs --------------------------------------------------------------------------------------

    def _start_jobs(self) -> None:
        """Start both jobs with the first span; wake them afterwards."""
        with self._queue.lock:  # the first spans may end on several threads
            first, self._running = not self._running, True
        if not first:
            self._worker.hurry()
            return
        for due_s, step in (
            (self._encode_due_s, self._encode),
            (self._send_due_s, self._send),
        ):
            self._worker.submit(partial(self._repeat, due_s, step), repeats=True)

    def _repeat(self, due_s: Callable[[], float | None], step: Callable[[], None]) -> Again:
        """Run a step if it is due, and schedule the next one.

        Args:
            due_s: returns the seconds until the step is due; ``None``: nothing to do.
            step: the step.
        """
        wait_s = due_s()
        if wait_s is not None and wait_s <= 0:
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - the job has to run again
                diagnostics.report("delivering spans", error)
                self._back_off(None)
            if step == self._encode:
                self._worker.hurry()  # the send job may be idle
            return Again(0.0)
        return Again(_IDLE_S if wait_s is None else wait_s)

    # -- encoding ----------------------------------------------------------------------------------

    def _encode_due_s(self) -> float | None:
        queue, age = self._queue, self._queue.age_s()
        if age is None:
            return None
        at_once = max(self._flush_below, self._store_below)
        if queue.is_full() or queue.has_waiting_below(at_once):
            return 0.0
        return min(self._linger_s, ENCODE_S) - age

    def _encode(self) -> None:
        """Encode one batch of waiting spans, and write it to disk."""
        entries, first, since = self._queue.dequeue()
        stored: list[Stored] = []
        lost = len(entries)  # unless encoding succeeds: the queue must be told, whatever it raises
        try:
            batches, lost = encode(entries, first)
            stored = [self._store(batch, since) for batch in batches]
            _note_stored(entries, stored)
        finally:
            diagnostics.lose(diagnostics.SPAN, lost)
            self._queue.encoded(stored, lost)

    def _store(self, batch: Batch, since: float) -> Stored:
        path = None
        if self._spool is not None:
            path = self._spool.write(batch.body, batch.spans, batch.size)
        return Stored(batch, path, since)

    # -- sending -----------------------------------------------------------------------------------

    def _send_due_s(self) -> float | None:
        due_s = self._queue.due_s(self._linger_s, self._flush_below)
        return None if due_s is None else max(due_s, self._pause.until - time.monotonic())

    def _send(self) -> None:
        """Send the next request."""
        request = self._queue.request()
        if request is None:
            return
        body = self._body(request)
        if body is None:
            return
        again = self._pause.failures > 0
        wait_s = self._budget.take() if again else 0.0
        if wait_s:
            self._pause.until = self._pause.earliest = time.monotonic() + wait_s
            return
        answer = self._http.post(self._url, self._headers, lambda: Body(body))
        failed = answer.ruling.verdict is Verdict.RETRY
        if again:
            self._budget.repeated(answered=not failed)
        elif failed:
            self._budget.failed()
        self._settle(request, body, answer)

    def _body(self, request: Request) -> bytes | None:
        """Return a request's body; ``None`` if a file is unreadable: the rest is then enqueued again."""
        bodies, readable = [], []
        for part in request.parts:
            try:
                bodies.append(part.read())
                readable.append(part)
            except (OSError, ValueError) as error:
                self._warn(
                    "unreadable",
                    "spans are lost: their file in the state directory cannot be read: %s",
                    error,
                )
        if len(readable) == len(request.parts):
            return join(bodies)
        rest = [Request(readable, tried=True)] if readable else []
        gone = request.spans - sum(part.spans for part in readable)
        diagnostics.lose(diagnostics.SPAN, gone)
        self._queue.settle(request, lost=gone, instead=rest)
        return None

    def _settle(self, request: Request, body: bytes, answer: Answer) -> None:
        """Act on the answer to a request; ``statuses`` defines the meaning of each status."""
        verdict = answer.ruling.verdict
        if verdict is Verdict.DONE:
            self._pause = _Pause()
            warn_again(("spans", self._config, "retry"))
            self._remove(request)
        elif verdict is Verdict.RETRY:
            self._warn(
                "retry",
                "LangSmith is not accepting spans (%s); they are kept and sent again until it does",
                answer,
            )
            self._queue.postpone(request)
            self._back_off(answer.retry_after_s)
        elif answer.status == TOO_LARGE and request.spans > 1:
            self._split(request, body)
        elif answer.status in KEY_REFUSED and request.paths:
            warn_key_refused(self._config, answer.status, answer)
            self._queue.settle(request, lost=request.spans)  # the files stay, for a recovery
        elif answer.status in CORRECTABLE and request.paths:
            self._warn(
                answer.status,
                "LangSmith refused spans (%s); they stay on disk, and `otel-realtime recover` "
                "delivers them once that is corrected",
                answer,
            )
            self._queue.settle(request, lost=request.spans)
        else:
            self._warn(answer.status, "LangSmith refused spans, which are lost (%s)", answer)
            diagnostics.lose(diagnostics.SPAN, request.spans)
            self._refused += request.spans
            self._remove(request, lost=request.spans)

    def _remove(self, request: Request, lost: int = 0) -> None:
        """Remove a request from the queue and from disk."""
        for path in request.paths:
            spools.remove(path)
        self._queue.settle(request, lost=lost)

    def _split(self, request: Request, body: bytes) -> None:
        """Replace a request by two smaller ones."""
        parts = request.parts
        if len(parts) == 1:
            since = parts[0].since
            parts = tuple(
                self._store(half, since) for half in split(body, request.spans, request.first)
            )
        middle = len(parts) // 2
        halves = [Request(half, tried=True) for half in (parts[:middle], parts[middle:])]
        self._queue.settle(request, instead=halves)
        if len(request.parts) == 1:  # its file is removed only now that the halves have theirs
            for path in request.paths:
                spools.remove(path)

    def _back_off(self, retry_after_s: float | None) -> None:
        """Pause sending after a failure.

        Args:
            retry_after_s: delay that the server asked for, in seconds.
        """
        with self._queue.lock:
            failures = self._pause.failures + 1
            now, backoff = time.monotonic(), self._backoff
            until = now + backoff.wait_s(failures, retry_after_s)
            self._pause = _Pause(until, now + backoff.floor_s(retry_after_s), failures)

    def _warn(self, kind: object, message: str, *details: object) -> None:
        warn_once(("spans", self._config, kind), message, *details, log=logger)


def _note_stored(entries: Sequence[Entry], batches: Sequence[Stored]) -> None:
    """Tell each conversation which of its spans are on disk, from where a recovery sends them."""
    if not batches or any(batch.path is None for batch in batches):
        return  # only in memory
    conversations: dict[Membership, list[int]] = {}
    for span, stamp in entries:
        if span.context is not None:
            conversations.setdefault(stamp.membership, []).append(span.context.span_id)
    for membership, span_ids in conversations.items():
        note = membership.stored
        if note is not None:
            note(span_ids)
