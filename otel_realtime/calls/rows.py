"""Defines the rows that a call object is built from: spans with our attributes, from any span store.

A span store passes one ``Row`` per span. Attributes are as exported; a store that keeps JSON texts
decoded may pass objects instead. A fact is the attribute ``otel_realtime.<key>`` or
``langsmith.metadata.<key>`` (a root that was sent by LangSmith's runs API has only the second form).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime import attributes as names

NS_PER_MS: Final = 1_000_000
#: Numbers below this are exact in every JSON reader: RFC 7493, 2.2.
_EXACT: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One span.

    Attributes:
        span_id: its id.
        parent_id: id of its parent; None for the root.
        name: its name.
        start_ns: its start, epoch ns.
        end_ns: its end, epoch ns; None while it is open.
        failed: whether its status is an error.
        message: description of that status; None without one.
        attributes: its attributes.
    """

    span_id: str
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int | None = None
    failed: bool = False
    message: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def fact(self, key: str) -> Any:
        """Return a product fact (``attributes.Fact``, ``RootFact``) in either form; None without."""
        value = self.attributes.get(names.OURS + key)
        return self.attributes.get(names.LS_METADATA + key) if value is None else value

    def text(self, name: str) -> str | None:
        """Return an attribute if it is a non-empty text, otherwise None."""
        return text(self.attributes.get(name))

    def fact_text(self, key: str) -> str | None:
        """Return a fact if it is a non-empty text, otherwise None."""
        return text(self.fact(key))

    def fact_int(self, key: str) -> int | None:
        """Return a fact as an integer if it is a number that is not negative, otherwise None."""
        return integer(self.fact(key))

    def fact_bool(self, key: str) -> bool | None:
        """Return a fact if it is a boolean, otherwise None."""
        value = self.fact(key)
        return value if isinstance(value, bool) else None

    def json(self, name: str) -> Any:
        """Return an attribute as a JSON value; None if it is missing or a text that is not JSON."""
        value = self.attributes.get(name)
        return decoded(value) if isinstance(value, str) else value

    def event(self) -> Mapping[str, Any]:
        """Return the payload of an event span; empty without one."""
        return mapping(mapping(self.json(names.PROMPT)).get("event"))


def decoded(value: str) -> Any:
    """Return the value of a JSON text; None if the text is not JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str | None:
    """Return the value if it is a non-empty text, otherwise None."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """Return the value if it is a finite number below 2**53, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_EXACT < value < _EXACT else None


def integer(value: object) -> int | None:
    """Return a number as an integer, otherwise None.

    A negative count, offset or duration cannot be right, so it counts as unknown.
    """
    found = number(value)
    return None if found is None or found < 0 else int(found)
