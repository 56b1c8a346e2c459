"""What a task knows of its conversation."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any


class Reference(weakref.ref[Any]):
    """Refers to an ``Engine`` without keeping it alive: a context may outlive the call.

    Each engine has one.

    Attributes:
        ended_ns: ``time.monotonic_ns()`` of the end of the conversation; 0 before. It stays known when
            the engine is gone.
    """

    ended_ns = 0


current: ContextVar[Reference | None] = ContextVar("otel_realtime_conversation", default=None)
"""The engine of the conversation that this task announced, or last received a frame of."""
