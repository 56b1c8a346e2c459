"""Set-up: the instrumentor (entry point ``openai_realtime``); ``configure()`` has its own module."""

from __future__ import annotations

from otel_realtime.setup.instrumentor import (
    OpenAIRealtimeInstrumentor,
    aflush,
    flush,
    instrument,
    shutdown,
    uninstrument,
)

__all__ = [
    "OpenAIRealtimeInstrumentor",
    "aflush",
    "flush",
    "instrument",
    "shutdown",
    "uninstrument",
]
