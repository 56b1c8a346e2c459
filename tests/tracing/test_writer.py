"""Spans below one root: started within its limit, ended with a length."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind

from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tracing.event import EventSpans
from otel_realtime.tracing.members import CONVERSATION_KEY
from otel_realtime.tracing.writer import SpanWriter, finish
from tests.support.rig import Rig
from tests.support.streams import at

START = 10**18


def writer(rig: Rig, span_limit: int = 10) -> SpanWriter:
    """The writer of a conversation that has just begun."""
    root = rig.root()
    return SpanWriter(
        rig.ours,
        root,
        rig.trace,
        policy=ContentPolicy(),
        provider=Provider(),
        payload_limit=4096,
        span_limit=span_limit,
    )


def open_event(events: EventSpans, kind: str, t_ms: int = 0) -> trace.Span | None:
    """Open the span of an event."""
    return events.open({"type": kind}, "{}", at(t_ms), 0)


def test_a_span_is_as_it_was_told(rig: Rig) -> None:
    """Name, kind, attributes and start; below the root of its conversation."""
    found = writer(rig)
    found.start("chat m", found.root, {"a": 1}, START + 5, SpanKind.CLIENT).end(START + 9)
    (span,) = rig.finished.get_finished_spans()
    assert span.parent is not None
    assert ("chat m", SpanKind.CLIENT, 1, START + 5, rig.trace.root_span_id) == (
        span.name,
        span.kind,
        (span.attributes or {})["a"],
        span.start_time,
        span.parent.span_id,
    )


@pytest.mark.parametrize("linked", [True, False])
def test_a_span_is_a_member_with_all_it_needs(rig: Rig, linked: bool) -> None:
    """As one that another instrumentation starts; its links where somebody else may deliver it."""
    found = writer(rig)
    rig.trace.linked = linked
    span = found.start("a", found.root, {}, START + 5_000)
    below = found.start("b", found.context_below(span), {"langsmith.span.kind": "tool"}, START)
    members = [rig.table.get(one.get_span_context().span_id) for one in (span, below)]
    for one in (below, span):
        one.end()
    told = [dict(one.attributes or {}) for one in reversed(rig.finished.get_finished_spans())]
    for member, attributes, kind in zip(members, told, ("chain", "tool"), strict=True):
        assert member is not None
        links = member.links() if linked else {}
        own = {"langsmith.metadata.thread_id": "thread-1", "otel_realtime.langsmith.leg": "direct"}
        assert {**own, "langsmith.span.kind": kind, **links} == attributes
    assert members[0] is members[1].parent  # type: ignore[union-attr]


@pytest.mark.parametrize("leg", ["direct", "collector", "none"])
def test_model_calls_and_tools_say_whose_they_are(rig: Rig, leg: str) -> None:
    """Where no exporter of ours can add it later; their own facts go first."""
    found = writer(rig)
    rig.trace.leg, rig.trace.about.app = leg, {"plan": "gold", "turn": 9}
    for kind in ("llm", "tool", "chain"):
        own = {"langsmith.span.kind": kind, "langsmith.metadata.turn": 1}
        found.start(kind, found.root, own, START).end()
    told = {
        span.name: [(span.attributes or {}).get("langsmith.metadata." + key) for key in METADATA]
        for span in rig.finished.get_finished_spans()
    }
    written, not_written = ["gold", "otel-realtime", "audio", 1], [None, None, None, 1]
    runs = not_written if leg == "direct" else written
    assert {"llm": runs, "tool": runs, "chain": not_written} == told


METADATA = ("plan", "ls_integration", "ls_modality", "turn")


def test_the_room_counts_down_with_each_span(rig: Rig) -> None:
    """The root has its place in it; the first span below it is noted."""
    found = writer(rig, 3)
    assert (2, False) == (found.room, found.begun)
    for _ in range(3):
        found.start("a", found.root, {}, START)
    assert (-1, True) == (found.room, found.begun)


def test_a_context_names_span_and_conversation(rig: Rig) -> None:
    """So another instrumentation's spans find both."""
    found = writer(rig)
    span = found.start("a", found.root, {}, START)
    for context, above in ((found.root, rig.trace.root_span_id), (found.context_below(span), None)):
        current = trace.get_current_span(context).get_span_context().span_id
        assert (above or span.get_span_context().span_id) == current
        assert rig.trace is context[CONVERSATION_KEY]


def test_what_an_event_causes_stands_below_it(rig: Rig) -> None:
    """And below the root where there is none."""
    found = writer(rig)
    events = EventSpans(found)
    assert found.root is found.current_context()
    span = open_event(events, "response.done")
    assert span is trace.get_current_span(found.current_context())
    events.end(START + 1)
    assert found.root is found.current_context()


def test_an_event_without_room_is_counted(rig: Rig) -> None:
    """One that reports a failure gets its span all the same."""
    found = writer(rig, 2)
    events = EventSpans(found)
    kinds = ["session.created", "rate_limits.updated", "error", "response.done"]
    spans = [open_event(events, kind) for kind in kinds]
    assert [True, False, True, False] == [span is not None for span in spans]
    assert 2 == events.dropped


@pytest.mark.parametrize(
    ("at_ns", "end_ns"),
    [(START + 5, START + 5), (START + 1, START + 1), (START, START + 1), (0, START + 1)],
)
def test_a_span_has_a_length(rig: Rig, at_ns: int, end_ns: int) -> None:
    """However late it was started: a viewer warns of one without."""
    span = rig.ours.start_span("a", start_time=START)
    finish(span, at_ns)
    assert isinstance(span, ReadableSpan)
    assert end_ns == span.end_time


def test_a_span_of_another_sdk_ends_as_well() -> None:
    """It need not tell its start."""
    finish(NonRecordingSpan(SpanContext(1, 2, False)), 5)
