"""The ``Backend`` for LangSmith: root runs by the runs API, spans of leg ``direct`` by OTLP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from otel_realtime.langsmith.delivery import Deliveries, RootDelivery
from otel_realtime.langsmith.exporter import DirectExporter
from otel_realtime.langsmith.native_runs import is_sent_natively

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_realtime.delivery.model import Opening
    from otel_realtime.langsmith.config import LangSmithConfig
    from otel_realtime.langsmith.stamping import Stamp
    from otel_realtime.state.spool import Spool
    from otel_realtime.tracing.members import Member


class LangSmith:
    """Delivers to one LangSmith project; implements ``delivery.model.Backend``.

    Args:
        config: address and credentials.
        spool: keeps spans on disk until they are accepted; ``None``: keep them in memory only.

    Attributes:
        roots: delivers root runs.
        spans: delivers spans of leg ``direct``.
    """

    def __init__(self, config: LangSmithConfig, spool: Spool | None = None) -> None:
        self.roots = Deliveries(config)
        self.spans = DirectExporter(config, spool=spool)

    def open(
        self,
        opening: Opening,
        *,
        ready: Callable[[], object] | None = None,
        accepted: Callable[[], object] | None = None,
    ) -> RootDelivery:
        """Post a root run in the background, between ``ready()`` and ``accepted()``."""
        return self.roots.open(opening, ready=ready, accepted=accepted)

    def put(self, span: ReadableSpan, member: Member, /) -> bool:
        """Enqueue an ended span of leg ``direct``; return ``False`` if it is lost.

        A span that LangSmith's client delivers is left to that client. Called on the app's task or thread.
        The member is always a ``Stamp``, because the route to this backend makes them.
        """
        if is_sent_natively(span):
            return True
        return self.spans.put(span, cast("Stamp", member))

    def store(self, timeout_s: float) -> bool:
        """Write all enqueued spans to disk; return ``False`` if that takes longer than this time."""
        return self.spans.store(timeout_s)

    def hurry(self) -> None:
        """Start delivering everything that is pending now, without waiting for it."""
        self.spans.hurry()
        self.roots.hurry()

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything that is pending now.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``True`` only if LangSmith accepted all of it.
        """
        deadline = time.monotonic() + timeout_s
        self.hurry()  # both at once: the first one may use up the time
        spans = self.spans.flush(timeout_s)
        return self.roots.flush(max(deadline - time.monotonic(), 0.0)) and spans

    def stop(self, timeout_s: float) -> bool:
        """Deliver for a bounded time, then stop; arguments and result as for ``flush``.

        Data that is not delivered stays on disk.
        """
        deadline = time.monotonic() + timeout_s
        self.hurry()
        spans = self.spans.shutdown(timeout_s)
        return self.roots.shutdown(max(deadline - time.monotonic(), 0.0)) and spans

    def reset_after_fork(self) -> None:
        """Drop everything in a forked child without sending it: the parent delivers it."""
        self.roots.reset_after_fork()
        self.spans.reset_after_fork()
