"""Starts and counts the spans below a root, and holds the span of the event being handled.

All times are explicit integers, epoch ns: one float start time fails the export of its whole batch.
Spans of model calls and transcriptions are written when they are complete, with their true start and
end, so a crash cannot leave them open.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer

from otel_realtime import attributes as names
from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tracing.activation import child_context
from otel_realtime.tracing.facts import Attributes, allowed, connection_facts
from otel_realtime.tracing.members import TABLE, Membership, WriterContext, note_tool
from otel_realtime.tracing.span_ids import chosen, derived_id, with_chosen_ids

#: Kinds of run that LangSmith's views use, besides the root.
_RUNS: Final = (names.KIND_LLM, names.KIND_TOOL)


class SpanWriter:
    """Starts the spans below one root; called with the conversation's lock held.

    Attributes:
        policy: which content may be stored; may become stricter.
        provider: the service that runs the model.
        conversation_id: the app's own id of the conversation; ``None`` if it gave none.
        limit: maximum characters of JSON per attribute.
        room: number of spans that still fit into the trace (``Settings.span_limit``).
        begun: a span has been started below the root.
        root: context for children of the root.
        event: span of the event that the app is handling; ``None`` in between.
        turn: turn of that event; 0 before the first.
    """

    def __init__(
        self,
        tracer: Tracer,
        root: Span,
        membership: Membership,
        *,
        policy: ContentPolicy,
        provider: Provider,
        payload_limit: int,
        span_limit: int,
        conversation_id: str | None = None,
    ) -> None:
        self.policy = policy
        self.provider = provider
        self.conversation_id = conversation_id
        self.limit = payload_limit
        self.room = span_limit - 1  # the root counts, too
        self.begun = False
        self.root: Context = _below(root, membership)
        self.event: Span | None = None
        self.turn = 0
        self._tracer = tracer
        self._keyed_tracer = with_chosen_ids(tracer)
        self._membership = membership
        self._keys: Counter[str] = Counter()

    def start(
        self,
        name: str,
        parent: Context,
        attributes: Attributes,
        start_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        key: str | None = None,
    ) -> Span:
        """Start a span.

        Args:
            name: name of the span.
            parent: context of the parent: ``root``, ``context_below`` or ``current_context``.
            attributes: attributes at the start; those that all spans of the conversation have are
                added to them, so that the span need not be changed afterwards.
            start_ns: start, epoch ns.
            kind: kind of the span.
            key: identifies a span that is written only when it is complete, so that a recovery gives
                it the same id; ``None``: the provider chooses the id.
        """
        self.room -= 1
        self.begun = True
        attributes = allowed(attributes, self.policy)
        if attributes.get(names.LS_KIND) in _RUNS and self._membership.leg != names.LEG_DIRECT:
            # These come first: a span that may have few attributes drops the first ones. On leg
            # ``direct`` our exporter adds them, off the app's task.
            attributes = {**self._membership.about.attributes(), **attributes}
        run_kind = attributes.setdefault(names.LS_KIND, names.KIND_CHAIN)
        attributes[names.LS_THREAD_ID] = self._membership.thread_id
        attributes[names.LEG] = self._membership.leg
        if key is None:
            span = self._tracer.start_span(name, parent, kind, attributes, (), start_ns)
        else:
            with chosen(self._id_of(key)):
                span = self._keyed_tracer.start_span(name, parent, kind, attributes, (), start_ns)
        if run_kind == names.KIND_TOOL:
            note_tool(span)
        return span

    def _id_of(self, key: str) -> int:
        """Return the span id for a key; a key that occurs again gets another id."""
        again, self._keys[key] = self._keys[key], self._keys[key] + 1
        membership = self._membership
        return derived_id(
            membership.trace_id, membership.root_span_id, f"{key}#{again}" if again else key
        )

    def connection(self, session_id: str | None) -> Attributes:
        """Return the server and the session of a model call, given the server's id of the session."""
        return connection_facts(
            self.provider, session_id=session_id, conversation_id=self.conversation_id
        )

    def context_below(self, span: Span) -> Context:
        """Return the context for children of a span."""
        return _below(span, self._membership)

    def current_context(self) -> Context:
        """Return the context for children of the current event's span, else of the root."""
        return self.root if self.event is None else self.context_below(self.event)


def _below(span: Span, membership: Membership) -> Context:
    return WriterContext(child_context(span, membership), span.get_span_context().span_id)


def finish(span: Span, at_ns: int) -> None:
    """End a span, at least 1 ns after its start: Jaeger warns about spans of zero duration.

    Args:
        span: the span.
        at_ns: end, epoch ns.
    """
    end(span, max(at_ns, (getattr(span, "start_time", None) or 0) + 1))


def end(span: Span, at_ns: int) -> None:
    """End a span at a time (epoch ns) that is known to be after its start."""
    try:
        span.end(at_ns)
    except BaseException:  # a processor of the app raised, so ours may not have been told
        span_id = span.get_span_context().span_id
        member = TABLE.get(span_id)
        if member is not None:
            TABLE.ended(span_id, member)
        raise
