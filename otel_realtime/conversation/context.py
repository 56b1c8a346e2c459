"""What a task knows about its conversation."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any


class Reference(weakref.ref[Any]):
    """Refers to an ``Engine`` without keeping it alive, because a context may outlive the call.

    Each engine has one reference.

    Attributes:
        ended_ns: ``time.monotonic_ns()`` at the end of the conversation; 0 until then. It remains
            available after the engine has been collected.
    """

    ended_ns = 0


current: ContextVar[Reference | None] = ContextVar("otel_realtime_conversation", default=None)
"""The engine of the conversation that this task announced or last received a frame from."""
