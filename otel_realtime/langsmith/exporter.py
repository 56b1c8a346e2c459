"""Delivers the spans of leg ``direct`` to LangSmith and keeps them until they are accepted.

The stock OTLP exporter drops a batch after 10 s, does not retry 408 and 500, takes a redirect for
success, and its processor reports a failed flush as done. This one retries for as long as the
process lives, splits what is too large, and its ``flush`` tells the truth. One job encodes
spans and puts them on disk within a second, another one sends, so a slow LangSmith delays no
span's way to the disk.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.diagnostics import warn_again, warn_once
from otel_realtime.langsmith.config import LangSmithConfig, warn_key_refused
from otel_realtime.langsmith.encoding import Batch, encode, join, split
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.span_queue import Request, SpanQueue, Stored
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.langsmith.statuses import KEY_REFUSED, MENDABLE, TOO_LARGE, Backoff, Verdict
from otel_realtime.state import spool as spools
from otel_realtime.state.spool import Spool

logger = logging.getLogger(__name__)

_THREAD: Final = "otel-realtime-spans"
#: Spans are gathered this long before a request; the rate limit is per key, not per process.
LINGER_S: Final = 2.0
#: Longest sleep of a job that has nothing to do; whoever brings something wakes it.
_IDLE_S: Final = 3600.0
#: Spans are encoded, and on disk, at the latest about this long after the first of them ended.
ENCODE_S: Final = 0.5


@dataclass(slots=True)
class _Pause:
    """No request is made before ``until``; ``firm`` when the server asked for it."""

    until: float = 0.0
    firm: bool = False
    failures: int = 0


class DirectExporter:
    """Brings the spans of conversations to LangSmith's OTLP endpoint, in the background.

    Args:
        config: where to and with which key.
        queue: what is not delivered yet.
        spool: keeps it on disk as well; None: in memory only.
        backoff: waits between tries.
        linger_s: how long spans are gathered before a request.
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
            "Langsmith-Project": config.project,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._backoff = backoff or Backoff()
        self._linger_s = linger_s
        self._spool = spool
        # Two threads: a slow LangSmith must not keep spans from the disk.
        self._worker = Worker(_THREAD, 2)
        self._start(queue or SpanQueue())

    def _start(self, queue: SpanQueue) -> None:
        self._queue = queue
        self._http = Http()
        self._pause = _Pause()
        self._flush_below = 0  # spans numbered below this do not linger
        self._stopped = False
        self._reported_lost = 0
        self._running = False

    def reset_after_fork(self) -> None:
        """In a fork's child: drop what the parent process will send, without sending it."""
        self._worker.reset_after_fork()
        self._start(SpanQueue())

    @property
    def lost(self) -> int:
        """Spans given up so far: refused, not encodable, or beyond the bound."""
        return self._queue.lost

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Queue an ended span; never blocks on the network and never raises for a full queue."""
        if self._stopped:
            diagnostics.lose(diagnostics.SPAN)
            return False
        if not self._queue.put(span, stamp):
            diagnostics.lose(diagnostics.SPAN)
            self._warn(
                "full", "dropping spans: the queue is full because LangSmith is not accepting them"
            )
            return False
        if not self._running:
            self._run()
        elif self._queue.wants_attention():
            self._worker.hurry()
        return True

    def adopt(self, batch: Batch, path: Path | None) -> None:
        """Queue a batch that another process left; its file goes when it is accepted."""
        self._queue.adopt(batch, path)
        self._run()

    def flush(self, timeout_s: float) -> bool:
        """Send what is queued, now.

        Returns:
            True only if LangSmith accepted every span queued before the call, and none was lost
            since the last call.
        """
        queue = self._queue
        with queue.lock:
            target = queue.put_so_far()
            self._flush_below = target
            if not self._pause.firm:
                self._pause.until = 0.0
        self._worker.hurry()
        settled = self._worker.wait_until(
            lambda: self._stopped or queue.is_settled(target), timeout_s
        )
        with queue.lock:
            lost, self._reported_lost = queue.lost - self._reported_lost, queue.lost
            return settled and queue.is_settled(target) and lost == 0

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time and stop; what is left stays on disk, if it is there."""
        deadline = time.monotonic() + timeout_s
        accepted = self.flush(timeout_s)
        self._stopped = True
        self._worker.stop(max(deadline - time.monotonic(), 0.0))
        if self._spool is not None:
            self._spool.close()
        return accepted

    # --- jobs -----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Have both jobs run from now on; the first span asks for it."""
        with self._queue.lock:
            first, self._running = not self._running, True
        if not first:
            self._worker.hurry()
            return
        for due_s, step in (
            (self._encode_due_s, self._encode),
            (self._send_due_s, self._send),
        ):
            self._worker.submit(partial(self._repeat, due_s, step))

    def _repeat(self, due_s: Callable[[], float | None], step: Callable[[], None]) -> Again:
        """Take a step if it is due; the job comes back when the next one is."""
        wait_s = due_s()
        if wait_s is not None and wait_s <= 0:
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - the job must come back
                diagnostics.report("delivering spans", error)
                self._fail(None)
            if step == self._encode:
                self._worker.hurry()  # there may be something to send
            return Again(0.0)
        return Again(_IDLE_S if wait_s is None else wait_s)

    # --- encoding -------------------------------------------------------------------------------

    def _encode_due_s(self) -> float | None:
        queue, age = self._queue, self._queue.age_s()
        if age is None:
            return None
        if queue.is_full() or queue.has_waiting_below(self._flush_below):
            return 0.0
        return min(self._linger_s, ENCODE_S) - age

    def _encode(self) -> None:
        """Encode the spans that wait, and put them on disk."""
        entries, first, since = self._queue.take()
        stored: list[Stored] = []
        lost = len(entries)
        try:
            batches, lost = encode(entries, first)
            stored = [self._store(batch, since) for batch in batches]
        finally:
            diagnostics.lose(diagnostics.SPAN, lost)
            self._queue.encoded(stored, lost)

    def _store(self, batch: Batch, since: float) -> Stored:
        path = None
        if self._spool is not None:
            path = self._spool.write(batch.body, batch.spans, batch.size)
        return Stored(batch, path, since)

    # --- sending --------------------------------------------------------------------------------

    def _send_due_s(self) -> float | None:
        due_s = self._queue.due_s(self._linger_s, self._flush_below)
        return None if due_s is None else max(due_s, self._pause.until - time.monotonic())

    def _send(self) -> None:
        """Make the next request."""
        request = self._queue.request()
        if request is None:
            return
        body = self._body(request)
        if body is not None:
            # A file-like body is written in blocks, each with a timeout of its own.
            answer = self._http.post(self._url, self._headers, lambda: io.BytesIO(body))
            self._settle(request, body, answer)

    def _body(self, request: Request) -> bytes | None:
        """Read a request's body; None if part of it is gone and the rest is queued anew."""
        bodies, readable = [], []
        for part in request.parts:
            try:
                bodies.append(part.read())
                readable.append(part)
            except (OSError, ValueError) as error:
                self._warn("unreadable", "spans kept on disk are lost: %s", error)
        if len(readable) == len(request.parts):
            return join(bodies)
        rest = [Request(readable, tried=True)] if readable else []
        gone = request.spans - sum(part.spans for part in readable)
        diagnostics.lose(diagnostics.SPAN, gone)
        self._queue.settle(request, lost=gone, instead=rest)
        return None

    def _settle(self, request: Request, body: bytes, answer: Answer) -> None:
        verdict = answer.ruling.verdict
        if verdict is Verdict.DONE:
            self._pause = _Pause()
            warn_again(("spans", self._config, "retry"))
            self._let_go(request)
        elif verdict is Verdict.RETRY:
            self._warn("retry", "LangSmith is not accepting spans (%s); retrying", answer)
            self._queue.postpone(request)
            self._fail(answer.retry_after_s)
        elif answer.status == TOO_LARGE and request.spans > 1:
            self._halve(request, body)
        elif answer.status in KEY_REFUSED and request.paths:
            warn_key_refused(self._config, answer.status, answer)
            self._queue.settle(request, lost=request.spans)
        elif answer.status in MENDABLE and request.paths:
            self._warn(
                answer.status,
                "LangSmith refused spans; they stay on disk for `otel-realtime recover`: %s",
                answer,
            )
            self._queue.settle(request, lost=request.spans)
        else:
            self._warn(answer.status, "LangSmith refused spans; they are lost: %s", answer)
            diagnostics.lose(diagnostics.SPAN, request.spans)
            self._let_go(request, lost=request.spans)

    def _let_go(self, request: Request, lost: int = 0) -> None:
        for path in request.paths:
            spools.remove(path)
        self._queue.settle(request, lost=lost)

    def _halve(self, request: Request, body: bytes) -> None:
        """Queue a request as two smaller ones."""
        parts = request.parts
        if len(parts) == 1:
            since = parts[0].since
            parts = tuple(
                self._store(half, since) for half in split(body, request.spans, request.first)
            )
        middle = len(parts) // 2
        halves = [Request(some, tried=True) for some in (parts[:middle], parts[middle:])]
        self._queue.settle(request, instead=halves)
        if len(request.parts) == 1:
            for path in request.paths:
                spools.remove(path)

    def _fail(self, retry_after_s: float | None) -> None:
        with self._queue.lock:
            failures = self._pause.failures + 1
            until = time.monotonic() + self._backoff.wait_s(failures, retry_after_s)
            self._pause = _Pause(until, retry_after_s is not None, failures)

    def _warn(self, kind: object, message: str, *details: object) -> None:
        warn_once(("spans", self._config, kind), message, *details, log=logger)
