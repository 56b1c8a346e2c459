"""OpenTelemetry-native tracing and recording of OpenAI Realtime voice conversations.

::

    import otel_realtime

    otel_realtime.configure()    # only for apps without OpenTelemetry
    otel_realtime.instrument()   # every Realtime conversation is one trace from now on
"""

from __future__ import annotations

from otel_realtime.conversation.announce import conversation
from otel_realtime.conversation.options import using
from otel_realtime.conversation.public import Conversation, current_conversation
from otel_realtime.errors import (
    ConfigError,
    DeliveryError,
    OtelRealtimeError,
    RecordingError,
)
from otel_realtime.settings import Settings
from otel_realtime.setup import (
    OpenAIRealtimeInstrumentor,
    aflush,
    configure,
    flush,
    instrument,
    shutdown,
    uninstrument,
)
from otel_realtime.version import VERSION as __version__

__all__ = [
    "ConfigError",
    "Conversation",
    "DeliveryError",
    "OpenAIRealtimeInstrumentor",
    "OtelRealtimeError",
    "RecordingError",
    "Settings",
    "__version__",
    "aflush",
    "configure",
    "conversation",
    "current_conversation",
    "flush",
    "instrument",
    "shutdown",
    "uninstrument",
    "using",
]
