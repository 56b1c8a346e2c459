"""The attribute limits of the app's ``TracerProvider``, where they can be read.

The SDK truncates a value at the length limit, which would leave half a JSON document, and drops the
oldest attributes of a span that exceeds the count limit
(https://opentelemetry.io/docs/specs/otel/common/#attribute-limits). We avoid both by writing less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.diagnostics import warn_once

#: Number of our own attributes that a root can have; the app's metadata gets the rest of the limit.
OWN_ATTRIBUTES: Final = 72
#: Length of LangSmith's longest id, the dotted order of a deeply nested span: about 60 characters
#: per level.
_LONGEST_ID: Final = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """The capacity of a span.

    Attributes:
        payload: maximum characters of JSON per attribute.
        metadata: number of attributes for the app's metadata; ``None``: not limited.
    """

    payload: int
    metadata: int | None


def limits_of(provider: object, payload_limit: int) -> Limits:
    """Return the limits of a provider; a limit that cannot be read does not apply.

    Args:
        provider: the app's ``TracerProvider``.
        payload_limit: ``Settings.payload_limit``.
    """
    # The SDK has no public access to a provider's limits.
    limits = getattr(provider, "_span_limits", None)
    length = getattr(limits, "max_span_attribute_length", None)
    if not isinstance(length, int):  # the limit for spans takes precedence over the general one
        length = getattr(limits, "max_attribute_length", None)
    count = getattr(limits, "max_span_attributes", None)
    if isinstance(length, int) and length < _LONGEST_ID:
        warn_once(
            ("attribute length", length),
            "the tracer provider truncates attributes at %d characters: transcripts and payloads "
            "are shortened to that length, and spans that a Collector forwards to LangSmith may "
            "lose their parent; raise OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT or "
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            length,
        )
    return Limits(
        min(payload_limit, length) if isinstance(length, int) else payload_limit,
        max(count - OWN_ATTRIBUTES, 0) if isinstance(count, int) else None,
    )
