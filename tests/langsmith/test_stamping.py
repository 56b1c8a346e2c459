"""What LangSmith needs on a span to find its run, its parent and its place."""

from __future__ import annotations

from typing import Any

from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.langsmith.stamping import Stamp, TraceStamp

START = 1_793_356_200_123_456_789


def trace(**given: Any) -> TraceStamp:
    """A conversation whose root has span id 1."""
    shared: dict[str, Any] = {
        "root_span_id": 1,
        "trace_id": 9,
        "start_ns": START,
        "thread_id": "thread-1",
        "leg": "direct",
        "project": "voice",
    }
    return TraceStamp(**{**shared, **given})


def test_a_root_is_its_own_trace() -> None:
    """Its run id is the trace's, it has no parent, and its place is the conversation's."""
    made = trace()
    own = run_id(1)
    root = made.member(1, START, None)
    assert (own, made.dotted_order, None) == (root.run_id, root.dotted_order, root.parent)
    assert {
        "langsmith.trace.id": own,
        "langsmith.span.id": own,
        "langsmith.span.dotted_order": f"20261030T103000123456Z{own}",
        "langsmith.trace.session_name": "voice",
        "langsmith.metadata.thread_id": "thread-1",
        "otel_realtime.langsmith.leg": "direct",
    } == root.attributes()


def test_an_agents_address_is_no_projects_name() -> None:
    """The request's headers address it; a span would name a project beside it."""
    made = trace(project="lrn:agents/support/environments/staging")
    assert "langsmith.trace.session_name" not in made.member(2, START, None).attributes()


def test_a_place_is_below_the_one_above() -> None:
    """Each with its own start, the parent's repeated exactly."""
    made = trace()
    root = made.member(1, START, None)
    event = made.member(2, START + 5_000, root)
    query = made.member(3, START + 9_000, event)
    places = [(START, 1), (START + 5_000, 2), (START + 9_000, 3)]
    assert ".".join(dotted_order(at, run_id(span_id)) for at, span_id in places) == (
        query.dotted_order
    )
    found = query.attributes()
    assert (run_id(1), run_id(2), run_id(3)) == (
        found["langsmith.trace.id"],
        found["langsmith.span.parent_id"],
        found["langsmith.span.id"],
    )
    assert (made, Stamp) == (query.trace, type(query))


def places(*stamps: Stamp) -> list[int]:
    """The microseconds of their own places, from the conversation's start on."""
    return [
        int(one.dotted_order.rpartition(".")[2].partition("Z")[0][-6:]) - START // 1000 % 10**6
        for one in stamps
    ]


def test_runs_of_one_microsecond_keep_their_order() -> None:
    """The order in which they are made; a later time of their own stays theirs."""
    made = trace()
    root = made.member(1, START, None)
    ids = (9, 3, 7)  # by id it would be another
    first = [made.member(span_id, START + 5_000, root) for span_id in ids]
    assert [5, 6, 7] == places(*first)
    event = made.member(4, START + 100_000, root)
    chat = made.member(2, START + 5_500, root)  # written when it is complete
    assert [100, 8] == places(event, chat)
    assert sorted([*first, chat], key=lambda one: one.dotted_order) == [*first, chat]


def test_a_child_has_its_place_below_its_parent() -> None:
    """Others elsewhere do not move it, and it never stands before the one above."""
    made = trace()
    root = made.member(1, START, None)
    _, second = (made.member(span_id, START, root) for span_id in (2, 3))
    below = [made.member(span_id, START, second) for span_id in (4, 5)]
    assert [1, 1, 2] == places(second, *below)


def test_many_runs_of_one_time_are_placed_quickly() -> None:
    """Also those that come back to it later."""
    made = trace()
    root = made.member(1, START, None)
    many = [made.member(number, START, root) for number in range(2, 24_000)]
    assert list(range(24_000 - 2)) == places(*many)


def test_a_start_that_moves_moves_the_place() -> None:
    """Of the root, before anything stands below it; the ids stay."""
    made = trace()
    made.start_at(START - 10**9)
    root = made.member(1, made.start_ns, None)
    assert dotted_order(START - 10**9, run_id(1)) == made.dotted_order == root.dotted_order
    assert run_id(1) == made.root_run_id


def test_a_delivered_root_is_marked_as_the_runs_apis() -> None:
    """So that nobody sends it a second time."""
    assert ("otel_realtime.langsmith.root", "runs_api") == trace().delivered_mark
