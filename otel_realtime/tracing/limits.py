"""The limits that the app's own TracerProvider sets on attributes, as far as they can be seen.

OpenTelemetry cuts a long value at its limit, which would leave half a JSON document, and drops
the oldest attributes of a span that has too many. Both are avoided by asking for less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.diagnostics import warn_once

#: Attributes of our own that a root may get; the rest of the limit is the app's metadata.
OWN_ATTRIBUTES: Final = 72
#: Ids of LangSmith's get this long when spans nest deeply.
_LONGEST_ID: Final = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits on a span: characters of JSON per attribute, attributes of the app's metadata."""

    payload: int
    metadata: int | None


def limits_of(provider: object, payload_limit: int) -> Limits:
    """Read a provider's limits; what cannot be read does not limit."""
    found = getattr(provider, "_span_limits", None)
    length = getattr(found, "max_span_attribute_length", None)
    if not isinstance(length, int):
        length = getattr(found, "max_attribute_length", None)
    count = getattr(found, "max_span_attributes", None)
    if isinstance(length, int) and length < _LONGEST_ID:
        warn_once(
            ("attribute length", length),
            "the tracer provider cuts attributes at %d characters "
            "(OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT or OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT): "
            "transcripts and payloads are shortened to that, and spans that a Collector forwards "
            "to LangSmith may not find their parent",
            length,
        )
    return Limits(
        min(payload_limit, length) if isinstance(length, int) else payload_limit,
        max(count - OWN_ATTRIBUTES, 0) if isinstance(count, int) else None,
    )
