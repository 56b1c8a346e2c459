"""Makes our spans the parents of the app's ``@traceable`` functions.

These functions look for their parent in context variables of the ``langsmith`` package, not in
OpenTelemetry's context. The parent is a ``RunTree`` with the ids that our span has in LangSmith. This
module implements ``tracing.activation.NativeParents``.

``langsmith`` is never imported here: an app that has not loaded it has no ``@traceable`` functions.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast
from uuid import UUID

from opentelemetry.trace import Span

from otel_realtime.langsmith.config import agent_of
from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.tracing.members import TABLE

if TYPE_CHECKING:
    from langsmith.run_trees import RunTree


def parent_run(span: Span, name: str) -> object:
    """Return a span as a ``RunTree``.

    Args:
        span: one of our spans.
        name: name of the run.

    Returns:
        The run; ``None`` without ``langsmith``, or if the span has no explicit ids.
    """
    module = sys.modules.get("langsmith.run_trees")
    stamp = TABLE.get(span.get_span_context().span_id)
    if module is None or not isinstance(stamp, Stamp):
        return None
    project = stamp.trace.project
    return module.RunTree(
        id=UUID(stamp.run_id),
        trace_id=UUID(stamp.trace.root_run_id),
        dotted_order=stamp.dotted_order,
        name=name,
        run_type="chain",
        # An agent's address comes from the environment, as for every run of that client.
        **({"session_name": project} if agent_of(project) is None else {}),
        extra={"metadata": {"thread_id": stamp.trace.thread_id}},
    )


def used(run: object) -> bool:
    """Return whether a run of ``parent_run`` has children."""
    return bool(getattr(run, "child_runs", None))


def restarted(run: object, span: Span) -> None:
    """Move a run without children to where its span is now.

    Args:
        run: result of ``parent_run``.
        span: its span, which was restarted.
    """
    stamp = TABLE.get(span.get_span_context().span_id)
    if isinstance(stamp, Stamp):
        cast("RunTree", run).dotted_order = stamp.dotted_order


def enter(run: object) -> dict[str, object] | None:
    """Make a run the parent of ``@traceable`` functions in this context.

    Args:
        run: result of ``parent_run``.

    Returns:
        State for ``leave``; ``None`` if nothing was changed.
    """
    helpers = sys.modules.get("langsmith.run_helpers")
    # The public ``tracing_context`` is a context manager; we enter and leave in different calls.
    set_context = getattr(helpers, "_set_tracing_context", None)
    get_context = getattr(helpers, "get_tracing_context", None)
    if run is None or set_context is None or get_context is None:
        return None
    before = get_context()
    tree, metadata = cast("RunTree", run), before.get("metadata")
    # The state also keeps the run alive: LangSmith's context only has a weak reference to it.
    saved = {"parent": before.get("parent"), "metadata": metadata, "run": run}
    set_context({"parent": run, "metadata": {**(metadata or {}), **tree.metadata}})
    return saved


def leave(saved: dict[str, object] | None) -> None:
    """Restore the context that ``enter`` replaced."""
    set_context = getattr(sys.modules.get("langsmith.run_helpers"), "_set_tracing_context", None)
    if saved is not None and set_context is not None:
        set_context({"parent": saved["parent"], "metadata": saved["metadata"]})


def transfer(saved: dict[str, object], later: dict[str, object]) -> None:
    """Make a later ``enter`` restore what an earlier one would have restored.

    Args:
        saved: state of the earlier one, which is left first.
        later: state of the later one.
    """
    later.update({"parent": saved["parent"], "metadata": saved["metadata"]})
