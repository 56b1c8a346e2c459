"""The rows a call object is built from: spans with our attributes, from whatever stored them.

A store of spans hands over one ``Row`` a span. Attributes stand as they were exported; a store that
keeps JSON texts decoded may hand over objects. Facts stand as ``otel_realtime.<key>`` or as
``langsmith.metadata.<key>`` (a root that went by LangSmith's runs API has the second form only).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime import attributes as names

NS_PER_MS: Final = 1_000_000
#: Numbers that every JSON reader takes exactly: RFC 7493, 2.2.
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
        failed: its status is an error.
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
        """Return an attribute that is a non-empty text, else None."""
        return text(self.attributes.get(name))

    def fact_text(self, key: str) -> str | None:
        """Return a fact that is a non-empty text, else None."""
        return text(self.fact(key))

    def fact_int(self, key: str) -> int | None:
        """Return a fact that is a number, as an integer, else None."""
        return integer(self.fact(key))

    def fact_bool(self, key: str) -> bool | None:
        """Return a fact that is true or false, else None."""
        value = self.fact(key)
        return value if isinstance(value, bool) else None

    def json(self, name: str) -> Any:
        """Return the JSON value of an attribute; None if it has none."""
        value = self.attributes.get(name)
        return decoded(value) if isinstance(value, str) else value

    def event(self) -> Mapping[str, Any]:
        """Return the payload of an event's span; empty without one."""
        return mapping(mapping(self.json(names.PROMPT)).get("event"))


def decoded(value: str) -> Any:
    """Return what a JSON text holds; None if it is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str | None:
    """Return a non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """Return a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_EXACT < value < _EXACT else None


def integer(value: object) -> int | None:
    """Return a number as an integer, else None.

    A count, an offset or a duration below zero is not known: whoever said it knew no better.
    """
    found = number(value)
    return None if found is None or found < 0 else int(found)
