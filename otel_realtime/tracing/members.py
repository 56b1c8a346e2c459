"""Which spans belong to a conversation, whoever started them.

A span is a member when its parent is (other instrumentations' spans included), when it stands in the
trace the conversation started, or when the conversation stands in the context it was started from.
In ambient mode the trace is the app's own, so only descendants of the root count::

    parent is a member ----------------------------> member
    parent unknown, in a trace of ours ------------> member, below the root
    no parent, conversation in the context --------> member, below the root
    anything else ---------------------------------> not ours

One table remembers every member, because a span with more than 128 attributes loses those that were
set first; an exporter of ours puts them back. What a backend writes on members is its own affair
(``Membership.member``); a conversation without a backend's ids writes its thread and its leg.

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

from otel_realtime.attributes import KIND_CHAIN, KIND_TOOL, LEG, LS_KIND, LS_THREAD_ID

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

logger = logging.getLogger(__name__)

#: Context key whose value is the Membership of the conversation the code runs for.
CONVERSATION_KEY: Final = context_api.create_key("otel_realtime.conversation")
OUR_SCOPE: Final = "otel_realtime"
Note = Callable[[str, Mapping[str, Any]], None]


class Outlet(Protocol):
    """Takes the ended spans that this process delivers itself."""

    def put(self, span: ReadableSpan, member: Any, /) -> bool:
        """Queue a span; never blocks; False when it is lost."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Membership:
    """What all spans of one conversation share.

    Attributes:
        root_span_id: the OTel root's span id.
        trace_id: the OTel trace id.
        start_ns: the root's start, epoch ns.
        thread_id: the conversation's thread.
        leg: value of ``otel_realtime.langsmith.leg``.
        ambient: the root is a child of the app's span, so the trace has other spans too.
        outlet: takes the ended spans; None when this process delivers none of them itself.
        delivered_mark: attribute of a root that a backend got on another way; such a root does not
            go to the outlet.
        note: writes to the conversation's journal; None without one.
        responses: ids of the Realtime responses, to recognise other instrumentations' spans of them.
    """

    root_span_id: int
    trace_id: int
    start_ns: int
    thread_id: str
    leg: str
    ambient: bool = False
    outlet: Outlet | None = field(default=None, repr=False)
    delivered_mark: tuple[str, str] | None = None
    note: Note | None = field(default=None, repr=False)
    responses: set[str] = field(default_factory=set)
    span_ids: list[int] = field(default_factory=list, repr=False)
    forgotten: bool = False

    def member(self, span_id: int, start_ns: int, parent: Member | None) -> Member:
        """Make the member for a span that starts now; ``parent`` is None for the root."""
        return Member(self, span_id, parent)

    def start_at(self, start_ns: int) -> None:
        """Move the start, before any span below the root was started."""
        self.start_ns = start_ns


class Member:
    """One span of a conversation."""

    __slots__ = ("ended", "membership", "noted", "parent", "span_id")

    def __init__(self, membership: Membership, span_id: int, parent: Member | None) -> None:
        self.membership = membership
        self.span_id = span_id
        self.parent = parent
        self.ended = False
        #: The journal knows of it.
        self.noted = False

    def attributes(self) -> dict[str, str]:
        """Return what the span must carry, whatever else it has lost."""
        return {LS_THREAD_ID: self.membership.thread_id, LEG: self.membership.leg}


class MemberTable:
    """Members by span id, of the conversations that are not forgotten; thread-safe."""

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget everything: a conversation belongs to the process that opened it."""
        self._lock = threading.Lock()
        #: A span that is recorded but never exported stands for the member above it.
        self._members: dict[int, Member] = {}
        self._traces: dict[int, Membership] = {}

    def __len__(self) -> int:
        return len(self._members)

    def get(self, span_id: int) -> Member | None:
        """Return the member for a span, None when it belongs to no conversation."""
        return self._members.get(span_id)

    def started(self, trace_id: int) -> Membership | None:
        """Return the conversation that started this OTel trace, never an ambient one."""
        return self._traces.get(trace_id)

    def add(self, span_id: int, member: Member) -> None:
        """Remember a span until its conversation is forgotten and the span has ended."""
        membership = member.membership
        with self._lock:
            self._members[span_id] = member
            membership.span_ids.append(span_id)
            if span_id == membership.root_span_id and not membership.ambient:
                self._traces[membership.trace_id] = membership

    def ended(self, span_id: int, member: Member) -> None:
        """Note a span's end; it is dropped now if its conversation is forgotten."""
        with self._lock:
            if member.span_id == span_id:
                member.ended = True
            if member.membership.forgotten:
                self._members.pop(span_id, None)

    def discard(self, span_id: int) -> None:
        """Drop a span that will not end, and that nobody gets."""
        with self._lock:
            member = self._members.pop(span_id, None)
        if member is not None and member.noted and member.membership.note is not None:
            at_ns = member.membership.start_ns
            member.membership.note("end", {"span": f"{span_id:016x}", "at": at_ns})

    def forget(self, membership: Membership) -> None:
        """Drop a closed conversation; spans that are still open are kept until they end."""
        with self._lock:
            membership.forgotten = True
            membership.note = None
            if self._traces.get(membership.trace_id) is membership:
                del self._traces[membership.trace_id]
            for span_id in membership.span_ids:
                member = self._members.get(span_id)
                if member is None or member.membership is not membership:
                    continue
                if member.ended or member.span_id != span_id:
                    del self._members[span_id]
            membership.span_ids.clear()


TABLE: Final = MemberTable()


def admit_root(span: Span, membership: Membership, table: MemberTable = TABLE) -> None:
    """Make a root the first member: its descendants are known from now on."""
    root = membership.member(membership.root_span_id, membership.start_ns, None)
    table.add(membership.root_span_id, root)
    span.set_attributes({**root.attributes(), LS_KIND: KIND_CHAIN})


def has_children(span_id: int, table: MemberTable = TABLE) -> bool:
    """Return whether a span was started below this one; True when nothing is known of it."""
    own = table.get(span_id)
    if own is None:
        return True
    for later_id in reversed(own.membership.span_ids):
        if later_id == span_id:
            return False
        later = table.get(later_id)
        if later is not None and later.parent is own:
            return True
    return False


class MembershipProcessor(SpanProcessor):
    """Finds the members among the spans of one TracerProvider, and hands ended ones to their outlet.

    Args:
        flush: delivers what the outlets hold, in seconds at most; returns whether all was accepted.
        table: where members are kept.
        exit_timeout_s: longest wait for delivery when the provider is shut down.
    """

    def __init__(
        self,
        flush: Callable[[float], bool] | None = None,
        *,
        table: MemberTable = TABLE,
        exit_timeout_s: float = 10.0,
    ) -> None:
        self._flush = flush
        self._table = table
        self._exit_timeout_s = exit_timeout_s
        self._inert = False

    def deactivate(self) -> None:
        """Do nothing from now on; OpenTelemetry has no way to remove a processor."""
        self._inert = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Admit a span that belongs to a conversation."""
        if self._inert or not self._table:
            return
        try:
            self._started(span, parent_context)
        except Exception:
            logger.debug("cannot tell whether a span belongs to a conversation", exc_info=True)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand a member to its outlet."""
        if self._inert or not self._table:
            return
        try:
            self._ended(span)
        except Exception:
            logger.debug("cannot queue a span for delivery", exc_info=True)

    def shutdown(self) -> None:
        """Deliver what is queued, for a bounded time, and become inert."""
        if not self._inert:
            self._inert = True
            if self._flush is not None:
                self._flush(self._exit_timeout_s)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True only if everything queued before was accepted."""
        if self._inert or self._flush is None:
            return True
        return self._flush(timeout_millis / 1000)

    def _started(self, span: Span, parent_context: Context | None) -> None:
        above = self._above(span.parent, parent_context)
        if above is None:
            return
        membership, context = above.membership, span.get_span_context()
        if not context.trace_flags.sampled:
            self._table.add(context.span_id, above)
            return
        member = membership.member(context.span_id, int(span.start_time or 0), above)
        self._table.add(context.span_id, member)
        attributes = member.attributes()
        if LS_KIND not in (span.attributes or ()) and _is_ours(span):
            attributes[LS_KIND] = KIND_CHAIN
        span.set_attributes(attributes)
        if membership.note is not None:
            member.noted = _note_start(membership.note, span, membership)

    def _above(self, parent: SpanContext | None, context: Context | None) -> Member | None:
        """Return the nearest member above."""
        if parent is not None:
            member = self._table.get(parent.span_id)
            if member is not None:
                return member
            membership = self._table.started(parent.trace_id)
            if membership is not None:
                return self._table.get(membership.root_span_id)
            return None  # a child of something else, in a trace of its own
        current = context_api.get_value(CONVERSATION_KEY, context)
        return self._table.get(current.root_span_id) if isinstance(current, Membership) else None

    def _ended(self, span: ReadableSpan) -> None:
        context = span.context
        member = self._table.get(context.span_id) if context is not None else None
        if context is None or member is None:
            return
        self._table.ended(context.span_id, member)
        membership = member.membership
        if member.noted and membership.note is not None and member.span_id == context.span_id:
            membership.note("end", {"span": f"{context.span_id:016x}", "at": span.end_time})
        if membership.outlet is None or not context.trace_flags.sampled:
            return
        if context.span_id == membership.root_span_id and _has_mark(span, membership):
            return
        membership.outlet.put(span, member)


def _note_start(note: Note, span: Span, membership: Membership) -> bool:
    """Tell the journal of a span that stays open for long: a tool's, or the app's own.

    Spans of events are in the journal with their event, those of model calls are written only
    when they are over. What another instrumentation writes on its spans is its own affair.
    """
    ours, attributes = _is_ours(span), span.attributes or {}
    if ours and attributes.get(LS_KIND) != KIND_TOOL:
        return False
    context, parent = span.get_span_context(), span.parent
    if parent is None or context.trace_id != membership.trace_id:
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


def _has_mark(span: ReadableSpan, membership: Membership) -> bool:
    mark, attributes = membership.delivered_mark, span.attributes
    return mark is not None and attributes is not None and attributes.get(mark[0]) == mark[1]
