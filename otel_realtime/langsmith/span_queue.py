"""The spans and batches that LangSmith has not accepted yet, and nothing else.

Everything the exporter must not lose passes through this one object: spans come in at the app's
pace, leave as encoded batches, and are gone only when a batch is settled. It holds them in memory,
bounded by bytes; what must survive the process belongs behind the same few methods.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.langsmith.encoding import Batch, Entry, estimated_bytes
from otel_realtime.langsmith.stamping import Stamp

MAX_BYTES: Final = 64_000_000
MAX_SPANS: Final = 200_000
_BATCH_SPANS: Final = 512
_BATCH_BYTES: Final = 4_000_000


class SpanQueue:
    """Bounded, ordered, safe from any thread; ``changed`` is notified whenever it changes."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_spans: int = MAX_SPANS) -> None:
        self._max_bytes = max_bytes
        self._max_spans = max_spans
        self.changed = threading.Condition()
        self._waiting: deque[tuple[ReadableSpan, Stamp, int]] = deque()
        self._waiting_bytes = 0
        self._oldest_at = 0.0
        self._batches: deque[Batch] = deque()
        self._batch_bytes = 0
        self._taken = 0  # spans ever taken out of _waiting
        self._encoding_from: int | None = None
        self.lost = 0

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Queue a span; False (and counted) when the bound is reached."""
        size = estimated_bytes(span)
        with self.changed:
            held = self._waiting_bytes + self._batch_bytes
            if held + size > self._max_bytes or len(self._waiting) >= self._max_spans:
                self.lost += 1
                return False
            if not self._waiting:
                self._oldest_at = time.monotonic()
            self._waiting.append((span, stamp, size))
            self._waiting_bytes += size
            if len(self._waiting) == 1 or self.is_full():
                self.changed.notify_all()
            return True

    def is_full(self) -> bool:
        """Tell whether the waiting spans make a whole batch."""
        return len(self._waiting) >= _BATCH_SPANS or self._waiting_bytes >= _BATCH_BYTES

    def age_s(self) -> float | None:
        """Return how long the oldest span has waited, None when none waits."""
        return time.monotonic() - self._oldest_at if self._waiting else None

    def take(self) -> tuple[list[Entry], int]:
        """Take out what makes one batch, with the number of its first span.

        The spans count as queued until ``encoded`` is called.
        """
        with self.changed:
            first, size = self._taken, 0
            entries: list[Entry] = []
            while self._waiting and len(entries) < _BATCH_SPANS and size < _BATCH_BYTES:
                span, stamp, span_size = self._waiting.popleft()
                entries.append((span, stamp))
                size += span_size
            self._waiting_bytes -= size
            self._taken += len(entries)
            self._oldest_at = time.monotonic()
            self._encoding_from = first if entries else None
            return entries, first

    def encoded(self, batches: list[Batch], lost: int) -> None:
        """Queue the batches that came of the spans taken out last."""
        with self.changed:
            self._encoding_from = None
            self.lost += lost
            for batch in batches:
                self._batches.append(batch)
                self._batch_bytes += len(batch.body)
            self.changed.notify_all()

    def batch(self) -> Batch | None:
        """Return the batch to send next; it stays queued until it is settled."""
        return self._batches[0] if self._batches else None

    def settle(self, batch: Batch, *, lost: int = 0, instead: list[Batch] | None = None) -> None:
        """Let go of a batch that was accepted, given up, or is replaced by its halves."""
        with self.changed:
            self._batches.remove(batch)
            self._batch_bytes -= len(batch.body)
            self.lost += lost
            for other in reversed(instead or []):
                self._batches.appendleft(other)
                self._batch_bytes += len(other.body)
            self.changed.notify_all()

    def postpone(self, batch: Batch) -> None:
        """Move a batch behind the others, so that one that is never accepted blocks none."""
        with self.changed:
            self._batches.remove(batch)
            self._batches.append(batch)

    def has_waiting_below(self, number: int) -> bool:
        """Tell whether a span with a lower number still waits to be encoded."""
        return bool(self._waiting) and self._taken < number

    def put_so_far(self) -> int:
        """Return how many spans were ever queued."""
        return self._taken + len(self._waiting)

    def is_settled(self, number: int) -> bool:
        """Tell whether all spans before this number were accepted or given up."""
        held = [batch.first for batch in self._batches]
        if self._encoding_from is not None:
            held.append(self._encoding_from)
        if self._waiting:
            held.append(self._taken)
        return min(held, default=number) >= number
