"""Decides which spans belong to a conversation, whichever instrumentation started them.

A span is a member if its parent is one (spans of other instrumentations included), if it is in the
trace the conversation started, or if it has no parent and was started in a context that names the
conversation. In ambient mode the trace is the app's own, so only descendants of the root count::

    parent is a member ----------------------------> member
    parent unknown, in a trace we started ---------> member, child of the root
    no parent, conversation in the context --------> member, child of the root
    no parent, started by tool-running code -------> member, child of the tool
    anything else ---------------------------------> not a member

Members are kept in a table and not only as attributes: a span with more than 128 attributes drops
those that were set first (https://opentelemetry.io/docs/specs/otel/common/#attribute-limits), and
our exporter restores them from the table. Each backend decides which attributes it writes on
members (``Membership.member``); without a backend, members carry their thread and their leg.

The processor runs synchronously on the app's task or thread for every span of the process
(https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-processor). Without a live conversation it
costs one check of an empty table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext

from otel_realtime.attributes import (
    ERROR_TYPE,
    KIND_CHAIN,
    KIND_TOOL,
    LEG,
    LS_KIND,
    LS_THREAD_ID,
    WRITTEN,
)
from otel_realtime.credentials import without_secrets
from otel_realtime.diagnostics import logger_of
from otel_realtime.interrupts import let_through
from otel_realtime.tracing.run_metadata import RunMetadata

if TYPE_CHECKING:
    from opentelemetry.trace import Span as ApiSpan

    from otel_realtime.core.protocol.redaction import ContentPolicy

logger = logger_of(__name__)

#: Context key of the ``Membership`` of the conversation that the code runs for. ``create_key`` makes
#: it unique: https://opentelemetry.io/docs/specs/otel/context/#create-a-key
CONVERSATION_KEY: Final = context_api.create_key("otel_realtime.conversation")
#: Prefix of the names of our instrumentation scopes.
OUR_SCOPE: Final = "otel_realtime"
#: Writes a journal record: its kind, and its data as JSON values.
Note = Callable[[str, Mapping[str, Any]], None]
#: Finds the parent of a span that was started without one.
FindParent = Callable[[Span], SpanContext | None]
#: Receives the ids of spans that are stored on disk from now on.
Stored = Callable[[Sequence[int]], None]


class WriterContext(Context):
    """A context in which only ``SpanWriter`` starts spans, so that they are certainly members.

    ``SpanWriter`` sets the attributes that ``MembershipProcessor`` sets on others, and journals its spans.

    Attributes:
        above: span id of the parent.
    """

    def __init__(self, context: Context, above: int) -> None:
        super().__init__(context)
        self.above = above


class Outlet(Protocol):
    """Accepts the ended spans that this process delivers itself."""

    def put(self, span: ReadableSpan, member: Member, /) -> bool:
        """Enqueue a span without blocking; return ``False`` if it is lost."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class Membership:
    """What all spans of one conversation have in common.

    Attributes:
        root_span_id: OTel span id of the root.
        trace_id: OTel trace id.
        start_ns: start of the root, epoch ns.
        thread_id: the conversation's thread.
        leg: value of ``otel_realtime.langsmith.leg``.
        ambient: the root is a child of a span of the app, so the trace also contains other spans.
        outlet: accepts the ended spans; ``None`` if this process delivers none of them itself.
        delivered_mark: attribute (key, value) of a root that the backend receives another way; a
            root that carries it is not put into the outlet.
        note: writes to the conversation's journal; ``None`` without a journal.
        stored: called by the outlet with the spans that are on disk, so that a recovery recreates
            only the others; ``None`` without a journal.
        linked: the spans that we start carry ``Member.links`` themselves; ``False``: there are no
            links, or only the copies that this process delivers need them.
        about: metadata that LangSmith's views need on every run.
        responses: ids of the Realtime responses, to recognise spans that other instrumentations
            make of the same responses.
        span_ids: members in the order they were started.
        forgotten: the conversation is closed and delivered; only open spans are still kept.
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
    stored: Stored | None = field(default=None, repr=False)
    linked: bool = False
    about: RunMetadata = field(default_factory=RunMetadata, repr=False)
    responses: set[str] = field(default_factory=set)
    span_ids: list[int] = field(default_factory=list, repr=False)
    forgotten: bool = False

    def member(self, span_id: int, start_ns: int, parent: Member | None) -> Member:
        """Return a new member for a span.

        Args:
            span_id: OTel span id.
            start_ns: start of the span, epoch ns.
            parent: member of the parent span; ``None`` for the root.
        """
        return Member(self, span_id, parent)

    def attributes(self) -> dict[str, str]:
        """Return the attributes that every span of the conversation carries."""
        return {LS_THREAD_ID: self.thread_id, LEG: self.leg}

    def restrict(self, policy: ContentPolicy) -> None:
        """Handle a content policy that has become stricter; a backend may override this."""

    def start_at(self, start_ns: int) -> None:
        """Move the start of the conversation; allowed only before a span starts below the root.

        Args:
            start_ns: new start, epoch ns.
        """
        self.start_ns = start_ns


class Member:
    """One span of a conversation.

    Attributes:
        membership: the conversation.
        span_id: OTel span id.
        parent: member of the parent span; ``None`` for the root.
        children: number of members in the table whose parent it is.
        ended: the span has ended.
        noted: the journal has a record of the span's start.
    """

    __slots__ = ("children", "ended", "membership", "noted", "parent", "span_id")

    def __init__(self, membership: Membership, span_id: int, parent: Member | None) -> None:
        self.membership = membership
        self.span_id = span_id
        self.parent = parent
        self.children = 0
        self.ended = False
        self.noted = False

    def attributes(self) -> dict[str, str]:
        """Return the attributes that the span must have when it is delivered."""
        return self.membership.attributes()

    def links(self) -> dict[str, str]:
        """Return the attributes that differ from span to span: links to other runs."""
        return {}


class MemberTable:
    """Members of the process's conversations by span id; thread-safe.

    Writers hold a lock. Readers do not: a look-up in a ``dict`` is atomic in CPython, and every span
    of the process makes one.
    """

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget everything: a conversation belongs to the process that opened it."""
        self._lock = threading.Lock()
        # A span that is recorded but not sampled is never exported. It maps to the nearest member
        # above it, so that its children get a parent that exists.
        self._members: dict[int, Member] = {}
        self._traces: dict[int, Membership] = {}

    def __len__(self) -> int:
        return len(self._members)

    def get(self, span_id: int) -> Member | None:
        """Return the member of a span; ``None`` if it belongs to no conversation."""
        return self._members.get(span_id)

    def by_trace(self, trace_id: int) -> Membership | None:
        """Return the conversation that started this OTel trace; never an ambient one."""
        return self._traces.get(trace_id)

    def add(self, span_id: int, member: Member) -> None:
        """Keep a member until its conversation is forgotten and its span has ended."""
        membership, parent = member.membership, member.parent
        with self._lock:
            if span_id in self._members:  # a span that restarts may have another parent now
                _lose_child(span_id, self._members[span_id])
            if parent is not None and member.span_id == span_id:
                parent.children += 1
            self._members[span_id] = member
            membership.span_ids.append(span_id)
            if span_id == membership.root_span_id and not membership.ambient:
                self._traces[membership.trace_id] = membership

    def ended(self, span_id: int, member: Member) -> None:
        """Note the end of a span; drop it if its conversation is already forgotten."""
        with self._lock:
            if member.span_id == span_id:  # not for an unsampled span, which maps to its parent
                member.ended = True
            if member.membership.forgotten:
                self._members.pop(span_id, None)

    def discard(self, span_id: int) -> None:
        """Drop a span that is never ended and therefore never exported."""
        with self._lock:
            member = self._members.pop(span_id, None)
            _lose_child(span_id, member)
        _note_discarded(span_id, member)

    def renounce(self, span_id: int) -> None:
        """Note that a span will probably be discarded; until then it may still get children."""
        _note_discarded(span_id, self._members.get(span_id))

    def forget(self, membership: Membership) -> None:
        """Drop a closed conversation; keep spans that are still open until they end.

        A span of the app may outlive the call, and its end must still find its member. The root has
        ended even if no processor saw it end: a provider of another SDK has no processor of ours.
        """
        with self._lock:
            membership.forgotten = True
            membership.note = membership.stored = None
            if self._traces.get(membership.trace_id) is membership:
                del self._traces[membership.trace_id]
            for span_id in membership.span_ids:
                member = self._members.get(span_id)
                if member is None or member.membership is not membership:
                    continue
                if member.ended or member.span_id != span_id or member.parent is None:
                    del self._members[span_id]
            membership.span_ids.clear()


def _lose_child(span_id: int, member: Member | None) -> None:
    """Count a span no longer as a child; one that maps to its parent's member never counted."""
    if member is not None and member.span_id == span_id and member.parent is not None:
        member.parent.children -= 1


def _note_discarded(span_id: int, member: Member | None) -> None:
    """Journal that a span was discarded; otherwise a recovery treats it as left open by a crash."""
    if member is not None and member.noted and member.membership.note is not None:
        member.noted = False
        note = {"span": f"{span_id:016x}", "at": member.membership.start_ns, "discarded": True}
        member.membership.note("end", note)


#: The members of this process.
TABLE: Final = MemberTable()


def admit_root(span: Span, membership: Membership, table: MemberTable = TABLE) -> None:
    """Add a root as the first member, so that its descendants are recognised from now on.

    The processor cannot do it: when the root starts, its ``Membership`` does not exist yet.
    """
    root = membership.member(membership.root_span_id, membership.start_ns, None)
    table.add(membership.root_span_id, root)
    span.set_attributes({**root.attributes(), LS_KIND: KIND_CHAIN})


class MembershipProcessor(SpanProcessor):
    """Finds the members among a provider's spans, and enqueues the ended ones for delivery.

    Args:
        flush: delivers the contents of the outlets within the given seconds; returns whether all of
            it was accepted.
        find_parent: finds the parent of a span that code running a tool started without a parent.
        table: table of members.
        exit_timeout_s: longest wait for delivery when the provider shuts down.
    """

    def __init__(
        self,
        flush: Callable[[float], bool] | None = None,
        *,
        find_parent: FindParent | None = None,
        table: MemberTable = TABLE,
        exit_timeout_s: float = 10.0,
    ) -> None:
        self._flush = flush
        self._find_parent = find_parent
        self._table = table
        self._exit_timeout_s = exit_timeout_s
        self._inert = False

    def deactivate(self) -> None:
        """Ignore all spans from now on; OpenTelemetry cannot remove a processor."""
        self._inert = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add a span that belongs to a conversation; called on the thread that starts it."""
        if self._inert or not self._table:
            return
        try:
            self._started(span, parent_context)
        except BaseException as error:
            let_through(error)
            logger.debug("cannot assign a span to its conversation; it is left out", exc_info=True)

    def on_end(self, span: ReadableSpan) -> None:
        """Enqueue a member for delivery; called on the thread that ends it."""
        if not self._table:
            return
        try:
            self._ended(span)
        except BaseException as error:
            let_through(error)
            logger.debug("cannot enqueue a span for delivery to LangSmith", exc_info=True)

    def shutdown(self) -> None:
        """Deliver the enqueued spans within a bounded time, and ignore all spans from then on."""
        if not self._inert:
            self._inert = True
            if self._flush is not None:
                self._flush(self._exit_timeout_s)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver the enqueued spans.

        Args:
            timeout_millis: longest wait in ms.

        Returns:
            ``True`` only if everything enqueued before the call was accepted.
        """
        if self._inert or self._flush is None:
            return True
        return self._flush(timeout_millis / 1000)

    def _started(self, span: Span, parent_context: Context | None) -> None:
        written = parent_context if isinstance(parent_context, WriterContext) else None
        parent = None if written is None else self._table.get(written.above)
        parent = parent or self._nearest_member(span.parent, parent_context)
        # Code that passes a context without a span wants a separate trace.
        if parent is None and span.parent is None and parent_context is None and self._find_parent:
            above = self._find_parent(span)
            parent = None if above is None else adopt(span, above, self._table)
        if parent is None:
            return
        context = span.context
        span_id = context.span_id
        if not context.trace_flags.sampled:  # RECORD_ONLY: processors see it, exporters do not
            self._table.add(span_id, parent)
            return
        membership, member = parent.membership, self._table.get(span_id)
        if member is None:  # otherwise a recovery recreates the span, and the member stays
            member = membership.member(span_id, int(span.start_time or 0), parent)
            self._table.add(span_id, member)
        if written is not None:
            if membership.linked:
                span.set_attributes(member.links())
            return
        attributes = member.attributes()
        # LangSmith derives the run type of other instrumentations' spans from their own attributes.
        if LS_KIND not in (span.attributes or ()) and _is_ours(span):
            attributes[LS_KIND] = KIND_CHAIN
        span.set_attributes(attributes)
        if membership.note is not None:
            member.noted = note_start(membership.note, span, membership)

    def _nearest_member(self, parent: SpanContext | None, context: Context | None) -> Member | None:
        """Return the nearest member above a starting span; ``None`` if it is in no conversation."""
        if parent is not None:
            member = self._table.get(parent.span_id)
            if member is not None:
                return member
            # The parent is in our trace, but this processor never saw it: unsampled, or of another process.
            membership = self._table.by_trace(parent.trace_id)
            if membership is not None:
                return self._table.get(membership.root_span_id)
            return None  # the child of a span outside the conversation
        current = context_api.get_value(CONVERSATION_KEY, context)
        return self._table.get(current.root_span_id) if isinstance(current, Membership) else None

    def _ended(self, span: ReadableSpan) -> None:
        context = span.context
        member = self._table.get(context.span_id) if context is not None else None
        if context is None or member is None:
            return
        self._table.ended(context.span_id, member)
        if self._inert:  # deactivated while the span was open
            return
        membership = member.membership
        if member.noted and membership.note is not None and member.span_id == context.span_id:
            membership.note("end", _end_of(span))
        if membership.outlet is None or not context.trace_flags.sampled:
            return
        if context.span_id == membership.root_span_id and _has_mark(span, membership):
            return
        membership.outlet.put(span, member)


def adopt(span: Span, above: SpanContext, table: MemberTable = TABLE) -> Member | None:
    """Put a span that starts without a parent below another span, in the other span's trace.

    When processors see the span, the SDK has already chosen a trace for it and offers no way to change
    that, so its private fields are set before anything reads them.

    Args:
        span: the span; called from ``SpanProcessor.on_start``.
        above: the parent, a member.
        table: table of members.

    Returns:
        The parent's member; ``None`` if the span stays where it is, because the parent is not a
        member, the span is not exported, or it is a span of another SDK.
    """
    parent, own = table.get(above.span_id), span.get_span_context()
    if parent is None or not own.trace_flags.sampled:
        return None
    if not (hasattr(span, "_context") and hasattr(span, "_parent")):
        return None
    span._context = SpanContext(
        above.trace_id, own.span_id, False, own.trace_flags, above.trace_state
    )
    span._parent = above
    return parent


def note_tool(span: ApiSpan, table: MemberTable = TABLE) -> None:
    """Journal the start of a tool span that ``SpanWriter`` started."""
    span_id = span.get_span_context().span_id
    member = table.get(span_id)
    if member is not None and member.span_id == span_id and member.membership.note is not None:
        member.noted = note_start(member.membership.note, cast("Span", span), member.membership)


def note_again(span: ApiSpan, table: MemberTable = TABLE) -> None:
    """Journal the start of a span again after the span has changed; the latest record applies."""
    member = table.get(span.get_span_context().span_id)
    if member is not None and member.noted and member.membership.note is not None:
        note_start(member.membership.note, cast("Span", span), member.membership)


def note_start(note: Note, span: Span, membership: Membership) -> bool:
    """Journal the start of a span that may stay open for long: a tool's, or one of the app's own.

    Recovery recreates such a span with the same id if the process dies before it ends. Our other
    spans need no record: the journal has the events themselves, and spans of model calls are
    written complete. Attributes of other instrumentations' spans are not stored, because it is not
    known whether they may be.

    Returns:
        Whether a record was written.
    """
    ours, attributes = _is_ours(span), span.attributes or {}
    if ours and attributes.get(LS_KIND) != KIND_TOOL:
        return False
    context, parent = span.get_span_context(), span.parent
    if parent is None or context.trace_id != membership.trace_id:  # a trace of its own
        return False
    note(
        "span",
        {
            "span": f"{context.span_id:016x}",
            "parent": f"{parent.span_id:016x}",
            # Other instrumentations may name a span after a URL.
            "name": span.name if ours else without_secrets(span.name),
            "at": span.start_time,
            "kind": span.kind.name,
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "attributes": dict(attributes) if ours else {},
        },
    )
    return True


def _end_of(span: ReadableSpan) -> dict[str, Any]:
    """Return the record of a span's end, with what a recovery needs to recreate one of ours."""
    assert span.context is not None
    record: dict[str, Any] = {"span": f"{span.context.span_id:016x}", "at": span.end_time}
    if _is_ours(span):
        # Only the attributes we write: it is not known whether those of the app may be stored.
        attributes = {
            key: value
            for key, value in (span.attributes or {}).items()
            if key == ERROR_TYPE or key.startswith(WRITTEN)
        }
        record["name"], record["attributes"] = span.name, attributes
        if ERROR_TYPE in attributes:
            record["error"] = span.status.description or ""
    return record


def _is_ours(span: ReadableSpan) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and scope.name.startswith(OUR_SCOPE)


def _has_mark(span: ReadableSpan, membership: Membership) -> bool:
    mark, attributes = membership.delivered_mark, span.attributes
    return mark is not None and attributes is not None and attributes.get(mark[0]) == mark[1]
