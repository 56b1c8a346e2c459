"""LangSmith's own functions below our spans: the parent they find, and what they find again."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from langsmith import get_current_run_tree, run_trees
from langsmith.run_helpers import get_tracing_context
from opentelemetry.sdk.trace import Span

from otel_realtime.langsmith.parent_run import enter, leave, parent_run, transfer
from otel_realtime.tracing.members import TABLE
from tests.support.rig import Rig


@pytest.fixture
def root(rig: Rig) -> Iterator[Span]:
    """A root that this process knows by LangSmith's ids."""
    rig.table = TABLE
    yield rig.root()
    TABLE.forget(rig.trace)


def test_the_parent_has_the_spans_own_ids(rig: Rig, root: Span) -> None:
    """Run, trace and place are those that the span has there."""
    run = parent_run(root, "response.done")
    assert isinstance(run, run_trees.RunTree)
    assert (rig.trace.root_run_id, rig.trace.root_run_id, rig.trace.dotted_order) == (
        str(run.id),
        str(run.trace_id),
        run.dotted_order,
    )
    assert ("response.done", "chain", "voice", "thread-1") == (
        run.name,
        run.run_type,
        run.session_name,
        run.metadata["thread_id"],
    )


def test_without_langsmiths_ids_there_is_none(rig: Rig) -> None:
    """Native parents hold there."""
    rig.table = TABLE
    span = rig.root(leg="collector", explicit=False)
    assert parent_run(span, "x") is None
    TABLE.forget(rig.trace)
    assert parent_run(span, "x") is None


def test_without_the_library_nothing_happens(root: Span, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never imported for this."""
    run = parent_run(root, "x")
    for name in ("langsmith.run_trees", "langsmith.run_helpers"):
        monkeypatch.delitem(sys.modules, name)
    assert parent_run(root, "x") is None
    assert enter(run) is None
    leave({"parent": None, "metadata": None})


def test_what_was_current_comes_back(root: Span) -> None:
    """Also the app's own metadata, which stands beside ours meanwhile."""
    before = get_tracing_context()
    run = parent_run(root, "x")
    kept = enter(run)
    assert run is get_current_run_tree()
    assert "thread-1" == get_tracing_context()["metadata"]["thread_id"]
    leave(kept)
    assert (before["parent"], before["metadata"]) == (
        get_tracing_context()["parent"],
        get_tracing_context()["metadata"],
    )
    assert enter(None) is None
    leave(None)
    assert get_current_run_tree() is before["parent"]


def test_one_that_leaves_first_passes_on_what_was(root: Span) -> None:
    """Two that overlap leave nothing behind, whichever goes first."""
    first, second = parent_run(root, "first"), parent_run(root, "second")
    one = enter(first)
    other = enter(second)
    assert one is not None
    assert other is not None
    transfer(one, other)
    assert second is get_current_run_tree()
    leave(other)
    assert get_current_run_tree() is None
