"""The spans and batches that LangSmith has not accepted yet, and nothing else.

Everything the exporter must not lose passes through this one object: spans come in at the app's
pace, are encoded into batches (which also stand on disk, see ``spool``), leave as requests, and
are gone only when a request is settled. Memory is bounded: batches beyond the bound are kept on
disk only, and what the disk does not take is counted as lost.
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

MAX_BYTES: Final = 64_000_000
MAX_SPANS: Final = 200_000
_BATCH_SPANS: Final = 512
#: Number of what another process encoded: before all others, so whoever waits, waits for it too.
_ADOPTED: Final = -1


class Stored:
    """One encoded batch: in memory, on disk, or both.

    Attributes:
        body: gzipped protobuf; None when it is on disk only.
        path: its file; None when it is in memory only.
        spans: how many spans are in it.
        first: number of its first span in the order of arrival.
        size: bytes before compression.
        since: ``time.monotonic()`` of when its first span was queued.
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
        """Return the body, from disk if need be.

        Raises:
            OSError: its file cannot be read.
            ValueError: its file is none of ours.
        """
        if self.body is not None or self.path is None:
            return self.body or b""
        return read(self.path)[1]


class Request:
    """What is sent at once. Once it was tried it stays as it is: a 409 speaks of all of it."""

    __slots__ = ("parts", "tried")

    def __init__(self, parts: Sequence[Stored], *, tried: bool = False) -> None:
        self.parts = tuple(parts)
        self.tried = tried

    @property
    def spans(self) -> int:
        """How many spans are in it."""
        return sum(part.spans for part in self.parts)

    @property
    def first(self) -> int:
        """Number of its first span in the order of arrival."""
        return min(part.first for part in self.parts)

    @property
    def paths(self) -> list[Path]:
        """The files it stands in."""
        return [part.path for part in self.parts if part.path is not None]


class SpanQueue:
    """Bounded, ordered, thread-safe."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_spans: int = MAX_SPANS) -> None:
        self._max_bytes = max_bytes
        self._max_spans = max_spans
        self.lock = threading.RLock()
        self._waiting: deque[tuple[ReadableSpan, Stamp, int]] = deque()
        self._waiting_bytes = 0
        self._oldest_at = 0.0
        self._requests: deque[Request] = deque()
        self._held_bytes = 0
        self._taken = 0  # spans ever taken out of _waiting
        self._encoding_from: int | None = None
        self.lost = 0

    # --- spans ----------------------------------------------------------------------------------

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool:
        """Queue a span; False (and counted) when the bound is reached."""
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

    def wants_attention(self) -> bool:
        """Tell whether the last span is the first one that waits, or fills a request."""
        waiting = len(self._waiting)
        return waiting in (1, _BATCH_SPANS) or self._waiting_bytes >= MAX_REQUEST_BYTES

    def is_full(self) -> bool:
        """Tell whether the waiting spans make a whole request."""
        return len(self._waiting) >= _BATCH_SPANS or self._waiting_bytes >= MAX_REQUEST_BYTES

    def age_s(self) -> float | None:
        """Return how long the oldest span has waited, None when none waits."""
        return time.monotonic() - self._oldest_at if self._waiting else None

    def take(self) -> tuple[list[Entry], int, float]:
        """Take out what makes one batch, with the number and the time of its first span.

        The spans count as queued until ``encoded`` is called.
        """
        with self.lock:
            first, size, since = self._taken, 0, self._oldest_at
            entries: list[Entry] = []
            while self._waiting and len(entries) < _BATCH_SPANS and size < MAX_REQUEST_BYTES:
                span, stamp, span_size = self._waiting.popleft()
                entries.append((span, stamp))
                size += span_size
            self._waiting_bytes -= size
            self._taken += len(entries)
            self._oldest_at = time.monotonic()
            self._encoding_from = first if entries else None
            return entries, first, since

    # --- requests -------------------------------------------------------------------------------

    def encoded(self, stored: Sequence[Stored], lost: int) -> None:
        """Queue the batches that came of the spans taken out last."""
        with self.lock:
            self._encoding_from = None
            self.lost += lost
            for one in stored:
                self._hold(one)
                self._requests.append(Request([one]))

    def adopt(self, batch: Batch, path: Path | None) -> None:
        """Queue a batch that another process encoded."""
        with self.lock:
            stored = Stored(batch, path, 0.0)
            stored.first = _ADOPTED
            self._hold(stored)
            self._requests.append(Request([stored], tried=True))

    def _hold(self, stored: Stored) -> None:
        """Keep the body in memory as long as there is room; half of it stays for spans."""
        if stored.body is None:
            return
        if stored.path is not None and self._held_bytes + len(stored.body) > self._max_bytes // 2:
            stored.body = None
        else:
            self._held_bytes += len(stored.body)

    def due_s(self, linger_s: float, hurry_below: int) -> float | None:
        """Return seconds until a request is to be sent; None when there is none."""
        if not self._requests:
            return None
        head = self._requests[0]
        if head.tried or head.first < hurry_below or self._makes_a_whole():
            return 0.0
        return head.parts[0].since + linger_s - time.monotonic()

    def _makes_a_whole(self) -> bool:
        spans = size = 0
        for request in self._requests:
            spans += request.spans
            size += sum(part.size for part in request.parts)
            if spans >= _BATCH_SPANS or size >= MAX_REQUEST_BYTES:
                return True
        return False

    def request(self) -> Request | None:
        """Return what to send next: batches that were never tried are put together.

        It stays queued until it is settled.
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
        """Let go of a request that was accepted, given up, or is replaced by others."""
        with self.lock:
            self._requests.remove(request)
            self.lost += lost
            kept = {part for other in instead for part in other.parts}
            for part in set(request.parts) - kept:
                self._held_bytes -= len(part.body or b"")
            for part in kept - set(request.parts):
                self._hold(part)
            self._requests.extendleft(reversed(instead))

    def postpone(self, request: Request) -> None:
        """Move a request behind the others, so that one that is never accepted blocks none."""
        with self.lock:
            self._requests.remove(request)
            self._requests.append(request)

    # --- for flush ------------------------------------------------------------------------------

    def has_waiting_below(self, number: int) -> bool:
        """Tell whether a span with a lower number still waits to be encoded."""
        return bool(self._waiting) and self._taken < number

    def put_so_far(self) -> int:
        """Return how many spans were ever queued."""
        return self._taken + len(self._waiting)

    def is_settled(self, number: int) -> bool:
        """Tell whether all spans before this number were accepted or given up."""
        with self.lock:
            return self._oldest(request.first for request in self._requests) >= number

    def _oldest(self, held: Iterable[int]) -> int:
        found = list(held)
        if self._encoding_from is not None:
            found.append(self._encoding_from)
        if self._waiting:
            found.append(self._taken)
        return min(found, default=self.put_so_far())
