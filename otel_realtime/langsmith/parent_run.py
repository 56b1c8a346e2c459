"""LangSmith's own ``@traceable`` functions below our spans.

They look for their parent in LangSmith's context variables, not in OpenTelemetry's context. The
parent is named by the same ids that the span has there.
"""

from __future__ import annotations

import sys
from typing import Any
from uuid import UUID

from opentelemetry.trace import Span

from otel_realtime.langsmith.stamping import Stamp
from otel_realtime.tracing.members import TABLE


def parent_run(span: Span, name: str) -> Any:
    """The span as a LangSmith run tree; None without the library or without explicit ids."""
    module = sys.modules.get("langsmith.run_trees")
    stamp = TABLE.get(span.get_span_context().span_id)
    if module is None or not isinstance(stamp, Stamp):
        return None
    return module.RunTree(
        id=UUID(stamp.run_id),
        trace_id=UUID(stamp.trace.root_run_id),
        dotted_order=stamp.dotted_order,
        name=name,
        run_type="chain",
        session_name=stamp.trace.project,
        extra={"metadata": {"thread_id": stamp.trace.thread_id}},
    )


def enter(run: Any) -> dict[str, Any] | None:
    """Make a run the parent of ``@traceable`` functions in this context; returns what was."""
    helpers = sys.modules.get("langsmith.run_helpers")
    set_context = getattr(helpers, "_set_tracing_context", None)
    get_context = getattr(helpers, "get_tracing_context", None)
    if run is None or set_context is None or get_context is None:
        return None
    before = get_context()
    kept = {"parent": before.get("parent"), "metadata": before.get("metadata"), "run": run}
    set_context({"parent": run, "metadata": {**(kept["metadata"] or {}), **run.metadata}})
    return kept  # it holds the run: LangSmith's context has only a weak reference


def leave(kept: dict[str, Any] | None) -> None:
    """Put back what ``enter`` found."""
    set_context = getattr(sys.modules.get("langsmith.run_helpers"), "_set_tracing_context", None)
    if kept is not None and set_context is not None:
        set_context({"parent": kept["parent"], "metadata": kept["metadata"]})


def transfer(kept: dict[str, Any], later: dict[str, Any]) -> None:
    """What ``enter`` found before the one is what must be put back after the later other."""
    later.update({"parent": kept["parent"], "metadata": kept["metadata"]})
