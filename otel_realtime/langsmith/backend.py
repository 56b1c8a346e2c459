"""LangSmith as a backend: root runs by its runs API, the spans of leg ``direct`` by its OTLP endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from otel_realtime.langsmith.delivery import Deliveries, RootDelivery
from otel_realtime.langsmith.exporter import DirectExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_realtime.delivery.model import Opening
    from otel_realtime.langsmith.config import LangSmithConfig
    from otel_realtime.langsmith.stamping import Stamp
    from otel_realtime.state.spool import Spool
    from otel_realtime.tracing.members import Member


class LangSmith:
    """This process's deliveries to one LangSmith project; implements ``delivery.model.Backend``.

    Args:
        config: where to and with which key.
        spool: keeps spans on disk until they are accepted; None: in memory only.

    Attributes:
        roots: the root runs.
        spans: the spans of leg ``direct``.
    """

    def __init__(self, config: LangSmithConfig, spool: Spool | None = None) -> None:
        self.roots = Deliveries(config)
        self.spans = DirectExporter(config, spool=spool)

    def open(self, opening: Opening, *, ready: Callable[[], object] | None = None) -> RootDelivery:
        """Post a root run in the background, after ``ready()``; returns at once."""
        return self.roots.open(opening, ready=ready)

    def put(self, span: ReadableSpan, member: Member, /) -> bool:
        """Queue an ended span of leg ``direct``; False when it is lost."""
        return self.spans.put(span, cast("Stamp", member))

    def flush(self, timeout_s: float) -> bool:
        """Deliver what is on its way; True only if LangSmith accepted all of it in time."""
        deadline = time.monotonic() + timeout_s
        spans = self.spans.flush(timeout_s)
        return self.roots.flush(max(deadline - time.monotonic(), 0.0)) and spans

    def stop(self, timeout_s: float) -> bool:
        """Deliver for a bounded time, then stop; what is left stays on disk."""
        deadline = time.monotonic() + timeout_s
        spans = self.spans.shutdown(timeout_s)
        return self.roots.shutdown(max(deadline - time.monotonic(), 0.0)) and spans

    def reset_after_fork(self) -> None:
        """In a fork's child: drop what the parent process delivers, without sending it."""
        self.roots.reset_after_fork()
        self.spans.reset_after_fork()
