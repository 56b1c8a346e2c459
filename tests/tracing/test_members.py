from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.tracing.members import CONVERSATION_KEY, Member
from tests.support.rig import Rig


class Outlet:
    def __init__(self) -> None:
        self.spans: list[str] = []
        self.flushed: list[float] = []

    def put(self, span: ReadableSpan, member: Member) -> bool:
        self.spans.append(span.name)
        return True

    def flush(self, timeout_s: float) -> bool:
        self.flushed.append(timeout_s)
        return False


def langsmith(span: ReadableSpan) -> dict[str, Any]:
    return {k: v for k, v in (span.attributes or {}).items() if "langsmith" in k}


def own_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return run_id(context.span_id)


def test_root_carries_its_ids_and_no_parent(rig: Rig) -> None:
    """The root's run id is its trace id, and its order is its start and that id."""
    root = rig.root()
    own = own_id(root)
    assert langsmith(root) == {
        "langsmith.trace.id": own,
        "langsmith.span.id": own,
        "langsmith.span.dotted_order": dotted_order(10**18, own),
        "langsmith.trace.session_name": "voice",
        "langsmith.metadata.thread_id": "thread-1",
        "langsmith.span.kind": "chain",
        "otel_realtime.langsmith.leg": "direct",
    }


def test_nested_spans_of_others_are_linked(rig: Rig) -> None:
    """Parent, order, trace, project, thread and leg reach spans of other instrumentations."""
    root = rig.root()
    event = rig.child(rig.ours, "response.done", root, start_time=10**18 + 5_000)
    query = rig.child(rig.foreign, "SELECT", event, start_time=10**18 + 9_000)
    event_order = dotted_order(10**18 + 5_000, own_id(event), rig.trace.dotted_order)
    assert langsmith(query) == {
        "langsmith.trace.id": own_id(root),
        "langsmith.span.id": own_id(query),
        "langsmith.span.parent_id": own_id(event),
        "langsmith.span.dotted_order": dotted_order(10**18 + 9_000, own_id(query), event_order),
        "langsmith.trace.session_name": "voice",
        "langsmith.metadata.thread_id": "thread-1",
        "otel_realtime.langsmith.leg": "direct",
    }
    assert langsmith(event)["langsmith.span.kind"] == "chain"


def test_a_child_may_start_after_its_parent_ended(rig: Rig) -> None:
    """A tool span opened late still finds the event above it."""
    root = rig.root()
    event = rig.child(rig.ours, "response.done", root)
    event.end()
    tool = rig.child(rig.ours, "execute_tool f", event, attributes={"langsmith.span.kind": "tool"})
    assert langsmith(tool)["langsmith.span.parent_id"] == own_id(event)
    assert langsmith(tool)["langsmith.span.kind"] == "tool"


def test_without_explicit_ids_only_thread_and_leg_are_written(rig: Rig) -> None:
    """When the root goes by OTLP too, native parents hold and no id is written."""
    root = rig.root(leg="collector", explicit=False)
    child = rig.child(rig.foreign, "GET", root)
    assert langsmith(child) == {
        "langsmith.metadata.thread_id": "thread-1",
        "otel_realtime.langsmith.leg": "collector",
    }


def test_ambient_siblings_stay_untouched(rig: Rig) -> None:
    """In the app's own trace only what is below our root is ours."""
    request = rig.foreign.start_span("POST /call", context=Context())
    assert isinstance(request, Span)
    root = rig.child(rig.ours, "realtime_session", request)
    rig.stamp(root, leg="direct", explicit=True, ambient=True)
    child = rig.child(rig.foreign, "inside", root)
    context = set_span_in_context(request, context_api.set_value(CONVERSATION_KEY, rig.trace))
    sibling = rig.foreign.start_span("outside", context=context)
    assert isinstance(sibling, Span)
    assert langsmith(sibling) == {}
    assert langsmith(request) == {}
    assert langsmith(child)["langsmith.span.parent_id"] == own_id(root)


def test_a_lost_parent_in_our_own_trace_means_the_root(rig: Rig) -> None:
    """A span below one that no processor of ours saw hangs under the root."""
    root = rig.root()
    trace_id = root.get_span_context().trace_id
    unseen = NonRecordingSpan(SpanContext(trace_id, 77, True, TraceFlags(1)))
    child = rig.foreign.start_span("GET", context=set_span_in_context(unseen))
    assert isinstance(child, Span)
    assert langsmith(child)["langsmith.span.parent_id"] == own_id(root)


def test_a_context_that_names_the_conversation_is_enough(rig: Rig) -> None:
    """A span without a parent belongs to the conversation of its context."""
    root = rig.root()
    context = context_api.set_value(CONVERSATION_KEY, rig.trace, Context())
    span = rig.foreign.start_span("job", context=context)
    assert isinstance(span, Span)
    assert langsmith(span)["langsmith.span.parent_id"] == own_id(root)


def test_a_span_of_another_trace_stays_untouched(rig: Rig) -> None:
    """A remote or unrelated parent is not ours, even where a conversation is in the context."""
    rig.root()
    remote = NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(1)))
    context = set_span_in_context(remote, context_api.set_value(CONVERSATION_KEY, rig.trace))
    for given in (context, Context()):
        span = rig.foreign.start_span("GET", context=given)
        assert isinstance(span, Span)
        assert langsmith(span) == {}


class RecordOnly(Sampler):
    """Records spans named ``hidden`` without sampling them."""

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any
    ) -> Any:
        hidden = name == "hidden"
        return SamplingResult(Decision.RECORD_ONLY if hidden else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "RecordOnly"


def test_below_an_unsampled_span_the_nearest_delivered_one_is_parent(rig: Rig) -> None:
    """A span LangSmith never gets must not be named as a parent."""
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    outlet = Outlet()
    rig.outlet = outlet
    provider.add_span_processor(rig.processor)
    rig.ours = provider.get_tracer("otel_realtime.tracing")
    root = rig.root()
    hidden = rig.child(rig.ours, "hidden", root)
    below = rig.child(rig.ours, "below", hidden)
    assert langsmith(below)["langsmith.span.parent_id"] == own_id(root)
    below.end()
    hidden.end()
    assert outlet.spans == ["below"]


def test_only_the_direct_leg_reaches_the_outlet(rig: Rig) -> None:
    """Leg ``collector`` and leg ``none`` are delivered by nobody here."""
    outlet = Outlet()
    rig.outlet = outlet
    for leg in ("direct", "collector", "none"):
        root = rig.root(leg=leg)
        rig.child(rig.foreign, leg, root).end()
    rig.foreign.start_span("unrelated", context=Context()).end()
    assert outlet.spans == ["direct"]


def test_the_root_goes_by_one_way_only(rig: Rig) -> None:
    """A marked root is the runs API's; one without the mark goes by OTLP."""
    outlet = Outlet()
    rig.outlet = outlet
    marked = rig.root()
    marked.set_attribute("otel_realtime.langsmith.root", "runs_api")
    marked.end()
    assert outlet.spans == []
    rig.root().end()
    assert outlet.spans == ["realtime_session"]


def test_forgetting_keeps_what_is_still_open(rig: Rig) -> None:
    """After a conversation is forgotten its open spans are still delivered, then nothing is left."""
    outlet = Outlet()
    rig.outlet = outlet
    root = rig.root()
    late = rig.child(rig.foreign, "late", root)
    rig.child(rig.foreign, "early", root).end()
    root.end()
    rig.table.forget(rig.trace)
    assert len(rig.table) == 1
    late.end()
    assert outlet.spans == ["early", "realtime_session", "late"]
    assert len(rig.table) == 0
    after = rig.child(rig.foreign, "after", root)
    assert langsmith(after) == {}


def test_forgetting_drops_a_root_that_ended_unseen(rig: Rig) -> None:
    """The provider of another SDK has no processor of ours, which would see its end."""
    rig.root()
    rig.table.forget(rig.trace)
    assert len(rig.table) == 0


def test_deactivated_while_spans_are_open(rig: Rig) -> None:
    """They are delivered by nobody, and forgotten with their end."""
    outlet = Outlet()
    rig.outlet = outlet
    root = rig.root()
    child = rig.child(rig.foreign, "GET", root)
    rig.processor.deactivate()
    rig.table.forget(rig.trace)
    child.end()
    root.end()
    assert (0, []) == (len(rig.table), outlet.spans)


def test_a_span_without_a_parent_is_adopted(rig: Rig) -> None:
    """By the span that is found for it: trace, parent and attributes are as if it were its child."""
    root = rig.root()
    tool = rig.child(rig.ours, "execute_tool look_up", root)
    rig.processor._find_parent = lambda _: tool.get_span_context()
    with rig.foreign.start_as_current_span("request") as request:
        query = rig.foreign.start_span("query")
    assert isinstance(request, Span)
    assert isinstance(query, Span)
    assert (tool.get_span_context(), request.get_span_context()) == (request.parent, query.parent)
    traces = {span.get_span_context().trace_id for span in (root, tool, request, query)}
    assert traces == {rig.trace.trace_id}
    assert langsmith(request)["langsmith.span.parent_id"] == own_id(tool)


@pytest.mark.parametrize(
    "context",
    [
        Context(),
        set_span_in_context(
            NonRecordingSpan(SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(1)))
        ),
        None,
    ],
)
def test_what_is_not_adopted(rig: Rig, context: Context | None) -> None:
    """A span whose context was chosen, one with a parent, and one for which no parent is found."""
    root = rig.root()
    found = root.get_span_context() if context is not None else SpanContext(1, 2, is_remote=False)
    rig.processor._find_parent = lambda _: found
    span = rig.foreign.start_span("request", context)
    assert span.get_span_context().trace_id != rig.trace.trace_id
    assert isinstance(span, Span)
    assert langsmith(span) == {}


def test_inert_after_shutdown(rig: Rig) -> None:
    """A provider that was shut down flushed the outlet once and stamps nothing more."""
    outlet = Outlet()
    rig.outlet = outlet
    rig.processor._flush = outlet.flush
    root = rig.root()
    rig.processor.shutdown()
    rig.processor.shutdown()
    assert outlet.flushed == [10.0]
    child = rig.child(rig.foreign, "GET", root)
    assert langsmith(child) == {}
    child.end()
    assert outlet.spans == []
    assert rig.processor.force_flush() is True


def test_force_flush_passes_on_the_truth(rig: Rig) -> None:
    """The provider's force_flush says what the outlet says, with its timeout in seconds."""
    outlet = Outlet()
    rig.processor._flush = outlet.flush
    assert rig.processor.force_flush(1500) is False
    assert outlet.flushed == [1.5]


@pytest.mark.parametrize("broken", ["start", "end"])
def test_a_fault_of_ours_never_reaches_the_app(rig: Rig, broken: str) -> None:
    """Spans start and end whatever happens in the processor."""
    root = rig.root()
    rig.trace.project = object()  # type: ignore[assignment]
    if broken == "end":
        rig.trace.outlet = object()  # type: ignore[assignment]
    else:
        rig.table.add = None  # type: ignore[assignment,method-assign]
    rig.child(rig.foreign, "GET", root).end()
    assert [span.name for span in rig.finished.get_finished_spans()] == ["GET"]
