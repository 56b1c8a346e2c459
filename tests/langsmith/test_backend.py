"""LangSmith as a backend: root runs and spans by one object."""

from __future__ import annotations

import pytest

from otel_realtime.delivery.model import Closing, Opening
from otel_realtime.langsmith.backend import LangSmith
from otel_realtime.langsmith.config import LangSmithConfig
from tests.support.langsmith_server import LangSmithServer, Reply
from tests.support.rig import Rig


def converse(backend: LangSmith, rig: Rig) -> None:
    """A root run from its start to its end, and a span below it."""
    rig.outlet = backend
    root = rig.root()
    opening = Opening(
        trace_id=rig.trace.trace_id,
        span_id=rig.trace.root_span_id,
        name="realtime_session",
        start_ns=rig.trace.start_ns,
    )
    run = backend.open(opening)
    rig.child(rig.ours, "session.created", root).end()
    run.finish(Closing(end_ns=2 * 10**18))


def test_both_ways_in_are_flushed(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig
) -> None:
    """Post and patch at the runs API, the span at the OTLP endpoint, all before it answers."""
    backend = LangSmith(config)
    converse(backend, rig)
    assert backend.flush(10)
    assert (2, ["session.created"]) == (
        len(server.posts()),
        [span.name for span in server.spans()],
    )
    assert backend.stop(5)


def test_nothing_is_posted_before_it_is_ready(
    config: LangSmithConfig, server: LangSmithServer
) -> None:
    """``ready`` is called in the background, once, before the run is."""
    backend, seen = LangSmith(config), []
    opening = Opening(trace_id=1, span_id=1, name="realtime_session", start_ns=10**18)
    backend.open(opening, ready=lambda: seen.append(len(server.posts())))
    assert backend.flush(10)
    assert ([0], 1) == (seen, len(server.posts()))
    assert backend.stop(5)


@pytest.mark.parametrize("refused", ["/runs/multipart", "/otel/v1/traces"])
def test_one_way_that_is_refused_is_told(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig, refused: str
) -> None:
    """The other one delivers all the same."""
    server.judge = lambda request: Reply(403) if request.path == refused else None
    backend = LangSmith(config)
    converse(backend, rig)
    assert not backend.flush(10)
    assert {"/runs/multipart", "/otel/v1/traces"} <= {one.path for one in server.requests}
    assert backend.stop(5)


def test_a_stop_delivers_what_is_left(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig
) -> None:
    """Afterwards nothing is taken any more, and it says so."""
    backend = LangSmith(config)
    converse(backend, rig)
    assert backend.stop(10)
    assert 1 == len(server.spans())
    member = rig.trace.member(7, 10**18, None)
    root = rig.root()
    assert not backend.put(root, member)
    late = backend.open(Opening(trace_id=1, span_id=1, name="late", start_ns=1))
    assert ("refused", 2) == (late.status, len(server.posts()))


def test_a_forks_child_sends_nothing_of_the_parents(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig
) -> None:
    """What is on its way is dropped there, and nobody waits for it."""
    server.judge = lambda _: Reply(503)
    backend = LangSmith(config)
    converse(backend, rig)
    assert not backend.flush(0.2)
    backend.reset_after_fork()
    assert backend.flush(1)
    assert backend.stop(5)
