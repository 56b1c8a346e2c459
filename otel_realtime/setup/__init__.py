"""Set-up: the instrumentor (entry point ``openai_realtime``) and ``configure()``."""

from __future__ import annotations

from otel_realtime.setup.configure import configure
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
    "configure",
    "flush",
    "instrument",
    "shutdown",
    "uninstrument",
]
