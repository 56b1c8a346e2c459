"""Passes spans that a recovery makes to the app's own span processors, whatever they export to.

OpenTelemetry has no way to give a provider a span that another process began. Its processors accept
such a span, because ``on_start`` and ``on_end`` are their whole contract
(https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-processor).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.app_exports import has_exporter, processors_of
from otel_realtime.tracing.members import MembershipProcessor

if TYPE_CHECKING:
    from opentelemetry.context import Context

logger = logger_of(__name__)


class Relay(SpanProcessor):
    """Passes spans to the processors of the app's provider, while it is open.

    Args:
        provider: the app's ``TracerProvider``.

    Attributes:
        open: spans that start and end now are passed on.
        known: ids of spans that ended in time to be exported; these are not passed on.
    """

    def __init__(self, provider: object) -> None:
        self._processors = [
            cast("SpanProcessor", one)
            for one in processors_of(provider)
            if not isinstance(one, MembershipProcessor)
        ]
        self.open = False
        self.known: Collection[int] = ()

    @staticmethod
    def is_of_use(provider: object) -> bool:
        """Return whether the app's provider has an exporter by now."""
        return has_exporter(provider)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._is_for_them(span):
            self._each(lambda processor: processor.on_start(span, parent_context))

    def on_end(self, span: ReadableSpan) -> None:
        if self._is_for_them(span):
            self._each(lambda processor: processor.on_end(span))

    def flush(self, timeout_s: float) -> None:
        """Have the processors export what they were given; their queues are only in memory."""
        deadline = monotonic() + timeout_s
        self._each(
            lambda processor: processor.force_flush(int(max(deadline - monotonic(), 0.0) * 1000))
        )

    def _is_for_them(self, span: ReadableSpan) -> bool:
        context = span.get_span_context()
        return self.open and context is not None and context.span_id not in self.known

    def _each(self, call: Callable[[SpanProcessor], Any]) -> None:
        for processor in self._processors:
            try:
                call(processor)
            except Exception:
                logger.warning("a span processor of the app raised in a recovery", exc_info=True)
