"""Marks every span of a conversation so that LangSmith finds its run, parent and thread.

A span belongs to a conversation when its parent does (other instrumentations' spans included),
when it stands in the trace the conversation started, or when the conversation stands in the
context it was started from. In ambient mode the trace is the app's own, so only descendants of
the root count. One global table remembers the stamp of each span, because a span with more than
128 attributes loses those that were set first; the exporter puts them back from the table.

The processor is on the app's task for every span of the process: without a live conversation it
costs one look at an empty table.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import context as context_api
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_realtime.attributes import (
    KIND_CHAIN,
    KIND_TOOL,
    LEG,
    LEG_DIRECT,
    LS_DOTTED_ORDER,
    LS_KIND,
    LS_PARENT_ID,
    LS_PROJECT,
    LS_SPAN_ID,
    LS_THREAD_ID,
    LS_TRACE_ID,
    ROOT_BY_RUNS_API,
    ROOT_MARKER,
)
from otel_realtime.langsmith.ids import dotted_order, run_id

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

logger = logging.getLogger(__name__)

#: Context key whose value is the TraceStamp of the conversation the code runs for.
CONVERSATION_KEY: Final = context_api.create_key("otel_realtime.conversation")
OUR_SCOPE: Final = "otel_realtime"
Note = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True, kw_only=True, eq=False)
class TraceStamp:
    """What all spans of one conversation share.

    Attributes:
        root_span_id: the OTel root's span id.
        trace_id: the OTel trace id.
        root_run_id: LangSmith's id of the root run and of the trace.
        dotted_order: the root run's place.
        start_ns: the root's start, epoch ns.
        project: LangSmith's project name.
        thread_id: the conversation's thread.
        leg: who may deliver the spans to LangSmith.
        explicit: write LangSmith's ids (the root run goes by the runs API).
        ambient: the root is a child of the app's span, so the trace has other spans too.
        note: writes to the conversation's journal; None without one.
        responses: ids of the Realtime responses; other instrumentations' usage for them is
            dropped on the way to LangSmith, where it would count twice.
    """

    root_span_id: int
    trace_id: int
    root_run_id: str
    dotted_order: str
    start_ns: int
    project: str
    thread_id: str
    leg: str
    explicit: bool
    ambient: bool = False
    note: Note | None = field(default=None, repr=False)
    responses: set[str] = field(default_factory=set)
    span_ids: list[int] = field(default_factory=list, repr=False)
    forgotten: bool = False

    @classmethod
    def of(
        cls,
        root: Span,
        *,
        project: str,
        thread_id: str,
        leg: str,
        explicit: bool,
        ambient: bool = False,
    ) -> TraceStamp:
        """Make the stamp of a root span that has just been started."""
        context = root.get_span_context()
        own, start_ns = run_id(context.span_id), root.start_time or 0
        return cls(
            root_span_id=context.span_id,
            trace_id=context.trace_id,
            root_run_id=own,
            dotted_order=dotted_order(start_ns, own),
            start_ns=start_ns,
            project=project,
            thread_id=thread_id,
            leg=leg,
            explicit=explicit,
            ambient=ambient,
        )


class Stamp:
    """One span's place in LangSmith: its run, the run above it, and its dotted order."""

    __slots__ = ("dotted_order", "ended", "noted", "parent_run_id", "run_id", "trace")

    def __init__(
        self, trace: TraceStamp, run_id: str, parent_run_id: str | None, dotted_order: str
    ) -> None:
        self.trace = trace
        self.run_id = run_id
        self.parent_run_id = parent_run_id
        self.dotted_order = dotted_order
        self.ended = False
        self.noted = False  # the journal knows of it

    @property
    def is_root(self) -> bool:
        """Tell whether this is the conversation's root."""
        return self.parent_run_id is None

    def attributes(self) -> dict[str, str]:
        """Return what the span must carry, whatever else it has lost."""
        trace = self.trace
        if not trace.explicit:
            return {LS_THREAD_ID: trace.thread_id, LEG: trace.leg}
        written = {
            LS_TRACE_ID: trace.root_run_id,
            LS_SPAN_ID: self.run_id,
            LS_DOTTED_ORDER: self.dotted_order,
            LS_PROJECT: trace.project,
            LS_THREAD_ID: trace.thread_id,
            LEG: trace.leg,
        }
        if self.parent_run_id is not None:
            written[LS_PARENT_ID] = self.parent_run_id
        return written


class StampTable:
    """Stamps by span id, for the conversations that are not forgotten; safe from any thread."""

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget everything: a conversation belongs to the process that opened it."""
        self._lock = threading.Lock()
        self._stamps: dict[int, Stamp] = {}
        self._traces: dict[int, TraceStamp] = {}

    def __len__(self) -> int:
        return len(self._stamps)

    def get(self, span_id: int) -> Stamp | None:
        """Return the stamp of a span, None when it belongs to no conversation."""
        return self._stamps.get(span_id)

    def trace(self, trace_id: int) -> TraceStamp | None:
        """Return the conversation that started this OTel trace, never an ambient one."""
        return self._traces.get(trace_id)

    def add(self, span_id: int, stamp: Stamp) -> None:
        """Remember a span until its conversation is forgotten and the span has ended."""
        with self._lock:
            self._stamps[span_id] = stamp
            stamp.trace.span_ids.append(span_id)
            if stamp.is_root and not stamp.trace.ambient:
                self._traces[stamp.trace.trace_id] = stamp.trace

    def ended(self, span_id: int, stamp: Stamp) -> None:
        """Note a span's end; the last trace of it when the conversation is forgotten."""
        with self._lock:
            stamp.ended = True
            if stamp.trace.forgotten:
                self._stamps.pop(span_id, None)

    def discard(self, span_id: int) -> None:
        """Let go of a span that is given up: it will not end, and nobody gets it."""
        with self._lock:
            stamp = self._stamps.pop(span_id, None)
        if stamp is not None and stamp.noted and stamp.trace.note is not None:
            stamp.trace.note("end", {"span": f"{span_id:016x}", "at": stamp.trace.start_ns})

    def forget(self, trace: TraceStamp) -> None:
        """Let go of a closed conversation; spans still open are kept until they end."""
        with self._lock:
            trace.forgotten = True
            trace.note = None
            if self._traces.get(trace.trace_id) is trace:
                del self._traces[trace.trace_id]
            for span_id in trace.span_ids:
                stamp = self._stamps.get(span_id)
                if stamp is not None and stamp.trace is trace and stamp.ended:
                    del self._stamps[span_id]
            trace.span_ids.clear()


TABLE: Final = StampTable()


def stamp_root(span: Span, trace: TraceStamp, table: StampTable = TABLE) -> None:
    """Mark a conversation's root and make its descendants known from now on."""
    stamp = Stamp(trace, trace.root_run_id, None, trace.dotted_order)
    table.add(trace.root_span_id, stamp)
    attributes = stamp.attributes()
    attributes[LS_KIND] = KIND_CHAIN
    span.set_attributes(attributes)


def forget(trace: TraceStamp, table: StampTable = TABLE) -> None:
    """Let go of a conversation after its root has ended."""
    table.forget(trace)


class Outlet(Protocol):
    """Where ended spans of leg ``direct`` go."""

    def put(self, span: ReadableSpan, stamp: Stamp) -> bool: ...

    def flush(self, timeout_s: float) -> bool: ...


class ConversationProcessor(SpanProcessor):
    """Stamps the spans of conversations and hands those of leg ``direct`` to our exporter.

    Args:
        outlet: takes the spans this process delivers itself; None when it delivers none. May be
            replaced later through the attribute of the same name.
        table: where stamps are kept.
        exit_timeout_s: longest wait for delivery when the provider is shut down.
    """

    def __init__(
        self,
        outlet: Outlet | None = None,
        *,
        table: StampTable = TABLE,
        exit_timeout_s: float = 10.0,
    ) -> None:
        self.outlet = outlet
        self._table = table
        self._exit_timeout_s = exit_timeout_s
        self._inert = False

    def deactivate(self) -> None:
        """Do nothing from now on; OpenTelemetry has no way to remove a processor."""
        self._inert = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span that belongs to a conversation."""
        if self._inert or not self._table:
            return
        try:
            self._stamp(span, parent_context)
        except Exception:
            logger.debug("a span could not be stamped", exc_info=True)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span of leg ``direct`` for delivery."""
        if self._inert or not self._table:
            return
        try:
            self._ended(span)
        except Exception:
            logger.debug("a span could not be queued for LangSmith", exc_info=True)

    def shutdown(self) -> None:
        """Deliver what is queued, for a bounded time, and become inert."""
        if not self._inert:
            self._inert = True
            if self.outlet is not None:
                self.outlet.flush(self._exit_timeout_s)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True only if LangSmith accepted all spans queued before."""
        if self._inert or self.outlet is None:
            return True
        return self.outlet.flush(timeout_millis / 1000)

    def _stamp(self, span: Span, parent_context: Context | None) -> None:
        above = self._above(span.parent, parent_context)
        if above is None:
            return
        trace, context = above.trace, span.get_span_context()
        if not context.trace_flags.sampled:
            # Recorded but never exported: what is below it hangs under the run above it.
            alias = Stamp(trace, above.run_id, above.parent_run_id or "", above.dotted_order)
            self._table.add(context.span_id, alias)
            return
        own = run_id(context.span_id)
        order = dotted_order(int(span.start_time or 0), own, above.dotted_order)
        stamp = Stamp(trace, own, above.run_id, order)
        self._table.add(context.span_id, stamp)
        attributes = stamp.attributes()
        if LS_KIND not in (span.attributes or ()) and _is_ours(span):
            attributes[LS_KIND] = KIND_CHAIN
        span.set_attributes(attributes)
        if trace.note is not None:
            stamp.noted = _note_start(trace.note, span, stamp)

    def _above(self, parent: SpanContext | None, context: Context | None) -> Stamp | None:
        """Return the stamp of the nearest span above that LangSmith gets."""
        if parent is not None:
            stamp = self._table.get(parent.span_id)
            if stamp is not None:
                return stamp
            trace = self._table.trace(parent.trace_id)
            if trace is not None:
                return self._table.get(trace.root_span_id)
            return None  # a child of something else, in a trace of its own
        current = context_api.get_value(CONVERSATION_KEY, context)
        return self._table.get(current.root_span_id) if isinstance(current, TraceStamp) else None

    def _ended(self, span: ReadableSpan) -> None:
        context = span.context
        stamp = self._table.get(context.span_id) if context is not None else None
        if context is None or stamp is None:
            return
        self._table.ended(context.span_id, stamp)
        if stamp.noted and stamp.trace.note is not None:
            stamp.trace.note("end", {"span": f"{context.span_id:016x}", "at": span.end_time})
        if stamp.trace.leg != LEG_DIRECT or not context.trace_flags.sampled:
            return
        if self.outlet is None or (stamp.is_root and _is_delivered_by_runs_api(span)):
            return
        self.outlet.put(span, stamp)


def _note_start(note: Note, span: Span, stamp: Stamp) -> bool:
    """Let the journal know of a span that stays open for long: a tool's, or the app's own.

    Spans of events are in the journal with their event, those of model calls are written only
    when they are over. What another instrumentation writes on its spans is its own affair.
    """
    ours, attributes = _is_ours(span), span.attributes or {}
    if ours and attributes.get(LS_KIND) != KIND_TOOL:
        return False
    context, parent = span.get_span_context(), span.parent
    if parent is None or context.trace_id != stamp.trace.trace_id:
        return False
    note(
        "span",
        {
            "span": f"{context.span_id:016x}",
            "parent": f"{parent.span_id:016x}",
            "name": span.name,
            "at": span.start_time,
            "kind": span.kind.name,
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "attributes": dict(attributes) if ours else {},
        },
    )
    return True


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name.startswith(OUR_SCOPE)


def _is_delivered_by_runs_api(span: ReadableSpan) -> bool:
    attributes = span.attributes
    return attributes is not None and attributes.get(ROOT_MARKER) == ROOT_BY_RUNS_API
