"""Values out of JSON that anybody may have written: the expected type, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_realtime.core.protocol.events import clean

_NO_TABLE: Final[Mapping[str, Any]] = {}


def table(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else _NO_TABLE


def text_or_none(value: object) -> str | None:
    """The value if it is a non-empty string."""
    return value if isinstance(value, str) and value else None


def milliseconds(value: object) -> int | None:
    """The value if it is a number that can be a time in ms."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return int(value)
    return None


def text_of(value: object) -> str | None:
    """Return a value of the app's as text that encodes; None if it cannot be put into words."""
    try:
        return clean(str(value))
    except Exception:  # noqa: BLE001 - an app's own ``__str__``
        return None
