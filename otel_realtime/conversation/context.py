"""What a task knows of its conversation."""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any

# A weak reference to an ``Engine``, so that a context that outlives the call does not keep it alive.
current: ContextVar[weakref.ref[Any] | None] = ContextVar(
    "otel_realtime_conversation", default=None
)
"""The engine of the conversation that this task announced, or last received a frame of."""
