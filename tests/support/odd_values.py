"""Values that no JSON writer and no stack is made for."""

from __future__ import annotations

from typing import Any


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


class Unreadable:
    """An object without words."""

    def __str__(self) -> str:
        raise ValueError("no")
