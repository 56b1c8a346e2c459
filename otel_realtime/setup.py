"""Switching it on: the instrumentor, and a whole OpenTelemetry set-up for apps that have none."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics as metrics_api
from opentelemetry import trace as trace_api
from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from otel_realtime import tap
from otel_realtime.attributes import LEG_DIRECT
from otel_realtime.langsmith.config import LangSmithConfig, choose_leg, is_langsmith_host
from otel_realtime.opening import OPENER
from otel_realtime.runtime import RUNTIME
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger(__name__)

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_RECORDING: Final = ("otel_realtime.recording.writer", "otel_realtime.recording.render")
_DELIVERY: Final = (
    "requests",
    "otel_realtime.langsmith.delivery",
    "otel_realtime.langsmith.exporter",
)


class OpenAIRealtimeInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every OpenAI Realtime conversation of the process.

    Entry point ``openai_realtime`` of group ``opentelemetry_instrumentor``. It sets no global
    provider, and it does not need ``openai``: apps on bare websockets count too.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """No library is required."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Tap new connections. Called again it only changes what new conversations use.

        Args:
            **kwargs: ``tracer_provider``, ``meter_provider``, ``settings``, and what
                ``BaseInstrumentor`` knows (``skip_dep_check``, ...).
        """
        if self.is_instrumented_by_opentelemetry:
            _remember(kwargs)
        else:
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _remember(kwargs)
        if (RUNTIME.settings or Settings()).end_on_sigterm:
            RUNTIME.sigterm.install()
        tap.install(OPENER)
        _warm_up()

    def _uninstrument(self, **kwargs: Any) -> None:
        tap.uninstall()
        RUNTIME.close_all()
        RUNTIME.deactivate_processors()
        RUNTIME.settings = RUNTIME.tracer_provider = RUNTIME.meter_provider = None


def _remember(kwargs: dict[str, Any]) -> None:
    for name in ("settings", "tracer_provider", "meter_provider"):
        if kwargs.get(name) is not None:
            setattr(RUNTIME, name, kwargs[name])


def _warm_up() -> None:
    """Import now what a conversation needs, so that the first call's event loop does not wait."""
    settings = RUNTIME.settings or Settings()
    leg = choose_leg(settings.langsmith, LangSmithConfig.from_env()).leg
    for name in _RECORDING + (_DELIVERY if leg == LEG_DIRECT else ()):
        import_module(name)


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> None:
    """Trace and record every Realtime conversation that opens from now on.

    Args:
        tracer_provider: where spans go; None: the global provider of the moment a conversation
            opens, so one that is set later is found.
        meter_provider: the same for metrics.
        settings: None: from the environment.
    """
    OpenAIRealtimeInstrumentor().instrument(
        tracer_provider=tracer_provider, meter_provider=meter_provider, settings=settings
    )


def uninstrument() -> None:
    """Take every tap off; open conversations end."""
    OpenAIRealtimeInstrumentor().uninstrument()


def configure() -> TracerProvider:
    """Set up OpenTelemetry from the environment, for an app that has none yet.

    LangSmith by ``LANGSMITH_*``, any other destination by ``OTEL_EXPORTER_OTLP_*``, both, or
    neither. A provider that is set already is left as it is. Returns the global provider.
    """
    from opentelemetry.sdk.trace import TracerProvider as Sdk

    existing = trace_api.get_tracer_provider()
    if isinstance(existing, Sdk):
        logger.info("OpenTelemetry is set up already; configure() leaves it as it is")
        return existing
    provider = Sdk()
    destinations = _add_destinations(provider)
    if _has("METRICS"):
        _set_meter_provider()
    trace_api.set_tracer_provider(provider)
    if destinations:
        logger.info("Realtime conversations go to %s", " and to ".join(destinations))
    else:
        logger.warning(
            "Realtime conversations go nowhere: set LANGSMITH_TRACING=true and "
            "LANGSMITH_API_KEY for LangSmith, or OTEL_EXPORTER_OTLP_ENDPOINT for an OTLP backend"
        )
    return provider


def _add_destinations(provider: SdkTracerProvider) -> list[str]:
    settings = RUNTIME.settings or Settings()
    config = LangSmithConfig.from_env()
    found = []
    direct = choose_leg(settings.langsmith, config).leg == "direct"
    if direct:
        found.append(f"LangSmith ({config.api_url}, project {config.project})")
    exporter = trace_exporter()
    if exporter is not None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(exporter))
        found.append(str(_endpoint("TRACES")))
    return found


def trace_exporter() -> SpanExporter | None:
    """The exporter to the destination that the environment names besides LangSmith, if any."""
    endpoint = _endpoint("TRACES")
    if not endpoint:
        return None
    setting = (RUNTIME.settings or Settings()).langsmith
    if (
        is_langsmith_host(endpoint)
        and choose_leg(setting, LangSmithConfig.from_env()).leg == "direct"
    ):
        logger.info("%s is LangSmith itself, which is served directly already", endpoint)
        return None
    exporter: SpanExporter = _exporter("TRACES")
    return exporter


def _endpoint(signal: str) -> str | None:
    for name in (f"{_OTLP}{signal}_ENDPOINT", f"{_OTLP}ENDPOINT"):
        value = os.environ.get(name, "").strip()
        if value:
            return value
    return None


def _has(signal: str) -> bool:
    chosen = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower()
    return _endpoint(signal) is not None and chosen != "none"


def _exporter(signal: str) -> Any:
    """The OTLP exporter of a signal, by ``OTEL_EXPORTER_OTLP_PROTOCOL`` (default HTTP)."""
    protocol = os.environ.get(
        f"{_OTLP}{signal}_PROTOCOL", os.environ.get(f"{_OTLP}PROTOCOL", "http/protobuf")
    )
    if protocol.strip().lower() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as GrpcMetrics,
        )
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcSpans,
        )

        return GrpcSpans() if signal == "TRACES" else GrpcMetrics()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
        OTLPMetricExporter as HttpMetrics,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

    return HttpSpans() if signal == "TRACES" else HttpMetrics()


def _set_meter_provider() -> None:
    from opentelemetry.sdk.metrics import MeterProvider as Sdk
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    if not isinstance(metrics_api.get_meter_provider(), Sdk):
        reader = PeriodicExportingMetricReader(_exporter("METRICS"))
        metrics_api.set_meter_provider(Sdk(metric_readers=[reader]))


def flush(timeout_s: float = 30.0) -> bool:
    """Wait until everything this package delivers was accepted; at most ``timeout_s`` seconds.

    True only if the root runs, recordings and spans of our own LangSmith leg got there. Spans on
    the app's exporters are theirs: ``tracer_provider.force_flush()``.
    """
    return RUNTIME.flush(timeout_s)


async def aflush(timeout_s: float = 30.0) -> bool:
    """``flush`` without blocking the event loop."""
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, flush, timeout_s)


def shutdown(timeout_s: float = 30.0) -> bool:
    """End open conversations, deliver them, and stop; same answer as ``flush``."""
    return RUNTIME.shutdown(timeout_s)
