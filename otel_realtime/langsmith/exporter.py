"""Delivers the spans of leg ``direct`` to LangSmith and keeps them until they are accepted.

The stock OTLP exporter drops a batch after 10 s, does not retry 408 and 500, takes a redirect for
success, and its processor reports a failed flush as done. This one retries for as long as the
process lives, splits what is too large, and its ``flush`` tells the truth.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.encoding import Batch, encode, split
from otel_realtime.langsmith.http import Answer, Http
from otel_realtime.langsmith.span_queue import SpanQueue
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.langsmith.statuses import TOO_LARGE, Backoff, Verdict

logger = logging.getLogger(__name__)

_THREAD: Final = "otel-realtime-spans"
#: Spans are gathered this long before a request; the rate limit is per key, not per process.
LINGER_S: Final = 2.0


@dataclass(slots=True)
class _Pause:
    """No request is made before ``until``; ``firm`` when the server asked for it."""

    until: float = 0.0
    firm: bool = False
    failures: int = 0


class DirectExporter:
    """One background thread that sends the spans of conversations to LangSmith's OTLP endpoint.

    Args:
        config: where to and with which key.
        queue: what is not delivered yet.
        backoff: waits between tries.
        linger_s: how long spans are gathered before a request.
    """

    def __init__(
        self,
        config: LangSmithConfig,
        *,
        queue: SpanQueue | None = None,
        backoff: Backoff | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        self._url = config.otlp_traces_url
        self._headers = {
            **config.headers(),
            "Langsmith-Project": config.project,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }
        self._backoff = backoff or Backoff()
        self._linger_s = linger_s
        self._start(queue or SpanQueue())

    def _start(self, queue: SpanQueue) -> None:
        self._queue = queue
        self._http = Http()
        self._thread: threading.Thread | None = None
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
            return False
        if not self._queue.put(span, stamp):
            self._complain(
                "full", "spans are lost: LangSmith takes none and the %s is full", "queue"
            )
            return False
        if self._thread is None:
            self._start_thread()
        return True

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
                if left <= 0 or not self._has_thread():
                    return False
                queue.changed.wait(left)
            lost, self._reported_lost = queue.lost - self._reported_lost, queue.lost
            return lost == 0

    def shutdown(self, timeout_s: float) -> bool:
        """Flush for a bounded time and stop the thread; what is left is dropped."""
        accepted = self.flush(timeout_s)
        with self._queue.changed:
            self._stopped = True
            self._queue.changed.notify_all()
        return accepted

    def _has_thread(self) -> bool:
        return self._thread is not None and not self._stopped

    def _start_thread(self) -> None:
        with self._queue.changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            while self._wait():
                try:
                    self._step()
                except Exception:
                    self._complain("fault", "delivering spans failed; %s", "it goes on")
                    logger.debug("fault while delivering spans", exc_info=True)
                    self._fail(None)

    def _wait(self) -> bool:
        """Sleep until there is something to encode or to send; False when stopped."""
        queue = self._queue
        with queue.changed:
            while not self._stopped:
                wait_s = self._idle_s()
                if wait_s is not None and wait_s <= 0:
                    return True
                queue.changed.wait(wait_s)
            return False

    def _idle_s(self) -> float | None:
        """Return seconds until something is due, None for not before something happens."""
        queue, paused_s = self._queue, self._pause.until - time.monotonic()
        if self._must_encode():
            return 0.0
        if queue.batch() is not None:
            return paused_s
        age = queue.age_s()
        return None if age is None else max(self._linger_s - age, paused_s)

    def _must_encode(self) -> bool:
        queue, age = self._queue, self._queue.age_s()
        if age is None:
            return False
        # During a pause only whole batches are made, so an outage does not leave many small ones.
        lingered = age >= self._linger_s and self._pause.until <= time.monotonic()
        return lingered or queue.is_full() or queue.has_waiting_below(self._flush_below)

    def _step(self) -> None:
        """Encode the waiting spans, else send the next batch."""
        queue = self._queue
        if self._must_encode():
            entries, first = queue.take()
            batches: list[Batch] = []
            lost = len(entries)
            try:
                batches, lost = encode(entries, first)
            finally:
                queue.encoded(batches, lost)
            return
        batch = queue.batch()
        if batch is not None:
            # A file-like body is written in blocks, each with a timeout of its own.
            answer = self._http.post(self._url, self._headers, lambda: io.BytesIO(batch.body))
            self._settle(batch, answer)

    def _settle(self, batch: Batch, answer: Answer) -> None:
        verdict = answer.ruling.verdict
        if verdict is Verdict.DONE:
            self._pause = _Pause()
            self._complained.discard("retry")
            self._queue.settle(batch)
        elif verdict is Verdict.RETRY:
            self._complain("retry", "spans wait for LangSmith (%s), retrying", answer)
            self._queue.postpone(batch)
            self._fail(answer.retry_after_s)
        elif answer.status == TOO_LARGE and batch.spans > 1:
            self._queue.settle(batch, instead=split(batch))
        else:
            self._complain(answer.status, "LangSmith refused spans, they are lost: %s", answer)
            self._queue.settle(batch, lost=batch.spans)

    def _fail(self, retry_after_s: float | None) -> None:
        with self._queue.changed:
            failures = self._pause.failures + 1
            until = time.monotonic() + self._backoff.wait_s(failures, retry_after_s)
            self._pause = _Pause(until, retry_after_s is not None, failures)

    def _complain(self, kind: object, message: str, detail: object) -> None:
        if kind not in self._complained:
            self._complained.add(kind)
            logger.warning(message, detail)
