"""Conversation items in their order, and the turns they make."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.items import Item, Items
from tests.support.streams import bounded, json_values


def order(items: Items) -> list[str]:
    """The ids in conversation order."""
    return [item.id for item in items]


def test_an_item_stands_where_its_predecessor_says() -> None:
    """``previous_item_id`` places it; an unknown one puts it at the end."""
    items = Items()
    for item_id, after in (("a", None), ("c", "a"), ("b", "a"), ("d", "unknown")):
        items.get_or_create(item_id, 0, previous_id=after)
    assert ["a", "b", "c", "d"] == order(items)
    assert 4 == len(items)


def test_an_item_moves_when_its_place_becomes_known() -> None:
    """A VAD start puts it at the end, its commit where it belongs."""
    items = Items()
    for item_id in ("a", "b", "spoken"):
        items.get_or_create(item_id, 0)
    items.move(items.get_or_create("spoken", 0), "a")
    assert ["a", "spoken", "b"] == order(items)
    for after in ("a", None, "unknown", "spoken", 7, ["a"]):
        items.move(items.get_or_create("spoken", 0), after)
        assert ["a", "spoken", "b"] == order(items)


def test_an_item_is_known_by_its_id_only() -> None:
    """What is no text is no id."""
    items = Items()
    item = items.get_or_create("a", 7)
    assert item is items.get("a")
    assert item is items.get_or_create("a", 9)
    assert 7 == item.at_t
    assert [None, None, None] == [items.get(key) for key in (None, 7, ["a"])]


def test_turns_are_runs_of_one_role() -> None:
    """A system message is no turn, and a turn's number never changes."""
    items = Items()
    roles = ("system", "user", "user", "assistant", "user")
    found = [items.get_or_create(str(index), 0, role=role) for index, role in enumerate(roles)]
    assert [0, 1, 1, 2, 3] == [item.turn for item in found]
    items.assign_turn(found[1])
    assert (1, 3) == (found[1].turn, items.turns)


def test_calls_and_results_are_no_turns() -> None:
    """Only messages with a role are said."""
    items = Items()
    item = items.get_or_create("call", 0)
    item.merge({"type": "function_call", "role": "assistant", "name": "f"})
    items.assign_turn(item)
    assert (0, 0) == (item.turn, items.turns)


def test_an_item_takes_over_what_the_wire_says() -> None:
    """A later event adds to it; nulls and empty texts take nothing away."""
    item = Item("item_1")
    item.merge(
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Look:"},
                {"type": "output_audio", "transcript": "There it is.", "audio": None},
            ],
        }
    )
    item.merge({"status": "completed", "role": None, "content": [{"type": "x", "text": ""}, None]})
    assert ("assistant", "completed", True) == (item.role, item.status, item.audio)
    assert "Look:\nThere it is." == item.text


def test_a_call_takes_over_its_parts() -> None:
    """Name, arguments, result and error."""
    item = Item("item_1")
    item.merge({"type": "mcp_call", "name": "f", "arguments": "{}", "call_id": "call_1"})
    item.merge({"output": "done", "error": {"message": "no"}})
    assert ("mcp_call", "f", "{}", "call_1") == (item.kind, item.name, item.arguments, item.call_id)
    assert ("done", "no") == (item.output, item.error)
    item.merge({"error": "plain"})
    assert "plain" == item.error


@bounded
@given(json_values, json_values)
def test_any_item_can_be_absorbed(one: Any, other: Any) -> None:
    """Whatever stands where, nothing raises and the text is text."""
    item = Item("item_1")
    for key in ("type", "role", "name", "arguments", "output", "error", "content", "call_id"):
        item.merge({key: one, "content": [other, {"type": one, "text": other, "transcript": one}]})
    assert isinstance(item.text, str)


steps = st.lists(
    st.tuples(
        st.sampled_from("abcdefg"),
        st.sampled_from(["a", "b", "c", "x", None]),
        st.sampled_from(["", "user", "assistant", "system"]),
    ),
    max_size=30,
)


@bounded
@given(steps)
def test_order_and_turns_hold_in_any_sequence(sequence: list[tuple[str, str | None, str]]) -> None:
    """Every item stands once; turns are numbered from 1 without gaps."""
    items = Items()
    for item_id, after, role in sequence:
        items.move(items.get_or_create(item_id, 0, role=role, previous_id=after), after)
    assert sorted({item_id for item_id, _, _ in sequence}) == sorted(order(items))
    assert set(range(1, items.turns + 1)) == {item.turn for item in items if item.turn}
