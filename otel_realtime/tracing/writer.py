"""Starts the spans below one root, within its limit, and knows the event that the app handles now.

Spans carry explicit int times. What is written once, when it is complete (model calls,
transcriptions), cannot be left open and has its true start and end.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer

from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tracing.activation import child_context
from otel_realtime.tracing.facts import Attributes
from otel_realtime.tracing.members import Membership


class SpanWriter:
    """Starts spans below one root.

    Attributes:
        policy: what of the content may be stored; may become stricter.
        provider: who serves the model.
        limit: characters of JSON per attribute.
        room: spans that the trace can still take.
        begun: a span below the root was started.
        root: the root's context, for its children.
        event: the span of the event that the app handles now.
        turn: the turn of that event.
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
    ) -> None:
        self.policy = policy
        self.provider = provider
        self.limit = payload_limit
        self.room = span_limit - 1
        self.begun = False
        self.root = child_context(root, membership)
        self.event: Span | None = None
        self.turn = 0
        self._tracer = tracer
        self._membership = membership

    def start(
        self,
        name: str,
        parent: Context,
        attributes: Attributes,
        start_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """Start a span; ``start_ns`` is epoch ns."""
        self.room -= 1
        self.begun = True
        return self._tracer.start_span(
            name, context=parent, kind=kind, attributes=attributes, start_time=start_ns
        )

    def below(self, span: Span) -> Context:
        """Return the context of a span's children."""
        return child_context(span, self._membership)

    def here(self) -> Context:
        """Return the context of what the current event causes."""
        return self.root if self.event is None else self.below(self.event)


def finish(span: Span, at_ns: int) -> None:
    """End a span, at the earliest 1 ns after its start: Jaeger warns of a span without length."""
    span.end(max(at_ns, (getattr(span, "start_time", None) or 0) + 1))
