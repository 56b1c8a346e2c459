"""Finds out whether the app's own ``TracerProvider`` already exports directly to LangSmith.

If it does, the second root of a conversation cannot be dropped anywhere, so that exporter has to deliver
everything. OpenTelemetry has no public way to list a provider's processors; a processor that cannot be
seen counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator

from otel_realtime.langsmith.config import LangSmithConfig, is_langsmith_host
from otel_realtime.tracing.members import MembershipProcessor


def exporter_to_langsmith(provider: object) -> str | None:
    """Return a description of the provider's exporter to LangSmith; ``None`` if there is none.

    Args:
        provider: the app's ``TracerProvider``.
    """
    own_url = LangSmithConfig.from_env().otlp_traces_url
    for processor in processors_of(provider):
        # ``langsmith.integrations.otel.OtelSpanProcessor`` and its subclasses in that package.
        if type(processor).__module__.startswith("langsmith."):
            return f"{type(processor).__module__}.{type(processor).__qualname__}"
        exporter = getattr(processor, "span_exporter", None)
        endpoint = getattr(exporter, "_endpoint", None)
        if isinstance(endpoint, str) and (is_langsmith_host(endpoint) or endpoint == own_url):
            return f"an OTLP exporter to {endpoint}"
    return None


def has_exporter(provider: object) -> bool:
    """Return whether a provider exports spans, if that can be seen."""
    return any(map(_exports, processors_of(provider)))


def _exports(processor: object, depth: int = 3) -> bool:
    if getattr(processor, "span_exporter", None) is not None:
        return True
    inner = getattr(processor, "processor", None)  # wrapped in another one
    return inner is not None and depth > 0 and _exports(inner, depth - 1)


def is_seen_by_others(provider: object) -> bool:
    """Return whether a processor besides ours sees a provider's spans, or may do so."""
    seen = list(processors_of(provider))
    return not seen or any(not isinstance(one, MembershipProcessor) for one in seen)


def processors_of(provider: object) -> Iterator[object]:
    """Yield the span processors of an SDK ``TracerProvider``; none if they cannot be seen."""
    # Private fields of the SDK's provider and of its ``SynchronousMultiSpanProcessor``.
    active = getattr(provider, "_active_span_processor", None)
    yield from getattr(active, "_span_processors", ())
