"""Requests and responses are matched by what the protocol gives, in whatever order they come."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.requests import MOST_OPEN, Requests
from tests.support.streams import at, bounded, json_values


def requests(*sources: dict[str, Any]) -> Requests:
    """The client asked for these, with the ids ``e0``, ``e1``, ..."""
    found = Requests()
    for index, source in enumerate(sources):
        event = {"type": "response.create", "event_id": f"e{index}", "response": source}
        found.sent(event, at(index))
    return found


def aside(label: str | None, **keys: Any) -> dict[str, Any]:
    """A request outside the conversation."""
    return {"conversation": "none", "metadata": label and {"topic": label}, **keys}


def echoed(label: str | None, **keys: Any) -> dict[str, Any]:
    """The response to it, as the server announces it."""
    return {"conversation_id": None, "metadata": label and {"topic": label}, **keys}


def matched(found: Requests, response_id: str, source: dict[str, Any]) -> str | None:
    """Id of the request that a response belongs to."""
    request = found.match(response_id, source)
    return None if request is None else request.event_id


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_several_at_once_are_told_apart_by_their_labels(order: tuple[str, ...]) -> None:
    """Also one in the conversation, and one without a label."""
    found = requests(*map(aside, "abc"), aside(None), {"instructions": "Greet."})
    expected = dict(zip("abc", ("e0", "e1", "e2"), strict=True))
    assert [expected[label] for label in order] == [
        matched(found, label, echoed(label)) for label in order
    ]
    assert "e4" == matched(found, "in", {"conversation_id": "conv_1", "metadata": None})
    assert "e3" == matched(found, "out", echoed(None))


def test_equal_labels_are_answered_in_order() -> None:
    """Nothing tells them apart but their order and what else the response repeats."""
    found = requests(aside("a"), aside("a", max_output_tokens=7), aside("a"))
    assert "e1" == matched(found, "r1", echoed("a", max_output_tokens=7))
    assert ["e0", "e2", None] == [matched(found, name, echoed("a")) for name in ("r", "s", "t")]


def test_a_response_nobody_asked_for() -> None:
    """The server's VAD begins it, or another client of the session: its label is unknown."""
    found = requests({"metadata": {"topic": "a"}})
    assert None is matched(found, "r1", {"conversation_id": "conv_1", "metadata": None})
    assert None is matched(found, "r2", {"conversation_id": "conv_1", "metadata": {"topic": "b"}})
    assert "e0" == matched(found, "r3", {"conversation_id": "conv_1", "metadata": {"topic": "a"}})


def test_a_server_that_does_not_echo() -> None:
    """Without the key any request of that kind may be meant; outside the conversation always one."""
    found = requests(aside("a"), {"metadata": {"topic": "b"}})
    assert "e1" == matched(found, "r1", {"conversation_id": "conv_1"})
    assert "e0" == matched(found, "r2", echoed(None))


def test_a_refused_request_is_withdrawn() -> None:
    """Whether it is still open, or was matched with a response that began by itself."""
    found = requests({"instructions": "one"}, aside("b"))
    request = found.match("vad", {"conversation_id": "conv_1"})
    assert found.refused("e0", "conversation_already_has_active_response") is request
    assert None is found.refused("e1", "invalid_value")
    assert None is matched(found, "r", echoed("b"))


def test_a_refused_request_without_an_id() -> None:
    """Only one for the conversation can be refused because a response is active."""
    found = Requests()
    for source in ({"instructions": "one"}, aside("b")):
        found.sent({"type": "response.create", "response": source}, at(0))
    found.refused(None, "invalid_value")
    found.refused(None, "conversation_already_has_active_response")
    assert None is found.match("r", {"conversation_id": "conv_1"})
    assert None is not found.match("b", echoed("b"))


def test_requests_that_are_never_answered_do_not_pile_up() -> None:
    """The oldest is forgotten, the others are not."""
    found = requests(*(aside(str(index)) for index in range(MOST_OPEN + 1)))
    given = [matched(found, name, echoed(name)) for name in ("1", str(MOST_OPEN))]
    assert ["e1", f"e{MOST_OPEN}"] == given
    assert "e2" == matched(found, "r", echoed("0"))  # the label is unknown by now


@bounded
@given(st.lists(st.tuples(st.booleans(), json_values)))
def test_nothing_raises(events: list[tuple[bool, Any]]) -> None:
    """Whatever the peers write."""
    found = Requests()
    for sent, value in events:
        if sent:
            found.sent({"type": "response.create", "response": value}, at(0))
        else:
            found.match("r", value if isinstance(value, dict) else {"metadata": value})
            found.refused(None, None)
