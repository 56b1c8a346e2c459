"""A span that begins anew: the same span, in another place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, Span, set_span_in_context

from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.tracing.members import MembershipProcessor, MemberTable, admit_root
from otel_realtime.tracing.restart import has_children, restart


class Trace:
    """A root, two events below it, and a tool below the first."""

    def __init__(self) -> None:
        self.table, self.memory = MemberTable(), InMemorySpanExporter()
        self.notes: list[tuple[str, dict[str, Any]]] = []
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(MembershipProcessor(table=self.table))
        provider.add_span_processor(SimpleSpanProcessor(self.memory))
        self._tracer = provider.get_tracer("otel_realtime")
        self.root = self._tracer.start_span("root", context=Context(), start_time=1_000)
        context = self.root.get_span_context()
        membership = TraceStamp(
            root_span_id=context.span_id,
            trace_id=context.trace_id,
            start_ns=1_000,
            thread_id="thread",
            leg="direct",
            project="project",
            note=lambda kind, data: self.notes.append((kind, dict(data))),
        )
        admit_root(cast("Any", self.root), membership, self.table)
        self.first, self.second = self.start("first", self.root), self.start("second", self.root)
        self.tool = self.start("tool", self.first, {"langsmith.span.kind": "tool"})

    def start(self, name: str, above: Span, attributes: dict[str, Any] | None = None) -> Span:
        """Start a span below another one."""
        context = set_span_in_context(above, Context())
        return self._tracer.start_span(
            name, context=context, attributes=attributes, start_time=2_000
        )

    def ended(self, span: Span) -> ReadableSpan:
        """The span as an exporter gets it."""
        span.end(9_000)
        return self.memory.get_finished_spans()[-1]


@pytest.fixture
def trace() -> Iterator[Trace]:
    """A fresh one."""
    return Trace()


def id_of(span: Span) -> int:
    """Its id."""
    return span.get_span_context().span_id


def test_it_keeps_its_id_below_another_parent(trace: Trace) -> None:
    """What is exported has the new start, the new parent, and the new place in LangSmith's order."""
    assert restart(trace.tool, trace.second, 5_000, trace.table)
    child = trace.start("child", trace.tool)
    exported = trace.ended(trace.tool)
    assert exported.context is not None
    assert exported.parent is not None
    assert (id_of(trace.tool), id_of(trace.second), 5_000) == (
        exported.context.span_id,
        exported.parent.span_id,
        exported.start_time,
    )
    order = str((exported.attributes or {})["langsmith.span.dotted_order"])
    below = str((trace.ended(child).attributes or {})["langsmith.span.dotted_order"])
    assert f"{id_of(trace.second):016x}" == order.replace("-", "").split(".")[1][-16:]
    assert below.startswith(order + ".")


def test_the_journal_says_so(trace: Trace) -> None:
    """A second record of the same span, for a recovery."""
    restart(trace.tool, trace.second, 5_000, trace.table)
    begun = [
        (data["span"], data["parent"], data["at"]) for kind, data in trace.notes if kind == "span"
    ]
    name = f"{id_of(trace.tool):016x}"
    assert [
        (name, f"{id_of(trace.first):016x}", 2_000),
        (name, f"{id_of(trace.second):016x}", 5_000),
    ] == begun


def test_its_children_are_seen_before_and_after(trace: Trace) -> None:
    """Only its own."""
    assert not has_children(id_of(trace.tool), trace.table)
    restart(trace.tool, trace.second, 5_000, trace.table)
    assert not has_children(id_of(trace.tool), trace.table)
    child = trace.start("child", trace.tool)
    assert has_children(id_of(trace.tool), trace.table)
    assert has_children(id_of(trace.root), trace.table)
    assert has_children(12345, trace.table)
    trace.table.discard(id_of(child))
    assert not has_children(id_of(trace.tool), trace.table)


def test_a_child_that_begins_anew_elsewhere_is_no_child(trace: Trace) -> None:
    """It is one of its new parent."""
    assert has_children(id_of(trace.first), trace.table)
    assert not has_children(id_of(trace.second), trace.table)
    restart(trace.tool, trace.second, 5_000, trace.table)
    assert not has_children(id_of(trace.first), trace.table)
    assert has_children(id_of(trace.second), trace.table)


def test_a_span_of_another_sdk_cannot(trace: Trace) -> None:
    """Nor one that is no member."""
    assert not restart(
        NonRecordingSpan(trace.tool.get_span_context()), trace.second, 5, trace.table
    )
    assert not restart(trace.tool, trace.second, 5, MemberTable())
