"""Type-check values from decoded JSON: return the value if it has the expected type, else a default.

The peer may send anything, so the core never relies on a key being present or on its value having the
documented type.
"""

from __future__ import annotations

from typing import Final

from otel_realtime.core.protocol.events import JsonMapping, replace_surrogates
from otel_realtime.interrupts import let_through

_EMPTY_OBJECT: Final[JsonMapping] = {}


def object_or_empty(value: object) -> JsonMapping:
    """Return the value if it is a JSON object, else an empty object."""
    return value if isinstance(value, dict) else _EMPTY_OBJECT


def text_or_none(value: object) -> str | None:
    """Return the value if it is a non-empty string, else None."""
    return value if isinstance(value, str) and value else None


def milliseconds(value: object) -> int | None:
    """Return the value as whole milliseconds if it is a number that can be a time, else None."""
    # ``True`` is an ``int`` in Python; above 2**53 a JSON number may not be exact (RFC 7493, 2.2).
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return int(value)
    return None


def content_index(value: object) -> int:
    """Return the value if it is a plausible ``content_index``, else 0, the most common index."""
    return value if type(value) is int and 0 <= value < 2**31 else 0


def safe_str(value: object) -> str | None:
    """Return ``str(value)`` as text that can be encoded, or None if the conversion raises."""
    try:
        return replace_surrogates(str(value))
    except BaseException as error:  # noqa: BLE001 - the app's ``__str__`` may raise anything
        let_through(error)
        return None
