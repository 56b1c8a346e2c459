"""Delivers the spans of leg ``direct`` to LangSmith and keeps them until they are accepted.

The stock OTLP exporter drops a batch after 10 s, does not retry 408 and 500, takes a redirect for
success, and its processor reports a failed flush as done. This one retries for as long as the
process lives, splits what is too large, and its ``flush`` tells the truth. One thread encodes
spans and puts them on disk within a second, another one sends, so a slow LangSmith delays no
span's way to the disk.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import losses
from otel_realtime.langsmith import spool as spools
from otel_realtime.langsmith.config import LangSmithConfig, say_key_refused
from otel_realtime.langsmith.encoding import Batch, encode, join, split
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.span_queue import Request, SpanQueue, Stored
from otel_realtime.langsmith.spool import Spool
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.langsmith.statuses import KEY_REFUSED, MENDABLE, TOO_LARGE, Backoff, Verdict

logger = logging.getLogger(__name__)

_THREAD: Final = "otel-realtime-spans"
#: Spans are gathered this long before a request; the rate limit is per key, not per process.
LINGER_S: Final = 2.0
#: Spans are encoded, and on disk, at the latest about this long after the first of them ended.
ENCODE_S: Final = 0.5


@dataclass(slots=True)
class _Pause:
    """No request is made before ``until``; ``firm`` when the server asked for it."""

    until: float = 0.0
    firm: bool = False
    failures: int = 0


class DirectExporter:
    """Two background threads that bring the spans of conversations to LangSmith's OTLP endpoint.

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
        self._start(queue or SpanQueue())

    def _start(self, queue: SpanQueue) -> None:
        self._queue = queue
        self._http = Http()
        self._started = False
        self._pause = _Pause()
        self._flush_below = 0  # spans numbered below this do not linger
        self._stopped = False
        self._reported_lost = 0
        self._complained: set[object] = set()

    def reset_after_fork(self) -> None:
        """In a fork's child: drop what the parent process will send, without sending it."""
        self._start(SpanQueue())

    @property
    def lost(self) -> int:
        """Spans given up so far: refused, not encodable, or beyond the bound."""
        return self._queue.lost

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Queue an ended span; never blocks on the network and never raises for a full queue."""
        if self._stopped:
            losses.lose(losses.SPAN)
            return False
        if not self._queue.put(span, stamp):
            losses.lose(losses.SPAN)
            self._complain(
                "full", "spans are lost: LangSmith takes none and the %s is full", "queue"
            )
            return False
        if not self._started:
            self._start_threads()
        return True

    def adopt(self, batch: Batch, path: Path | None) -> None:
        """Queue a batch that another process left; its file goes when it is accepted."""
        self._queue.adopt(batch, path)
        if not self._started:
            self._start_threads()

    def flush(self, timeout_s: float) -> bool:
        """Send what is queued, now.

        Returns:
            True only if LangSmith accepted every span queued before the call, and none was lost
            since the last call.
        """
        deadline = time.monotonic() + timeout_s
        queue = self._queue
        with queue.changed:
            target = queue.put_so_far()
            self._flush_below = target
            if not self._pause.firm:
                self._pause.until = 0.0
            queue.changed.notify_all()
            while not queue.is_settled(target):
                left = deadline - time.monotonic()
                if left <= 0 or not self._started or self._stopped:
                    return False
                queue.changed.wait(left)
            lost, self._reported_lost = queue.lost - self._reported_lost, queue.lost
            return lost == 0

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time and stop; what is left stays on disk, if it is there."""
        accepted = self.flush(timeout_s)
        with self._queue.changed:
            self._stopped = True
            self._queue.changed.notify_all()
        if self._spool is not None:
            self._spool.close()
        return accepted

    # --- threads --------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        with self._queue.changed:
            if self._started:
                return
            self._started = True
            loops = {
                _THREAD: (self._encode_due_s, self._encode),
                f"{_THREAD}-send": (self._send_due_s, self._send),
            }
            for name, arguments in loops.items():
                threading.Thread(target=self._run, args=arguments, name=name, daemon=True).start()

    def _run(self, due_s: Callable[[], float | None], step: Callable[[], None]) -> None:
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            while self._wait(due_s):
                try:
                    step()
                except Exception:
                    self._complain("fault", "delivering spans failed; %s", "it goes on")
                    logger.debug("fault while delivering spans", exc_info=True)
                    self._fail(None)

    def _wait(self, due_s: Callable[[], float | None]) -> bool:
        """Sleep until something is due; False when stopped."""
        queue = self._queue
        with queue.changed:
            while not self._stopped:
                wait_s = due_s()
                if wait_s is not None and wait_s <= 0:
                    return True
                queue.changed.wait(wait_s)
            return False

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
            losses.lose(losses.SPAN, lost)
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
                self._complain("unreadable", "spans kept on disk are lost: %s", error)
        if len(readable) == len(request.parts):
            return join(bodies)
        rest = [Request(readable, tried=True)] if readable else []
        gone = request.spans - sum(part.spans for part in readable)
        losses.lose(losses.SPAN, gone)
        self._queue.settle(request, lost=gone, instead=rest)
        return None

    def _settle(self, request: Request, body: bytes, answer: Answer) -> None:
        verdict = answer.ruling.verdict
        if verdict is Verdict.DONE:
            self._pause = _Pause()
            self._complained.discard("retry")
            self._let_go(request)
        elif verdict is Verdict.RETRY:
            self._complain("retry", "spans wait for LangSmith (%s), retrying", answer)
            self._queue.postpone(request)
            self._fail(answer.retry_after_s)
        elif answer.status == TOO_LARGE and request.spans > 1:
            self._halve(request, body)
        elif answer.status in KEY_REFUSED and request.paths:
            say_key_refused(self._config, answer.status, answer)
            self._queue.settle(request, lost=request.spans)
        elif answer.status in MENDABLE and request.paths:
            self._complain(
                answer.status,
                "LangSmith refused spans, they stay on disk for `otel-realtime recover`: %s",
                answer,
            )
            self._queue.settle(request, lost=request.spans)
        else:
            self._complain(answer.status, "LangSmith refused spans, they are lost: %s", answer)
            losses.lose(losses.SPAN, request.spans)
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
        with self._queue.changed:
            failures = self._pause.failures + 1
            until = time.monotonic() + self._backoff.wait_s(failures, retry_after_s)
            self._pause = _Pause(until, retry_after_s is not None, failures)

    def _complain(self, kind: object, message: str, detail: object) -> None:
        if kind not in self._complained:
            self._complained.add(kind)
            logger.warning(message, detail)
