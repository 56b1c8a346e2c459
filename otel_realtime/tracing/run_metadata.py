"""Metadata on every run of a conversation; a separate module, as span processors need only this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.util.types import AttributeValue

from otel_realtime import attributes as names
from otel_realtime.attributes import Meta
from otel_realtime.core.protocol.events import replace_surrogates
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.version import VERSION

#: The app's metadata on runs below the root: maximum number of keys, and maximum length of a value.
#: The root has all of it, but a call has thousands of runs.
_RUN_KEYS: Final = 32
_RUN_CHARACTERS: Final = 1024


@dataclass(slots=True)
class RunMetadata:
    """Metadata that LangSmith's views need on every run of a conversation, not only on its root.

    There is one per conversation, shared by its spans. Filters and charts look at the runs themselves:
    https://docs.langchain.com/langsmith/trace-voice-fundamentals

    Attributes:
        app: the app's metadata; it may grow during the conversation.
        voice: it is a voice conversation, as far as is known.
    """

    app: Mapping[str, Any] = field(default_factory=dict)
    voice: bool = True

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the metadata as attributes of a span."""
        attributes: dict[str, AttributeValue] = {}
        for key, value in list(self.app.items())[:_RUN_KEYS]:
            scalar = scalar_of(value)
            if not isinstance(scalar, str) or len(scalar) <= _RUN_CHARACTERS:
                attributes[names.LS_METADATA + key] = scalar
        attributes[names.LS_METADATA + Meta.INTEGRATION] = names.INTEGRATION
        attributes[names.LS_METADATA + Meta.INTEGRATION_VERSION] = VERSION
        if self.voice:
            attributes[names.LS_METADATA + Meta.MODALITY] = names.MODALITY_AUDIO
        return attributes


def scalar_of(value: object) -> str | bool | int | float:
    """Return a value that can be encoded: OTLP integers have 64 bits, and JSON has no NaN.

    https://opentelemetry.io/docs/specs/otel/common/#attribute
    """
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else dump(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # not 0 for NaN and infinity
    return dump(value)
