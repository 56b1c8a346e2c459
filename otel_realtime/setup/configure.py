"""``configure()``: sets up OpenTelemetry from the environment, for an app that does not use it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api

from otel_realtime.conversation.services import PROCESS
from otel_realtime.delivery.otlp import chosen, make_exporter
from otel_realtime.diagnostics import logger_of
from otel_realtime.setup.destinations import destinations, span_exporters
from otel_realtime.setup.providers import (
    config_file,
    is_disabled,
    meter_provider,
    set_up_from_file,
    tracer_provider,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

logger = logger_of(__name__)


def configure() -> TracerProvider:
    """Set up OpenTelemetry from the environment, for an app that does not use it yet.

    ``LANGSMITH_*`` configures delivery to LangSmith; OpenTelemetry's own variables configure any other
    destination, as they do for ``opentelemetry-instrument``
    (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Both may be
    set. Providers that are already set are left unchanged.

    Returns:
        The global tracer provider.

    Raises:
        ConfigError: a variable names an unknown exporter, protocol or file; nothing is set up.

    Added in 0.1.0.
    """
    from opentelemetry.sdk.trace import TracerProvider as Sdk

    PROCESS.recoveries.schedule(PROCESS.effective_settings)
    existing = trace_api.get_tracer_provider()
    if isinstance(existing, Sdk):
        logger.info("configure() changes nothing: a global TracerProvider is already set")
        return existing
    file = config_file()
    if file is not None:
        set_up_from_file(*file)
    else:
        _set_up_from_variables()
    if is_disabled():
        logger.warning("Realtime conversations are not traced: OTEL_SDK_DISABLED is true")
        return trace_api.get_tracer_provider()
    # LangSmith needs no exporter: our span processor is added when the first conversation opens.
    places = destinations(PROCESS.effective_settings)
    if places:
        logger.info("Realtime conversations are sent to %s", " and to ".join(places))
    else:
        logger.warning(
            "Realtime conversations are sent nowhere: set LANGSMITH_TRACING=true and "
            "LANGSMITH_API_KEY for LangSmith, or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend"
        )
    return trace_api.get_tracer_provider()


def _set_up_from_variables() -> None:
    """Set the global providers."""
    from opentelemetry.sdk.metrics import MeterProvider as Sdk

    if is_disabled():  # the SDK's tracers and meters then do nothing
        trace_api.set_tracer_provider(tracer_provider([]))
        return
    # Create everything before setting anything, so that a wrong variable leaves no partial set-up.
    metrics = chosen("METRICS")
    names = span_exporters(PROCESS.effective_settings)
    provider = tracer_provider([make_exporter("TRACES", name) for name in names])
    if metrics and not isinstance(metrics_api.get_meter_provider(), Sdk):
        metrics_api.set_meter_provider(meter_provider(metrics))
    trace_api.set_tracer_provider(provider)
