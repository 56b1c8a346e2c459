"""``configure()``: sets up OpenTelemetry from the environment, for an app that does not use it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api

from otel_realtime.conversation.services import PROCESS
from otel_realtime.delivery.otlp import chosen, endpoint, is_otlp, make_exporter
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import delivers_directly, is_delivered_directly
from otel_realtime.setup.providers import (
    config_file,
    is_disabled,
    meter_provider,
    set_up_from_file,
    tracer_provider,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_realtime.settings import Settings

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
        ConfigError: a variable names an exporter, a protocol or a file that is not known; nothing is
            set up then.

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
        destinations = [f"where {file[1]} says"]
    else:
        destinations = _set_up_from_variables()
    if is_disabled():
        logger.warning("Realtime conversations are not traced: OTEL_SDK_DISABLED is true")
        return trace_api.get_tracer_provider()
    settings, config = PROCESS.effective_settings, LangSmithConfig.from_env()
    if delivers_directly(settings, config):
        # Needs no exporter: our span processor is added when the first conversation opens.
        destinations.insert(0, f"LangSmith ({config.api_url}, project {config.project})")
    if destinations:
        logger.info("Realtime conversations are sent to %s", " and to ".join(destinations))
    else:
        logger.warning(
            "Realtime conversations are sent nowhere: set LANGSMITH_TRACING=true and "
            "LANGSMITH_API_KEY for LangSmith, or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend"
        )
    return trace_api.get_tracer_provider()


def _set_up_from_variables() -> list[str]:
    """Set the global providers; return where spans are exported to, for the log."""
    from opentelemetry.sdk.metrics import MeterProvider as Sdk

    if is_disabled():  # the SDK's tracers and meters then do nothing
        trace_api.set_tracer_provider(tracer_provider([]))
        return []
    # Everything is made before anything is set: one wrong variable leaves no half of a set-up.
    metrics, url = chosen("METRICS"), endpoint("TRACES")
    names = span_exporters(PROCESS.effective_settings)
    provider = tracer_provider([make_exporter("TRACES", name) for name in names])
    if metrics and not isinstance(metrics_api.get_meter_provider(), Sdk):
        metrics_api.set_meter_provider(meter_provider(metrics))
    trace_api.set_tracer_provider(provider)
    return [_destination(name, url) for name in names]


def span_exporters(settings: Settings) -> list[str]:
    """Return the names of the span exporters that ``configure()`` sets up.

    That to LangSmith is left out where this process delivers there by itself.

    Args:
        settings: settings of the process.

    Raises:
        ConfigError: as ``delivery.otlp.chosen``.
    """
    names, url = chosen("TRACES"), endpoint("TRACES")
    if url and any(map(is_otlp, names)) and is_delivered_directly(url, settings):
        return [name for name in names if not is_otlp(name)]
    return names


def _destination(name: str, url: str | None) -> str:
    if is_otlp(name):
        return url or "an OTLP backend on this machine"
    return "the console" if name == "console" else f"the exporter {name}"
