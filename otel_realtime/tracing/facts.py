"""Attributes that several kinds of span share: pure functions, no span is touched here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.usage import usage_attributes, usage_metadata

Attributes = dict[str, Any]


#: LangSmith prices by these provider names.
LS_PROVIDERS: Final[Mapping[str, str]] = {"azure.ai.openai": "azure", "x_ai": "xai"}


def product_facts(facts: Mapping[str, Any]) -> Attributes:
    """Product facts stand twice: for any backend and as LangSmith metadata; None is left out."""
    found: Attributes = {}
    for key, value in facts.items():
        if value is not None:
            found[names.OURS + key] = value
            found[names.LS_METADATA + key] = value
    return found


def usage_facts(usage: Any, limit: int) -> Attributes:
    if usage is None:
        return {}
    found: Attributes = {names.USAGE + key: count for key, count in usage_attributes(usage).items()}
    text = dump(usage_metadata(usage))
    if len(text) <= limit:  # half of it would be worse than none
        found[names.LS_USAGE] = text
    return found


def place(started: Moment, turn: int) -> Attributes:
    """Where in the conversation, and in its recording, something stands."""
    return product_facts({Fact.TURN: turn or None, Fact.AUDIO_OFFSET: started.t // NS_PER_MS})
