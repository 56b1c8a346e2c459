"""Which exporters of an app count as going straight to LangSmith."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langsmith.integrations.otel import OtelSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from otel_realtime.langsmith.app_exports import exporter_to_langsmith, is_seen_by_others
from otel_realtime.process.process import PROCESS

CLOUD = "https://api.smith.langchain.com/otel/v1/traces"
EU = "https://eu.api.smith.langchain.com/otel/v1/traces"
SELF_HOSTED = "http://ls.acme/api/v1/otel/v1/traces"
COLLECTOR = "http://127.0.0.1:4318/v1/traces"


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """The app's provider."""
    made = TracerProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


def batch(endpoint: str) -> SpanProcessor:
    """An exporter to an endpoint, behind the processor everybody uses."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (lambda: batch(CLOUD), f"an OTLP exporter to {CLOUD}"),
        (lambda: batch(EU), f"an OTLP exporter to {EU}"),
        (lambda: batch(SELF_HOSTED), f"an OTLP exporter to {SELF_HOSTED}"),
        (
            lambda: SimpleSpanProcessor(OTLPSpanExporter(CLOUD)),
            f"an OTLP exporter to {CLOUD}",
        ),
        (lambda: batch(COLLECTOR), None),
        (lambda: batch("https://smith.langchain.com.evil.example/v1/traces"), None),
        (SpanProcessor, None),
    ],
    ids=["cloud", "region", "self-hosted", "simple", "Collector", "another host", "no exporter"],
)
def test_an_exporter_counts_by_where_it_goes(
    provider: TracerProvider, process: pytest.MonkeyPatch, processor: object, expected: str | None
) -> None:
    """LangSmith's hosts, and the endpoint that the variables name for a self-hosted one."""
    process.setenv("LANGSMITH_ENDPOINT", "http://ls.acme/api/v1")
    provider.add_span_processor(batch(COLLECTOR))
    provider.add_span_processor(processor())  # type: ignore[operator]
    assert expected == exporter_to_langsmith(provider)


def test_langsmiths_own_processor_counts(
    provider: TracerProvider, process: pytest.MonkeyPatch
) -> None:
    """Wherever it is told to send."""
    provider.add_span_processor(OtelSpanProcessor(api_key="k", url="http://127.0.0.1:9"))
    found = exporter_to_langsmith(provider)
    assert found is not None
    assert found.endswith("OtelSpanProcessor")


def test_what_this_package_adds_does_not_count(provider: TracerProvider) -> None:
    """Its processor leaves the root to the runs API."""
    PROCESS.attach_processor(provider)
    assert exporter_to_langsmith(provider) is None


@pytest.mark.parametrize("given", [NoOpTracerProvider(), ProxyTracerProvider(), object(), None])
def test_a_provider_that_cannot_be_looked_into_has_none(given: object) -> None:
    """Other SDKs, and no SDK at all."""
    assert exporter_to_langsmith(given) is None


def test_others_see_what_has_a_processor_besides_ours(provider: TracerProvider) -> None:
    """Whatever it does with the spans; where nobody can look, somebody may."""
    PROCESS.attach_processor(provider)
    assert not is_seen_by_others(provider)
    provider.add_span_processor(SpanProcessor())
    assert is_seen_by_others(provider)
    assert is_seen_by_others(object())
