"""Flushes the app's own exporters: the data still held by the providers conversations were traced to.

``force_flush`` gets the remaining time, but nothing makes it keep to that: the SDK's batch processor
exports on the caller's thread for as long as its exporter retries
(https://github.com/open-telemetry/opentelemetry-python/issues/4568), and a provider flushes its
processors one after the other. An unreachable destination would use up the time of all others. Each
processor is therefore flushed on its own thread, and the wait for it never exceeds the remaining time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

from otel_realtime.background import Worker
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.app_exports import processors_of
from otel_realtime.tracing.members import MembershipProcessor

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

logger = logger_of(__name__)

_THREADS: Final = "otel-realtime-exports"

#: ``force_flush`` of a processor or a provider: takes ms; ``False`` means that not everything was exported.
ForceFlush = Callable[[int], object]


class Providers:
    """The providers that conversations of this process were traced to."""

    def __init__(self) -> None:
        # Weak references, so that a provider that the app replaces can be collected.
        self._traced: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, provider: object) -> None:
        """Remember the tracer provider of a conversation."""
        if hasattr(provider, "force_flush"):
            try:
                self._traced.add(provider)
            except TypeError:  # a provider of another SDK that cannot be referenced weakly
                pass

    def start_flush(self, timeout_s: float, meter_provider: MeterProvider | None) -> Flush:
        """Begin to flush all of them and the meter provider, in parallel.

        Args:
            timeout_s: longest duration, in seconds.
            meter_provider: the app's meter provider; ``None`` means the global one.
        """
        traced = list(self._traced)
        calls = [call for provider in traced for call in _calls_of(provider)]
        # Without a conversation this package measured nothing, and it must not touch the app's meters.
        flush_meters = getattr(meter_provider or metrics.get_meter_provider(), "force_flush", None)
        if traced and flush_meters is not None:
            calls.append(flush_meters)
        return Flush(calls, timeout_s)


class Flush:
    """Flushes that are in progress.

    Args:
        calls: the functions to call.
        timeout_s: longest duration of each call, in seconds.
    """

    def __init__(self, calls: Iterable[ForceFlush], timeout_s: float) -> None:
        calls = list(calls)
        self._complete = True
        self._finished: list[ForceFlush] = []
        self._deadline = monotonic() + timeout_s
        self._worker = Worker(_THREADS, max(len(calls), 1))
        for call in calls:
            self._worker.submit(partial(self._run, call))

    def repeat(self, timeout_s: float) -> Flush:
        """Flush once more what has been flushed so far; flushes still in progress include later spans.

        Args:
            timeout_s: longest duration, in seconds.
        """
        return Flush(list(self._finished) if timeout_s > 0 else (), timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of all flushes.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``False`` if one of them took longer, reported a failure, or raised.
        """
        deadline = monotonic() + timeout_s
        finished = self._worker.flush(timeout_s)
        self._worker.stop(max(deadline - monotonic(), 0.0))
        return finished and self._complete

    def _run(self, call: ForceFlush) -> None:
        left_ms = int(max(self._deadline - monotonic(), 0.0) * 1000)
        try:
            complete = call(left_ms) is not False
        except BaseException as error:  # noqa: BLE001 - the app's exporters may raise anything
            complete = False
            logger.warning("an exporter of the app raised while it was flushed: %r", error)
        if complete:
            self._finished.append(call)
        else:
            self._complete = False


def _calls_of(provider: Any) -> list[ForceFlush]:
    """Return the ``force_flush`` of each of a provider's processors, except ours.

    If the processors are not accessible, or if the provider overrides ``force_flush``, return the
    provider's own ``force_flush``.
    """
    processors: list[Any] = list(processors_of(provider))
    if not processors or type(provider).force_flush is not SdkTracerProvider.force_flush:
        return [provider.force_flush]
    return [one.force_flush for one in processors if not isinstance(one, MembershipProcessor)]
