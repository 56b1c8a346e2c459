"""Spans that LangSmith does not have yet: bounded, in order, and none counted twice or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from otel_realtime.langsmith import span_queue
from otel_realtime.langsmith.encoding import Batch
from otel_realtime.langsmith.span_queue import Request, SpanQueue, Stored
from otel_realtime.langsmith.stamping import Stamp, TraceStamp
from otel_realtime.state.spool import Spool

ROOT = TraceStamp(
    root_span_id=1, trace_id=9, start_ns=10**18, thread_id="t", leg="direct", project="voice"
)
SPAN_BYTES = 600


def span(text: str = "") -> ReadableSpan:
    """A finished span that holds about 600 bytes and this text."""
    context = SpanContext(9, 2, False, TraceFlags(1))
    return ReadableSpan(name="a", context=context, attributes={"text": text})


def stamp() -> Stamp:
    """Its place."""
    return ROOT.member(2, 10**18, None)


def put(queue: SpanQueue, *texts: str) -> list[bool]:
    """Queue a span for each text; whether each was taken."""
    return [queue.put(span(text), stamp()) for text in texts]


def encoded(queue: SpanQueue, size: int = 10, path: Path | None = None) -> Stored:
    """Take out what waits, as one batch of so many bytes."""
    entries, first, since = queue.dequeue()
    stored = Stored(Batch(bytes(size), len(entries), first, size), path, since)
    queue.encoded([stored], 0)
    return stored


def request(queue: SpanQueue) -> Request:
    """What is to be sent next."""
    found = queue.request()
    assert found is not None
    return found


# -- bounds ----------------------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    """What waits and what is encoded count together; what does not fit is counted as lost."""
    queue = SpanQueue(max_bytes=3 * SPAN_BYTES)
    assert [True, True, True, False] == put(queue, "", "", "", "")
    assert 1 == queue.lost
    encoded(queue, SPAN_BYTES)
    assert [True, True, False] == put(queue, "", "", "")
    assert 2 == queue.lost
    queue.settle(request(queue))
    assert [True, False] == put(queue, "", "")


def test_the_number_of_spans_is_bounded() -> None:
    """However small they are."""
    queue = SpanQueue(max_spans=2)
    assert [True, True, False] == put(queue, "", "", "")


def test_beyond_half_the_memory_a_body_is_on_disk_only(tmp_path: Path) -> None:
    """It reads the same; one that is on no disk stays in memory."""
    queue, spool = SpanQueue(max_bytes=2_000), Spool(tmp_path, "http://a", "voice")
    bodies = []
    for number in range(3):
        put(queue, "")
        entries, first, since = queue.dequeue()
        body = bytes([number]) * 600
        path = spool.write(body, len(entries), len(body)) if number < 2 else None
        stored = Stored(Batch(body, 1, first, len(body)), path, since)
        queue.encoded([stored], 0)
        bodies.append(stored)
    assert [True, False, True] == [one.body is not None for one in bodies]
    assert [bytes([number]) * 600 for number in range(3)] == [one.read() for one in bodies]


def test_a_body_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    """As an OSError."""
    stored = Stored(Batch(b"x", 1, 0, 1), tmp_path / "gone", 0.0)
    stored.body = None
    with pytest.raises(OSError, match="gone"):
        stored.read()


def test_a_clock_that_raises_removes_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay enqueued: nobody would know that they are lost."""
    queue = SpanQueue()
    put(queue, "a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(span_queue.time, "monotonic", lambda: next(iter(())))
        with pytest.raises(StopIteration):
            queue.dequeue()
    assert (True, 2) == (queue.has_waiting_below(2), len(queue.dequeue()[0]))


# -- what is sent ----------------------------------------------------------------------------------


def test_batches_that_were_never_tried_go_together() -> None:
    """In order, up to the size of a request; what was tried stays as it is."""
    queue = SpanQueue()
    parts = []
    for size in (1_500_000, 1_500_000, 1_500_000):
        put(queue, "", "")
        parts.append(encoded(queue, size))
    first = request(queue)
    assert (tuple(parts[:2]), 4, 0, []) == (first.parts, first.spans, first.first, first.paths)
    put(queue, "")
    encoded(queue)
    assert first is request(queue)
    queue.settle(first)
    assert (3, 4) == (request(queue).spans, request(queue).first)


def test_what_is_never_accepted_blocks_nothing() -> None:
    """It goes behind the others."""
    queue = SpanQueue()
    put(queue, "")
    poison = encoded(queue)
    queue.postpone(request(queue))
    put(queue, "")
    fine = encoded(queue)
    queue.postpone(request(queue))
    assert (fine,) == request(queue).parts
    queue.settle(request(queue))
    assert (poison,) == request(queue).parts


def test_a_request_may_be_replaced_by_halves() -> None:
    """They are sent one by one, first half first, and nothing is lost or counted twice."""
    queue = SpanQueue(max_bytes=10_000)
    parts = []
    for _ in range(2):
        put(queue, "")
        parts.append(encoded(queue, 1_000))
    whole = request(queue)
    queue.settle(whole, instead=[Request([part], tried=True) for part in parts])
    for part in parts:
        assert (part,) == request(queue).parts
        queue.settle(request(queue))
    assert (None, 0, 0) == (queue.request(), queue.lost, queue._held_bytes)


def test_when_a_request_is_due() -> None:
    """After a while; at once if somebody waits for it, it was tried, or it is a whole one."""
    queue = SpanQueue()
    assert queue.due_s(10, 0) is None
    put(queue, "")
    encoded(queue)
    wait_s = queue.due_s(10, 0)
    assert wait_s is not None
    assert 9 < wait_s <= 10
    assert 0.0 == queue.due_s(10, 1)
    request(queue)
    assert 0.0 == queue.due_s(10, 0)
    whole = SpanQueue()
    put(whole, "")
    encoded(whole, 4_000_000)
    assert 0.0 == whole.due_s(10, 0)


def test_a_batch_is_a_request_at_most() -> None:
    """By the number of spans and by their size."""
    queue = SpanQueue()
    put(queue, *[""] * 600)
    assert queue.is_full()
    assert [512, 88] == [len(queue.dequeue()[0]) for _ in range(2)]
    put(queue, *["x" * 1_500_000] * 4)
    assert queue.is_full()
    assert [3, 1, 0] == [len(queue.dequeue()[0]) for _ in range(3)]
    assert not queue.is_full()


@pytest.mark.parametrize(("waiting", "wanted"), [(1, True), (2, False), (511, False), (512, True)])
def test_who_is_woken(waiting: int, wanted: bool) -> None:
    """By the first span that waits and by the one that fills a request, not by each."""
    queue = SpanQueue()
    put(queue, *[""] * waiting)
    assert wanted == queue.needs_wakeup()
    assert queue.age_s() is not None


# -- what flush waits for --------------------------------------------------------------------------


def test_a_span_is_settled_when_it_was_accepted_or_given_up() -> None:
    """Not while it waits, is encoded, or is on its way."""
    queue = SpanQueue()
    put(queue, "", "")
    upto = queue.enqueued_count()
    assert (2, False) == (upto, queue.is_settled(upto))
    assert queue.has_waiting_below(upto)
    entries, first, since = queue.dequeue()
    assert (False, False) == (queue.is_settled(upto), queue.has_waiting_below(upto))
    queue.encoded([Stored(Batch(b"", len(entries), first, 0), None, since)], 0)
    assert not queue.is_settled(upto)
    put(queue, "later")
    queue.settle(request(queue))
    assert (True, False) == (queue.is_settled(upto), queue.is_settled(queue.enqueued_count()))


def test_what_could_not_be_encoded_is_given_up() -> None:
    """And counted."""
    queue = SpanQueue()
    put(queue, "", "")
    queue.dequeue()
    queue.encoded([], 2)
    assert (True, 2, None) == (queue.is_settled(2), queue.lost, queue.request())


def test_what_is_refused_is_given_up() -> None:
    """Its memory is free again."""
    queue = SpanQueue()
    put(queue, "", "")
    encoded(queue, 500)
    queue.settle(request(queue), lost=2)
    assert (True, 2, 0) == (queue.is_settled(2), queue.lost, queue._held_bytes)


def test_batches_of_another_process_are_waited_for_too(tmp_path: Path) -> None:
    """They go as they are, each by itself."""
    queue = SpanQueue()
    for number in range(2):
        queue.adopt(Batch(b"body", 5, 0, 4), tmp_path / f"{number}")
    upto = queue.enqueued_count()
    for number in range(2):
        assert not queue.is_settled(upto)
        assert [tmp_path / f"{number}"] == request(queue).paths
        queue.settle(request(queue))
    assert queue.is_settled(upto)


def test_a_batch_of_another_process_hides_no_span_that_waits(tmp_path: Path) -> None:
    """Whoever waits for a span still does."""
    queue = SpanQueue()
    put(queue, "")
    upto = queue.enqueued_count()
    queue.adopt(Batch(b"body", 5, 0, 4), tmp_path / "other")
    queue.settle(request(queue))
    assert (False, True) == (queue.is_settled(upto), queue.has_waiting_below(upto))
    encoded(queue)
    queue.settle(request(queue))
    assert queue.is_settled(queue.enqueued_count())


def test_the_bounds_are_what_they_are() -> None:
    """64 MB and 200,000 spans, so an outage of hours stays within a container."""
    assert (64_000_000, 200_000) == (span_queue.MAX_BYTES, span_queue.MAX_SPANS)
