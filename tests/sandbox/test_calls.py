"""The call object of what the database stores."""

from __future__ import annotations

from typing import Any

from otel_realtime import attributes as names
from otel_realtime.attributes import Meta, RootFact
from otel_realtime.sandbox.calls import call_of_runs
from otel_realtime.sandbox.model import BY_OTLP, BY_RUNS_API

RUN = "00000000-0000-0000-8009-3eecadff98ad"
CHILD = "00000000-0000-0000-0000-000000000c01"


def run(run_id: str, **more: Any) -> dict[str, Any]:
    """A run as the store returns it."""
    return {
        "id": run_id, "parent_id": RUN, "name": "n", "start_ns": 10**18, "end_ns": 10**18 + 10**9,
        "error": None, "delivered_by": BY_OTLP, "project": "p", "span_id": run_id[-17:].replace("-", ""),
        "otel_trace_id": "ab" * 16, "metadata": {}, "tags": [], "inputs": {}, "outputs": None,
        "attributes": {}, **more,
    }  # fmt: skip


def test_a_root_of_the_runs_api_says_what_a_span_says() -> None:
    """Its metadata are facts, its outputs the transcript; children stand by their run's ids."""
    metadata = {
        RootFact.THREAD_ID: "t", RootFact.TURNS: 1, Meta.AGENT_TYPE: "root", "customer": {"a": 1},
    }  # fmt: skip
    message = {"role": "user", "text": "Hi", "content": "Hi", "start_ms": 1, "end_ms": 2}
    root = run(
        RUN, parent_id=None, span_id="", delivered_by=BY_RUNS_API, metadata=metadata,
        outputs={"messages": [message]}, tags=["x"], error="gone",
    )  # fmt: skip
    chat = run(CHILD, attributes={names.RESPONSE_ID: "r", names.OPERATION: "chat"})
    call = call_of_runs([root, chat])
    assert call is not None
    assert (RUN, "ab" * 16, "t", "p", {"customer": {"a": 1}}, ["x"], "error", "gone") == (
        call["id"],
        call["trace_id"],
        call["thread_id"],
        call["project"],
        call["metadata"],
        call["tags"],
        call["status"],
        call["error"],
    )
    assert ["Hi"] == [turn["text"] for turn in call["turns"]]
    assert ["r"] == [response["id"] for response in call["responses"]]


def test_what_is_no_conversation_of_ours_has_none() -> None:
    """A run of the app's own, or nothing at all."""
    assert None is call_of_runs([run("8d3a2f66-7c39-4c5e-9d7e-111111111111", parent_id=None)])
    assert None is call_of_runs([])
