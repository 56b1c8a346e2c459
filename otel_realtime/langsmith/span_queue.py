"""The queue of spans and batches that LangSmith has not accepted yet.

Everything that the exporter must not lose passes through it::

    put -> waiting spans --dequeue, encoded--> batches (on disk, too) --request--> in flight
                                                                                      |
                    accepted, given up, or replaced by smaller requests <--settle-----+

Spans are numbered in the order of arrival, which lets ``flush`` wait for those that were enqueued
before it. Memory is bounded: beyond the bound, batches are kept on disk only, and spans that the disk
does not accept are lost and counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.langsmith.encoding import MAX_REQUEST_BYTES, Batch, Entry, estimated_bytes
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.state.spool import read

#: Bounds of the data held in memory.
MAX_BYTES: Final = 64_000_000
MAX_SPANS: Final = 200_000
#: Maximum number of spans per batch and per request, as in OpenTelemetry's own batch processor.
_BATCH_SPANS: Final = 512
#: Number of batches that another process encoded. It is below all others, so ``flush`` waits for them.
_ADOPTED: Final = -1


class Stored:
    """An encoded batch, in memory, on disk, or both.

    Attributes:
        body: gzipped protobuf; ``None`` if it is on disk only.
        path: its file; ``None`` if it is in memory only.
        spans: number of spans.
        first: number of its first span, counted in the order of arrival.
        size: bytes before compression.
        since: ``time.monotonic()`` at the arrival of its first span.
    """

    __slots__ = ("body", "first", "path", "since", "size", "spans")

    def __init__(self, batch: Batch, path: Path | None, since: float) -> None:
        self.body: bytes | None = batch.body
        self.path = path
        self.spans = batch.spans
        self.first = batch.first
        self.size = batch.size
        self.since = since

    def read(self) -> bytes:
        """Return the body, from disk if it is not in memory.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a valid batch.
        """
        if self.body is not None or self.path is None:
            return self.body or b""
        return read(self.path)[1]


class Request:
    """Batches that are sent in one request.

    Once it was tried, a request keeps its parts: a 409 ("already received") applies to all of them.

    Attributes:
        parts: the batches.
        tried: it was sent at least once, perhaps by another process.
    """

    __slots__ = ("parts", "tried")

    def __init__(self, parts: Sequence[Stored], *, tried: bool = False) -> None:
        self.parts = tuple(parts)
        self.tried = tried

    @property
    def spans(self) -> int:
        """Number of spans."""
        return sum(part.spans for part in self.parts)

    @property
    def first(self) -> int:
        """Number of its first span, counted in the order of arrival."""
        return min(part.first for part in self.parts)

    @property
    def paths(self) -> list[Path]:
        """Files of its batches."""
        return [part.path for part in self.parts if part.path is not None]


class SpanQueue:
    """A bounded, ordered queue; thread-safe.

    Args:
        max_bytes: maximum bytes held in memory, spans and bodies together.
        max_spans: maximum number of spans that wait to be encoded.

    Attributes:
        lock: held while the queue changes; re-entrant, so that a caller can combine operations.
        lost: number of spans lost or given up on so far.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_spans: int = MAX_SPANS) -> None:
        self._max_bytes = max_bytes
        self._max_spans = max_spans
        self.lock = threading.RLock()
        self._waiting: deque[tuple[ReadableSpan, Stamp, int]] = deque()
        self._waiting_bytes = 0
        self._oldest_at = 0.0
        self._requests: deque[Request] = deque()
        self._held_bytes = 0
        self._dequeued = 0  # number of spans that ever left ``_waiting``
        # Number of the first span that is being encoded; it is in neither of the two deques then.
        self._encoding_from: int | None = None
        self.lost = 0

    # -- spans -------------------------------------------------------------------------------------

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Enqueue a span, on the app's task; return ``False``, and count it, if the queue is full."""
        size = estimated_bytes(span)
        with self.lock:
            held = self._waiting_bytes + self._held_bytes
            if held + size > self._max_bytes or len(self._waiting) >= self._max_spans:
                self.lost += 1
                return False
            if not self._waiting:
                self._oldest_at = time.monotonic()
            self._waiting.append((span, stamp, size))
            self._waiting_bytes += size
            return True

    def needs_wakeup(self) -> bool:
        """Return whether the jobs have to be woken for the span that was enqueued last.

        That is the case for the first waiting span, from which the waiting time counts, and for the span
        that fills a batch. Waking the jobs for every span would slow down the app's task.
        """
        waiting = len(self._waiting)
        return waiting in (1, _BATCH_SPANS) or self._waiting_bytes >= MAX_REQUEST_BYTES

    def is_full(self) -> bool:
        """Return whether the waiting spans fill a batch."""
        return len(self._waiting) >= _BATCH_SPANS or self._waiting_bytes >= MAX_REQUEST_BYTES

    def age_s(self) -> float | None:
        """Return how long the oldest span has waited, in seconds; ``None`` if none waits."""
        return time.monotonic() - self._oldest_at if self._waiting else None

    def dequeue(self) -> tuple[list[Entry], int, float]:
        """Remove the spans of one batch, to be encoded.

        They count as enqueued until ``encoded`` is called.

        Returns:
            The spans, the number of the first one, and the time it arrived (``monotonic``).
        """
        # First: if an app's test broke the clock, nothing may be removed yet.
        now = time.monotonic()
        with self.lock:
            first, size, since = self._dequeued, 0, self._oldest_at
            entries: list[Entry] = []
            while self._waiting and len(entries) < _BATCH_SPANS and size < MAX_REQUEST_BYTES:
                span, stamp, span_size = self._waiting.popleft()
                entries.append((span, stamp))
                size += span_size
            self._waiting_bytes -= size
            self._dequeued += len(entries)
            # Approximate: the remaining spans, if any, start to wait again.
            self._oldest_at = now
            self._encoding_from = first if entries else None
            return entries, first, since

    # -- requests ----------------------------------------------------------------------------------

    def encoded(self, stored: Sequence[Stored], lost: int) -> None:
        """Enqueue the batches that encode the spans dequeued last.

        Args:
            stored: the batches.
            lost: number of spans that could not be encoded.
        """
        with self.lock:
            self._encoding_from = None
            self.lost += lost
            for batch in stored:
                self._retain_body(batch)
                self._requests.append(Request([batch]))

    def adopt(self, batch: Batch, path: Path | None) -> None:
        """Enqueue a batch that another process encoded.

        Args:
            batch: the batch.
            path: its file.
        """
        with self.lock:
            stored = Stored(batch, path, 0.0)
            stored.first = _ADOPTED
            self._retain_body(stored)
            # It counts as tried: the other process may have sent it in exactly this form.
            self._requests.append(Request([stored], tried=True))

    def _retain_body(self, stored: Stored) -> None:
        """Keep a body in memory if it fits into half of the bound; the other half is for spans.

        A body without a file is always kept: it exists nowhere else.
        """
        if stored.body is None:
            return
        if stored.path is not None and self._held_bytes + len(stored.body) > self._max_bytes // 2:
            stored.body = None
        else:
            self._held_bytes += len(stored.body)

    def due_s(self, linger_s: float, hurry_below: int) -> float | None:
        """Return the seconds until a request is due; ``None`` if there is none.

        Args:
            linger_s: how long spans are collected, from the arrival of the first one.
            hurry_below: spans with a lower number are due at once.
        """
        if not self._requests:
            return None
        head = self._requests[0]
        if head.tried or head.first < hurry_below or self._fills_request():
            return 0.0
        return head.parts[0].since + linger_s - time.monotonic()

    def _fills_request(self) -> bool:
        spans = size = 0
        for request in self._requests:
            spans += request.spans
            size += sum(part.size for part in request.parts)
            if spans >= _BATCH_SPANS or size >= MAX_REQUEST_BYTES:
                return True
        return False

    def request(self) -> Request | None:
        """Return the next request to send; ``None`` if there is none.

        Batches that were never tried are combined. The request stays enqueued until it is settled.
        """
        with self.lock:
            if not self._requests:
                return None
            if self._requests[0].tried:
                return self._requests[0]
            parts: list[Stored] = []
            spans = size = 0
            while self._requests and not self._requests[0].tried:
                (part,) = self._requests[0].parts
                spans, size = spans + part.spans, size + part.size
                if parts and (spans > _BATCH_SPANS or size > MAX_REQUEST_BYTES):
                    break
                parts.append(part)
                self._requests.popleft()
            request = Request(parts, tried=True)
            self._requests.appendleft(request)
            return request

    def settle(self, request: Request, *, lost: int = 0, instead: Sequence[Request] = ()) -> None:
        """Remove a request that was accepted, given up on, or replaced.

        Args:
            request: the request.
            lost: number of its spans that are lost.
            instead: requests that take its place.
        """
        with self.lock:
            self._requests.remove(request)
            self.lost += lost
            kept = {part for other in instead for part in other.parts}
            for part in set(request.parts) - kept:
                self._held_bytes -= len(part.body or b"")
            for part in kept - set(request.parts):
                self._retain_body(part)
            self._requests.extendleft(reversed(instead))

    def postpone(self, request: Request) -> None:
        """Move a request to the end, so that one that is never accepted does not block the others."""
        with self.lock:
            self._requests.remove(request)
            self._requests.append(request)

    # -- for flush ---------------------------------------------------------------------------------

    def has_waiting_below(self, number: int) -> bool:
        """Return whether a span with a lower number is still waiting to be encoded."""
        return bool(self._waiting) and self._dequeued < number

    def enqueued_count(self) -> int:
        """Return how many spans were ever enqueued: the number of the next one."""
        return self._dequeued + len(self._waiting)

    def is_encoded(self, number: int) -> bool:
        """Return whether all spans with a lower number were encoded, and so are on disk."""
        with self.lock:
            first = self._encoding_from
            return not self.has_waiting_below(number) and (first is None or first >= number)

    def is_settled(self, number: int) -> bool:
        """Return whether all spans with a lower number were accepted or given up on."""
        with self.lock:
            return self._oldest(request.first for request in self._requests) >= number

    def _oldest(self, in_requests: Iterable[int]) -> int:
        """Return the lowest number of a span that is not settled."""
        numbers = list(in_requests)
        if self._encoding_from is not None:
            numbers.append(self._encoding_from)
        if self._waiting:
            numbers.append(self._dequeued)
        return min(numbers, default=self.enqueued_count())
