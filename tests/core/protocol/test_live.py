"""What a Live model delegates, in the words of a Realtime conversation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.dialects import LIVE, LIVE_SIDEBAND
from otel_realtime.core.protocol.live import LiveReader
from otel_realtime.core.protocol.responses import Moment, Response
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import transcript
from otel_realtime.core.protocol.usage import read_usage
from tests.support.streams import bounded

AT = Moment(1_000_000, 1_780_000_000_001_000_000)
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 16,
}


def told(kind: str, delegation: str | None = "del_1", **keys: Any) -> dict[str, Any]:
    """An event of the model that does the work."""
    return {"type": "response.event", "delegation_id": delegation, "event": {"type": kind, **keys}}


def after(*events: dict[str, Any], sent: tuple[dict[str, Any], ...] = ()) -> ConversationState:
    """A Live session after these events."""
    state = ConversationState()
    state.speak(LIVE)
    for event in events:
        state.receive(event, AT)
    for event in sent:
        state.send(event, AT)
    return state


def only(state: ConversationState) -> Response:
    """Its only response."""
    (response,) = state.responses.values()
    return response


def test_a_delegated_response_has_model_usage_and_status() -> None:
    """Though the Responses API names the details of usage differently, and its end by its outcome."""
    response = only(
        after(
            told("response.created", response={"id": "r1", "model": "gpt-5.1"}),
            told(
                "response.completed", response={"id": "r1", "status": "completed", "usage": USAGE}
            ),
        )
    )
    usage = read_usage(response.usage)
    assert usage is not None
    assert ("completed", "gpt-5.1", "del_1", True) == (
        response.status,
        response.config["model"],
        response.delegation_id,
        response.delegated,
    )
    assert (10, 6, 4, 2) == (usage.input, usage.output, usage.cached, usage.reasoning)


@pytest.mark.parametrize(
    ("kind", "about", "status", "reason"),
    [
        ("response.failed", {"error": {"code": "server_error", "message": "x"}}, "failed", "server_error"),
        ("response.incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "incomplete", "max_output_tokens"),
    ],
)  # fmt: skip
def test_a_delegated_response_that_fails_says_why(
    kind: str, about: dict[str, Any], status: str, reason: str
) -> None:
    """As ``status_details`` of a Realtime response does."""
    response = only(after(told(kind, response={"id": "r1", **about})))
    assert (status, reason) == (response.status, response.status_reason)


def test_items_belong_to_the_response_of_their_delegation() -> None:
    """The Responses API names the response at its start only; two delegations may run at once."""
    state = after(
        told("response.created", "d1", response={"id": "r1"}),
        told("response.created", "d2", response={"id": "r2"}),
        told("response.output_item.added", "d1", item={"id": "i1", "type": "message"}),
        told("response.output_item.added", "d2", item={"id": "i2", "type": "message"}),
    )
    assert {"r1": ["i1"], "r2": ["i2"]} == {
        name: response.outputs for name, response in state.responses.items()
    }


def test_a_function_call_is_answered_by_the_client() -> None:
    """By ``response.item.create``, and counts as a tool call."""
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look"}
    state = after(
        told("response.created", response={"id": "r1"}),
        told("response.output_item.added", item={**call, "arguments": ""}),
        told("response.function_call_arguments.done", item_id="f1", arguments="{}"),
        told("response.completed", response={"id": "r1"}),
        sent=(
            {
                "type": "response.item.create",
                "item": {"type": "function_call_output", "call_id": "c1", "output": "ok"},
            },
        ),
    )
    made = state.calls["c1"]
    assert ("look", "{}", "ok", "r1", 1) == (
        made.name,
        made.arguments,
        made.output,
        made.response_id,
        state.counts.tool_calls,
    )


def test_what_another_model_writes_is_nobody_s_turn() -> None:
    """The Live model reads it and says it in its own words."""
    part = {"type": "output_text", "text": "Rain."}
    message = {"id": "m1", "type": "message", "role": "assistant", "content": [part]}
    state = after(
        told("response.created", response={"id": "r1"}),
        told("response.output_item.done", item=message),
        told("response.completed", response={"id": "r1", "output": [message]}),
    )
    assert ["Rain."] == [item.text for item in only(state).output_items(state.items)]
    assert ([], 0) == (transcript(state.items, None, frozenset()), state.items.turns)


def test_a_decision_is_a_model_call() -> None:
    """It is over when it is told, with its usage."""
    decision = {"model": "gpt-decide", "answers": [{"type": "predicate"}], "usage": USAGE}
    event = {
        "type": "decision.event",
        "event_id": "e1",
        "delegation_id": None,
        "event": {"type": "decision.completed", "decision": decision},
    }
    state = after(event)
    response = only(state)
    assert ("completed", "gpt-decide") == (response.status, response.config["model"])
    assert ['[{"type":"predicate"}]'] == [i.text for i in response.output_items(state.items)]


def test_usage_is_a_total() -> None:
    """The latest report holds, and the end says why it ended."""
    state = after(
        {"type": "session.started", "session": {"id": "s1", "model": "gpt-live-1"}},
        {"type": "session.usage.updated", "usage": {"seconds": 3}, "context_window": {"usage_ratio": 0.5}},
        {"type": "session.usage.updated", "usage": {"seconds": 7, "active_seconds": 5}},
        {"type": "session.closed", "reason": "expired", "usage": {"seconds": 8, "paused_seconds": 2}},
    )  # fmt: skip
    session = state.session
    assert (8.0, {"paused": 2}, 0.5, "expired", "gpt-live-1") == (
        session.billed_s,
        session.billed_parts,
        session.context_ratio,
        session.closed_because,
        session.model,
    )


def test_an_error_refuses_what_it_names() -> None:
    """By ``client_event_id``, here."""
    (read,) = LiveReader().received({"type": "error", "error": {"client_event_id": "e7"}})
    assert "e7" == read["error"]["event_id"]


def test_a_sideband_s_audio_is_not_in_the_session_s_format() -> None:
    """The server reflects PCM16 whatever the telephone sends."""
    state = ConversationState()
    state.speak(LIVE_SIDEBAND)
    audio = {"format": {"type": "audio/pcmu", "rate": 8000}, "output": {"voice": "marin"}}
    state.receive({"type": "session.started", "session": {"audio": audio}}, AT)
    assert (None, "marin") == (state.session.format("input"), state.session.voice)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "event",
        "delegation_id",
        "response",
        "item",
        "error",
        "usage",
        "session",
        "reason",
        "event_id",
    ]
)
KINDS = st.sampled_from([
    "response.event", "decision.event", "error", "session.started", "session.updated", "session.closed",
    "session.usage.updated", "session.delegation.created", "transport.dtmf.received",
])  # fmt: skip
INNER = st.sampled_from(
    [
        "response.created",
        "response.completed",
        "response.output_item.done",
        "error",
        "response.mcp_list_tools.failed",
    ]
)


@bounded
@given(
    st.lists(
        st.tuples(KINDS, INNER | st.none(), st.dictionaries(KEYS, JSON, max_size=4)), max_size=8
    )
)
def test_nothing_odd_raises(rows: list[tuple[str, str | None, dict[str, Any]]]) -> None:
    """Whatever stands where."""
    state = ConversationState()
    state.speak(LIVE)
    for kind, inner, keys in rows:
        event = {**keys, "type": kind}
        if inner is not None:
            event["event"] = {**keys, "type": inner}
        state.receive(event, AT)
        state.send({**keys, "type": "response.item.create"}, AT)
