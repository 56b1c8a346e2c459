"""The spans that were open when a process died, made again with the ids they had.

Their children may have been exported long ago and name them as parents. Spans that were not
started yet (model calls that had not settled) get ids derived from the root's, so a recovery
that is done twice makes the same spans twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from otel_realtime import attributes as names
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.langsmith.runs import RunClosing, RunOpening
from otel_realtime.langsmith.stamping import (
    ConversationProcessor,
    Stamp,
    StampTable,
    TraceStamp,
    stamp_root,
)
from otel_realtime.recovery.replay import DIED, OpenSpan, Replayed
from otel_realtime.tracing import describe
from otel_realtime.tracing import root as root_facts
from otel_realtime.tracing.closing import Closing, run_opening
from otel_realtime.tracing.root import Ending
from otel_realtime.tracing.spans import ConversationSpans, fail
from otel_realtime.version import VERSION

_SCOPE: Final = "otel_realtime"
_ROOM: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What is left to be delivered of one conversation.

    Attributes:
        root: the OTel root, marked as delivered by the runs API if it is.
        below: the other spans with their places in LangSmith.
        root_stamp: the root's place.
        opening: the root run as it was posted.
        closing: its end.
    """

    root: ReadableSpan
    below: list[tuple[ReadableSpan, Stamp]]
    root_stamp: Stamp
    opening: RunOpening
    closing: RunClosing

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans, the root last."""
        return [*(span for span, _ in self.below), self.root]


class _Ids(IdGenerator):
    """Hands out the ids that are to be used again, else ids derived from the root's."""

    def __init__(self, found: Replayed) -> None:
        self.next: int | None = None
        self._trace_id = found.header.trace_id
        self._seed = f"{found.header.trace_id:032x}{found.header.root_span_id:016x}"
        self._made = 0

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        again, self.next = self.next, None
        if again is not None:
            return again
        self._made += 1
        digest = hashlib.sha256(f"{self._seed}{self._made}".encode()).digest()
        return int.from_bytes(digest[:8], "big") or 1


class _Collector(SpanProcessor):
    """Keeps what ended."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class _Builder:
    def __init__(self, found: Replayed) -> None:
        header = found.header
        self._found = found
        self._ids, self._table, self._collector = _Ids(found), StampTable(), _Collector()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource(header.resource),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(ConversationProcessor(table=self._table))
        self._provider.add_span_processor(self._collector)
        self._stamp = TraceStamp(
            root_span_id=header.root_span_id,
            trace_id=header.trace_id,
            root_run_id=header.run_id,
            dotted_order=header.dotted_order,
            start_ns=header.start_ns,
            project=header.project,
            thread_id=header.who.thread_id,
            leg=header.leg,
            explicit=header.by_runs_api,
            ambient=header.ambient,
        )

    def build(self, *, marked: bool) -> Rebuilt:
        found, header = self._found, self._found.header
        root = self._root()
        root_stamp = self._table.get(header.root_span_id)
        assert root_stamp is not None
        if found.ending is None:
            self._below(root)
        closing = self._closing()
        closing.end(root, marked=marked)
        below = []
        for span in self._collector.ended:
            context = span.get_span_context()
            stamp = self._table.get(context.span_id) if context is not None else None
            if stamp is not None and stamp is not root_stamp:
                below.append((span, stamp))
        opening = run_opening(
            header.who,
            run_id=header.run_id,
            dotted_order=header.dotted_order,
            start_ns=header.start_ns,
            project=header.project,
            trace_id=f"{header.trace_id:032x}",
        )
        return Rebuilt(self._collector.ended[-1], below, root_stamp, opening, closing.run())

    def _root(self) -> Span:
        header, who = self._found.header, self._found.header.who
        above = self._above()
        attributes = root_facts.opening_attributes(who, VERSION)
        attributes[names.LS_THREAD_ID] = who.thread_id
        attributes[names.LEG] = header.leg
        nested = header.ambient and above is not None
        self._ids.next = header.root_span_id
        root = self._tracer(_SCOPE).start_span(
            names.ROOT_NAME,
            context=_under(above) if nested and above is not None else Context(),
            attributes=attributes,
            links=[Link(above)] if above is not None and not nested else (),
            start_time=header.start_ns,
        )
        stamp_root(cast("SdkSpan", root), self._stamp, self._table)
        return root

    def _above(self) -> SpanContext | None:
        """The caller's span."""
        who = self._found.header.who
        if who.parent_trace_id is None or who.parent_span_id is None:
            return None
        return _context(int(who.parent_trace_id, 16), int(who.parent_span_id, 16))

    def _tracer(self, scope: str) -> Tracer:
        version = VERSION if scope == _SCOPE else None
        return self._provider.get_tracer(scope, version)

    # -- below the root --------------------------------------------------------------------------

    def _below(self, root: Span) -> None:
        found, end_ns = self._found, self._found.end.at_ns
        self._responses(root)
        # Children end before their parents, as they would have.
        opened: list[Span] = []
        if found.event is not None:
            opened.append(self._event(root))
        for one in found.spans.values():
            span = self._again(one)
            fail(span, DIED, max(end_ns, one.start_ns))
            opened.append(span)
        for span in reversed(opened):
            span.end(max(end_ns, getattr(span, "start_time", None) or end_ns))

    def _responses(self, root: Span) -> None:
        """Model calls that had not been written."""
        found, header = self._found, self._found.header
        spans = ConversationSpans(
            self._tracer(_SCOPE),
            root,
            self._stamp,
            policy=header.policy,
            provider=header.who.provider,
            payload_limit=header.payload_limit,
            span_limit=_ROOM,
        )
        for response in found.state.remaining():
            spans.inference(response, found.state, found.sound, found.end.at_ns)

    def _event(self, root: Span) -> Span:
        event = self._found.event
        assert event is not None
        policy = self._found.header.policy
        self._ids.next = event.span_id
        span = self._tracer(_SCOPE).start_span(
            event.event["type"],
            context=set_span_in_context(root, Context()),
            attributes=describe.event_attributes(
                event.event, event.payload, event.moment.t, event.turn
            ),
            start_time=event.moment.at_ns,
        )
        failure = describe.event_failure(event.event, policy)
        if failure is not None:
            fail(span, failure, event.moment.at_ns)
        return span

    def _again(self, one: OpenSpan) -> Span:
        self._stamp_of(one.parent_id)
        self._ids.next = one.span_id
        return self._tracer(one.scope).start_span(
            one.name,
            context=_under(_context(self._stamp.trace_id, one.parent_id)),
            kind=SpanKind.__members__.get(one.kind, SpanKind.INTERNAL),
            attributes=cast("dict[str, Any]", one.attributes),
            start_time=one.start_ns,
        )

    def _stamp_of(self, span_id: int) -> Stamp | None:
        """Know a span's place in LangSmith, and those of the spans above it."""
        known = self._table.get(span_id)
        place = self._found.places.get(span_id)
        if known is not None or place is None:
            return known
        parent_id, start_ns = place
        above = self._stamp_of(self._stamp.root_span_id if parent_id is None else parent_id)
        if above is None:
            return None
        own = run_id(span_id)
        order = dotted_order(start_ns, own, above.dotted_order)
        stamp = Stamp(self._stamp, own, above.run_id, order)
        self._table.add(span_id, stamp)
        return stamp

    # -- the root's end --------------------------------------------------------------------------

    def _closing(self) -> Closing:
        found, header = self._found, self._found.header
        return Closing(
            who=header.who,
            trace_id=f"{header.trace_id:032x}",
            start_ns=header.start_ns,
            state=found.state,
            sound=found.sound,
            tally=root_facts.tally(found.state, found.sound),
            ending=found.ending or Ending(by_client=False, failure=DIED),
            moment=found.end,
            policy=header.policy,
            dropped=found.dropped,
            records=header.records,
            leg=header.leg,
            by_runs_api=header.by_runs_api,
            refused=False,
            limit=header.payload_limit,
        )


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))


def _under(above: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(above), Context())


def rebuild(found: Replayed, *, marked: bool) -> Rebuilt:
    """Make what is left to be delivered of a conversation.

    Args:
        found: the conversation.
        marked: LangSmith gets the root run by the runs API.
    """
    return _Builder(found).build(marked=marked)
