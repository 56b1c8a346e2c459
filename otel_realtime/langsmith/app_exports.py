"""Does the app's own TracerProvider already export straight to LangSmith?

Then nobody could drop the second root of a conversation, so that exporter delivers everything.
There is no public way to ask a provider for its processors; what cannot be seen counts as no.
"""

from __future__ import annotations

from collections.abc import Iterator

from otel_realtime.langsmith.config import LangSmithConfig, is_langsmith_host


def exporter_to_langsmith(provider: object) -> str | None:
    """Name the provider's exporter that goes straight to LangSmith; None when there is none."""
    own_url = LangSmithConfig.from_env().otlp_traces_url
    for processor in _processors(provider):
        if type(processor).__module__.startswith("langsmith."):
            return f"{type(processor).__module__}.{type(processor).__qualname__}"
        exporter = getattr(processor, "span_exporter", None)
        endpoint = getattr(exporter, "_endpoint", None)
        if isinstance(endpoint, str) and (is_langsmith_host(endpoint) or endpoint == own_url):
            return f"an OTLP exporter to {endpoint}"
    return None


def _processors(provider: object) -> Iterator[object]:
    active = getattr(provider, "_active_span_processor", None)
    yield from getattr(active, "_span_processors", ())
