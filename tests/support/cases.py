"""Small calls that were stated wrongly once, fed by hand with the times of their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import otel_realtime
from tests.support.case_files import CASES, START_NS, rows
from tests.support.traces import Traces, facts


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of one case: ``dir``, ``event``, ``t_ms``."""
    return rows(CASES / f"{name}.jsonl")


def play(told: Iterable[dict[str, Any]], **given: Any) -> Traces:
    """Feed the rows to one conversation; return what was traced."""
    traces = Traces()
    with otel_realtime.conversation(tracer_provider=traces.provider, **given) as call:
        for row in told:
            feed = call.sent if row["dir"] == "sent" else call.received
            feed(row["event"], at_ns=START_NS + row["t_ms"] * 1_000_000)
    return traces


def row(direction: str, t_ms: int, kind: str, **keys: Any) -> dict[str, Any]:
    """One row."""
    return {"dir": direction, "t_ms": t_ms, "event": {"type": kind, **keys}}


def chats(traces: Traces) -> dict[str, dict[str, Any]]:
    """Attributes of each chat span, by the id of its response."""
    found = [facts(span) for span in traces.spans if span.name.startswith("chat ")]
    return {str(each["gen_ai.response.id"]): dict(each) for each in found}


def value(attributes: Any, name: str) -> Any:
    """A JSON attribute, parsed."""
    return json.loads(attributes[name])


def turns(traces: Traces) -> list[dict[str, Any]]:
    """The turns of the root's transcript."""
    messages: list[dict[str, Any]] = value(facts(traces.root), "gen_ai.completion")["messages"]
    return messages
