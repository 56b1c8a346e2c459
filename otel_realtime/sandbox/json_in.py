"""Reads JSON from untrusted senders, so that every value that is read can be stored and shown again.

Python's parser accepts more than its encoder can write: integers of any length, and nesting up to the
limit of the stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

#: Deepest nesting that is read; payloads of a conversation have less than 20 levels.
MAX_DEPTH: Final = 128
#: Most digits of an integer that are kept: enough to see that the value is absurd.
_MAX_DIGITS: Final = 400


def read(
    text: str | bytes,
    *,
    on_int: Callable[[str, int], None] | None = None,
    on_constant: Callable[[str], Any] | None = None,
) -> Any:
    """Return the value of JSON text.

    Args:
        text: the text; bytes are UTF-8 (or UTF-16, UTF-32).
        on_int: called with the digits and the value of each integer.
        on_constant: returns the replacement for ``NaN``, ``Infinity`` or ``-Infinity``.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """

    def integer(digits: str) -> int:
        value = int(digits[:_MAX_DIGITS])
        if on_int is not None:
            on_int(digits, value)
        return value

    try:
        value = json.loads(text, parse_int=integer, parse_constant=on_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if is_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def is_deep(value: object) -> bool:
    """Return whether a value is nested deeper than ``MAX_DEPTH``."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, list | Mapping)
            for child in (item if isinstance(item, list) else item.values())
        ]
        if not level:
            return False
    return True
