"""The instrumentor, and the functions that wait for deliveries."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from otel_realtime import tap
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.route import delivers_directly
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_RECORDING: Final = ("otel_realtime.recording.writer", "otel_realtime.recording.render")
_DELIVERY: Final = ("requests", "otel_realtime.langsmith.backend")


class OpenAIRealtimeInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every OpenAI Realtime conversation of the process.

    Entry point ``openai_realtime`` of group ``opentelemetry_instrumentor``. It sets no global
    provider, and it does not need ``openai``: apps on bare websockets count too.

    Added in 0.1.0.
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
        settings = PROCESS.effective_settings
        if settings.end_on_sigterm:
            PROCESS.sigterm.install()
        tap.install(SOCKETS)
        _warm_up(settings)

    def _uninstrument(self, **kwargs: Any) -> None:
        tap.uninstall()
        PROCESS.close_all()
        PROCESS.deactivate_processors()
        PROCESS.sigterm.uninstall()
        PROCESS.settings = PROCESS.tracer_provider = PROCESS.meter_provider = None


def _remember(kwargs: dict[str, Any]) -> None:
    for name in ("settings", "tracer_provider", "meter_provider"):
        if kwargs.get(name) is not None:
            setattr(PROCESS, name, kwargs[name])


def _warm_up(settings: Settings) -> None:
    """Import now what a conversation needs, so that the first call's event loop does not wait."""
    direct = delivers_directly(settings, LangSmithConfig.from_env())
    for name in _RECORDING + (_DELIVERY if direct else ()):
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

    Added in 0.1.0.
    """
    OpenAIRealtimeInstrumentor().instrument(
        tracer_provider=tracer_provider, meter_provider=meter_provider, settings=settings
    )


def uninstrument() -> None:
    """Take every tap off; open conversations end.

    Added in 0.1.0.
    """
    OpenAIRealtimeInstrumentor().uninstrument()


def flush(timeout_s: float = 30.0) -> bool:
    """Wait until everything this package delivers was accepted; at most ``timeout_s`` seconds.

    True only if the root runs, recordings and spans of our own LangSmith leg got there. Spans on
    the app's exporters are theirs: ``tracer_provider.force_flush()``.

    Added in 0.1.0.
    """
    return PROCESS.flush(timeout_s)


async def aflush(timeout_s: float = 30.0) -> bool:
    """``flush`` without blocking the event loop.

    Added in 0.1.0.
    """
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, flush, timeout_s)


def shutdown(timeout_s: float = 30.0) -> bool:
    """End open conversations, deliver them, and stop; same answer as ``flush``.

    Added in 0.1.0.
    """
    return PROCESS.shutdown(timeout_s)
