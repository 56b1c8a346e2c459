"""A tracer provider for an app that has none and calls neither ``configure()`` nor ``instrument()``.

Apps that migrate from LangSmith's own wrapper are like this: the wrapper needs no set-up except
LangSmith's variables. This provider is not set as the global one, so the app may still set its own,
which then gets every later conversation.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from opentelemetry import trace as trace_api

from otel_realtime.conversation.services import PROCESS
from otel_realtime.delivery.otlp import make_exporter
from otel_realtime.diagnostics import logger_of, warn_once
from otel_realtime.setup.destinations import NOWHERE, destinations, span_exporters
from otel_realtime.setup.providers import tracer_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from otel_realtime.settings import Settings

logger = logger_of(__name__)

_lock: Final = threading.Lock()
_provider: TracerProvider | None = None


def fallback_provider(settings: Settings) -> TracerProvider | None:
    """Return this package's own provider, created on the first call; ``None`` if the app has one.

    Like the provider of ``configure()``, it exports to where the environment variables say; a file
    named by ``OTEL_CONFIG_FILE`` is not read.

    Args:
        settings: settings of the conversation that opens now.
    """
    app_has_one = PROCESS.tracer_provider is not None or not isinstance(
        trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider
    )
    if app_has_one:
        return None
    global _provider
    with _lock:
        if _provider is None:
            _provider = _made(settings)
            PROCESS.recoveries.schedule(settings)
        return _provider


def _made(settings: Settings) -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider as Sdk

    try:
        if not destinations(settings):
            warn_once("nowhere", "a Realtime conversation is traced, and %s", NOWHERE, log=logger)
        names = span_exporters(settings)
        return tracer_provider([make_exporter("TRACES", name) for name in names])
    except Exception as error:  # noqa: BLE001 - a variable that the SDK or an exporter does not accept
        warn_once(("fallback", str(error)), "%s; nothing is exported by OTLP", error, log=logger)
        return Sdk()
