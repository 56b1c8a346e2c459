"""Delayed calls for sockets that have no event loop; one thread of the process runs all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_realtime.background import Worker

_worker: Final = Worker("otel-realtime-sockets")


def later(delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
    """Call a function later, on a thread of this package; return a function that cancels it."""

    def job() -> None:
        call()

    _worker.resume()
    ticket = _worker.submit(job, after_s=delay_s)
    return _nothing if ticket is None else ticket.cancel


def stop_timers(timeout_s: float) -> bool:
    """Stop the thread; a later call of ``later`` starts it again.

    Args:
        timeout_s: How long to wait for the thread, in seconds.

    Returns:
        Whether the thread has stopped.
    """
    return _worker.stop(timeout_s)


def _nothing() -> None:
    return None
