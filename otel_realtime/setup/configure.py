"""``configure()``: sets up OpenTelemetry from the environment, for an app that does not use it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api

from otel_realtime.conversation.services import PROCESS
from otel_realtime.delivery.otlp import endpoint, exporter_of, is_wanted
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import delivers_directly, other_exporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.trace import TracerProvider

logger = logger_of(__name__)


def configure() -> TracerProvider:
    """Set up OpenTelemetry from the environment, for an app that does not use it yet.

    ``LANGSMITH_*`` configures delivery to LangSmith, ``OTEL_EXPORTER_OTLP_*`` any other destination
    (https://opentelemetry.io/docs/specs/otel/protocol/exporter/); both may be set. Providers that
    are already set are left unchanged.

    Returns:
        The global tracer provider.

    Added in 0.1.0.
    """
    from opentelemetry.sdk.trace import TracerProvider as Sdk

    PROCESS.recoveries.schedule(PROCESS.effective_settings)
    existing = trace_api.get_tracer_provider()
    if isinstance(existing, Sdk):
        logger.info("configure() changes nothing: a global TracerProvider is already set")
        return existing
    provider = Sdk()
    destinations = _add_destinations(provider)
    if is_wanted("METRICS"):
        _set_meter_provider()
    trace_api.set_tracer_provider(provider)
    if destinations:
        logger.info("Realtime conversations are sent to %s", " and to ".join(destinations))
    else:
        logger.warning(
            "Realtime conversations are sent nowhere: set LANGSMITH_TRACING=true and "
            "LANGSMITH_API_KEY for LangSmith, or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend"
        )
    return provider


def _add_destinations(provider: SdkTracerProvider) -> list[str]:
    """Add exporters for what the environment configures; return the destinations, for the log."""
    settings, config = PROCESS.effective_settings, LangSmithConfig.from_env()
    destinations = []
    if delivers_directly(settings, config):
        # Needs no exporter: our span processor is added when the first conversation opens.
        destinations.append(f"LangSmith ({config.api_url}, project {config.project})")
    exporter = other_exporter(settings)
    if exporter is not None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(exporter))
        destinations.append(str(endpoint("TRACES")))
    return destinations


def _set_meter_provider() -> None:
    from opentelemetry.sdk.metrics import MeterProvider as Sdk
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    if not isinstance(metrics_api.get_meter_provider(), Sdk):
        reader = PeriodicExportingMetricReader(exporter_of("METRICS"))
        metrics_api.set_meter_provider(Sdk(metric_readers=[reader]))
