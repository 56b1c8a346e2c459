"""Makes JSON and attribute values that can always be encoded, whatever an app or a server provides.

One value that cannot be encoded fails the whole batch of spans, or the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from otel_realtime.interrupts import let_through

#: OTLP integers are signed with 64 bits:
#: https://github.com/open-telemetry/opentelemetry-proto (common.proto, AnyValue)
_INT64: Final = 1 << 63
#: Levels of nesting that are kept; the limit also ends a value that contains itself.
_MAX_DEPTH: Final = 64


def clean_text(text: str) -> str:
    """Return text that can be encoded as UTF-8: lone surrogates are replaced.

    They come from emoji that were split between two JSON escapes.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Via UTF-16, two halves of a pair become their character again, and a lone half becomes U+FFFD.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_int(number: int) -> int | str:
    """Return the number, or its digits as text if it does not fit into 64 bits."""
    return number if -_INT64 <= number < _INT64 else _digits(number)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:
        # https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation
        return hex(number)[:64] + "..."


def clean_json(value: object, depth: int = 0) -> object:
    """Return a copy of a value that is valid JSON: no NaN, no huge integers, no other objects.

    Args:
        value: any value.
        depth: level of nesting.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return clean_int(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean_json(item, depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    return _described(value)


def _described(value: object) -> str:
    try:
        return clean_text(str(value))
    except BaseException as error:  # noqa: BLE001 - the app's own __str__
        let_through(error)
        return f"<{type(value).__name__}>"


def encode_json(value: object) -> bytes:
    """Return any value as compact JSON in UTF-8; never raises."""
    clean = clean_json(value)
    return json.dumps(clean, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
