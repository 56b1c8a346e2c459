"""JSON and attribute values that always encode, whatever an app or a server put into them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

_INT64: Final = 1 << 63
_MAX_DEPTH: Final = 64


def clean_text(text: str) -> str:
    """Return the text with lone surrogates (half an emoji) replaced, so it encodes as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A pair that was split by JSON escapes becomes its character again, the rest a mark.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_int(number: int) -> int | str:
    """Return the number, or its digits when it does not fit 64 bits."""
    return number if -_INT64 <= number < _INT64 else _digits(number)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # Python refuses to write out integers of more than 4,300 digits
        return hex(number)[:64] + "..."


def clean_json(value: Any, depth: int = 0) -> Any:
    """Return a copy of a value that JSON can hold: no NaN, no huge int, no foreign object."""
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
    except Exception:  # noqa: BLE001 - an app's own __str__
        return f"<{type(value).__name__}>"


def encode_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON; never fails."""
    clean = clean_json(value)
    return json.dumps(clean, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
