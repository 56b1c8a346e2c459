"""OpenTelemetry-native tracing and recording of OpenAI Realtime voice conversations.

::

    import otel_realtime

    otel_realtime.configure()    # only for apps that do not set up OpenTelemetry
    otel_realtime.instrument()   # from now on, every Realtime conversation becomes one trace
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.conversation.announce import conversation
from otel_realtime.conversation.options import using
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
    flush,
    instrument,
    shutdown,
    uninstrument,
)
from otel_realtime.version import VERSION

if TYPE_CHECKING:
    from otel_realtime.conversation.public import Conversation, current_conversation
    from otel_realtime.setup.configure import configure

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

#: Version of the package.
__version__: str = VERSION

#: Names whose modules import most of the package; they are imported on first use.
_LATER: Final = {
    "Conversation": "otel_realtime.conversation.public",
    "configure": "otel_realtime.setup.configure",
    "current_conversation": "otel_realtime.conversation.public",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
