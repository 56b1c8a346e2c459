"""Separates the app's own metadata on a root span from our facts there."""

from __future__ import annotations

from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta, RootFact
from otel_realtime.calls.rows import Row


def _keys(*owners: type) -> frozenset[str]:
    return frozenset(
        value
        for owner in owners
        for key, value in vars(owner).items()
        if not key.startswith("_") and isinstance(value, str)
    )


#: Our own keys: facts, and keys that LangSmith's pages read.
_OURS: Final = _keys(Fact, RootFact, Meta)
#: Prefixes of our own keys.
_PREFIXES: Final = (
    *names.LANGSMITH_ONLY, RootFact.INTERRUPTIONS_BY, RootFact.FALSE_BY, RootFact.LATENCY, Fact.RESPONSE_METADATA,
)  # fmt: skip


def app_metadata(root: Row) -> dict[str, Any]:
    """Return the metadata that the app gave.

    If the app used one of our keys, our fact has replaced its value, so the key is left out.
    """
    found: dict[str, Any] = {}
    for prefix in (names.LS_METADATA, names.APP_METADATA):
        for name, value in root.attributes.items():
            key = name.removeprefix(prefix)
            if key != name and key not in _OURS and not key.startswith(_PREFIXES):
                found.setdefault(key, value)
    return found
