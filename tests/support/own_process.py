"""A process's services of a test's own, beside the one that the package keeps."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from otel_realtime.conversation.engine import Engine
from otel_realtime.process.process import PROCESS, Process
from otel_realtime.tap import Handshake
from tests.support.traces import Traces


@contextmanager
def own_process(traces: Traces | None = None, **given: Any) -> Iterator[Process]:
    """Services that trace to ``traces``, stopped at the end; ``given``: as for ``Process``."""
    process = Process(**given)
    process.tracer_provider = traces.provider if traces is not None else None
    try:
        yield process
    finally:
        process.shutdown(5)
        process.deactivate_processors()
        atexit.unregister(process._at_exit)


def settle() -> None:
    """Wait until the recordings of the live conversations hold all that they were given."""
    for live in list(PROCESS.live):
        recorder = cast("Engine", live).recorder
        assert recorder is None or recorder.settle(10)


def shaken(ago_s: float = 0.0, **given: Any) -> Handshake:
    """A handshake that began so long ago."""
    ago_ns = int(ago_s * 1e9)
    told: dict[str, Any] = {
        "path": "/v1/realtime",
        "query": {"model": "gpt-realtime"},
        "host": "api.openai.com",
        "port": 443,
        "started_ns": time.time_ns() - ago_ns,
        "mono_ns": time.monotonic_ns() - ago_ns,
    }
    return Handshake(**{**told, **given})
