"""The instrumentor, and the functions that instrument, flush and shut down."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from otel_realtime import tap
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.langsmith.config import LangSmithConfig, delivers_directly
from otel_realtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

# Modules that ``_warm_up`` imports ahead: everything a conversation needs, with NumPy and ``requests``.
_CONVERSATION: Final = (
    "otel_realtime.conversation.sockets",
    "otel_realtime.conversation.announced",
)
_ROUTE: Final = ("otel_realtime.langsmith.route", "otel_realtime.delivery.finisher")
_RECORDING: Final = ("otel_realtime.recording.writer", "otel_realtime.recording.render")
#: Modules by value of ``Settings.deliver``.
_DELIVERY: Final = {
    "process": ("requests", "otel_realtime.langsmith.backend"),
    "worker": ("otel_realtime.langsmith.spooled",),
}
#: Writes the JSON next to kept recordings.
_KEEPING: Final = ("otel_realtime.recovery.call",)


class OpenAIRealtimeInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces every OpenAI Realtime conversation of the process.

    It is the entry point ``openai_realtime`` of the group ``opentelemetry_instrumentor``, where
    ``opentelemetry-instrument`` finds it
    (https://opentelemetry.io/docs/zero-code/python/). It sets no global provider.

    Added in 0.1.0.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no dependencies: apps that use bare websockets do not have ``openai`` installed."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Instrument connections that are opened from now on.

        A further call only changes the arguments for conversations that open later; the base class
        would ignore it with a warning.

        Args:
            **kwargs: ``tracer_provider``, ``meter_provider``, ``settings``, and the options of
                ``BaseInstrumentor`` (``skip_dep_check``, ...).
        """
        if self.is_instrumented_by_opentelemetry:
            _remember(kwargs)
            PROCESS.recoveries.schedule(PROCESS.effective_settings)
        else:
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        # Called by the base class, which has checked that instrumentation is not already active.
        _remember(kwargs)
        settings = PROCESS.effective_settings
        if settings.end_on_sigterm:
            PROCESS.sigterm.install()
        tap.install(SOCKETS)
        _warm_up(settings)
        PROCESS.recoveries.schedule(settings)

    def _uninstrument(self, **kwargs: Any) -> None:
        tap.uninstall()  # first, so that no conversation opens while the open ones are ended
        PROCESS.close_all()
        PROCESS.deactivate_processors()
        PROCESS.sigterm.uninstall()
        PROCESS.settings = PROCESS.tracer_provider = PROCESS.meter_provider = None


def _remember(kwargs: dict[str, Any]) -> None:
    for name in ("settings", "tracer_provider", "meter_provider"):
        if kwargs.get(name) is not None:
            setattr(PROCESS, name, kwargs[name])


def _warm_up(settings: Settings) -> None:
    """Import ahead what a conversation needs; a later import would block the first call's event loop."""
    direct = delivers_directly(settings, LangSmithConfig.from_env())
    kept = settings.recordings_dir is not None
    PROCESS.loading.start(
        (
            *_CONVERSATION,
            *_ROUTE,
            *_RECORDING,
            *(_DELIVERY[settings.deliver] if direct else ()),
        ),
        later=_KEEPING if kept else (),
    )


def instrument(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> None:
    """Trace and record every Realtime conversation that opens from now on.

    Args:
        tracer_provider: provider for the spans; ``None`` means the global one at the time a
            conversation opens, so it may be set later.
        meter_provider: provider for the metrics; ``None`` means the global one, likewise.
        settings: settings of the process; ``None`` means settings from the environment.

    Added in 0.1.0.
    """
    OpenAIRealtimeInstrumentor().instrument(
        tracer_provider=tracer_provider, meter_provider=meter_provider, settings=settings
    )


def uninstrument() -> None:
    """End open conversations and restore every patched function.

    Added in 0.1.0.
    """
    OpenAIRealtimeInstrumentor().uninstrument()


def flush(timeout_s: float = 30.0) -> bool:
    """Deliver now what this package delivers itself, and wait until it is accepted.

    This covers root runs, recordings, and spans that this package sends to LangSmith itself. For
    spans on the app's exporters, call ``tracer_provider.force_flush()``. A conversation that waits
    for another connection (see ``using``) ends.

    With ``Settings.deliver = "worker"`` this process sends nothing. ``True`` then means that the
    journal, audio and spans of every conversation that has ended are on disk and handed over to the
    worker, that the ended spans of all other conversations are on disk, and that
    ``Settings.on_recording`` has returned. Only the worker knows whether LangSmith accepted anything.

    Args:
        timeout_s: longest wait, in seconds.

    Returns:
        ``True`` only if everything was accepted.

    Added in 0.1.0.
    """
    return PROCESS.flush(timeout_s)


async def aflush(timeout_s: float = 30.0) -> bool:
    """Do the same as ``flush``, without blocking the event loop.

    Args:
        timeout_s: longest wait, in seconds.

    Returns:
        ``True`` only if everything was accepted or, with a worker, written; see ``flush``.

    Added in 0.1.0.
    """
    import asyncio

    return await asyncio.get_running_loop().run_in_executor(None, flush, timeout_s)


def shutdown(timeout_s: float = 30.0) -> bool:
    """End open conversations, deliver them, flush the app's exporters, and stop all threads.

    It also flushes the spans and metrics that are still held by the providers conversations were
    traced to. A server that is killed by a signal needs this, because ``atexit`` does not run there.

    Args:
        timeout_s: longest wait, in seconds.

    Returns:
        ``True`` only if everything was accepted. For the app's exporters this is what they report:
        OpenTelemetry's batch processor reports success even for a batch that it gave up. With a
        worker, everything it delivers has been written and handed over; see ``flush``.

    Added in 0.1.0.
    """
    return PROCESS.shutdown(timeout_s)
