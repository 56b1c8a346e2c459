"""What a client replays to a new session of the server is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.replays import Replay
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import transcript
from tests.support.streams import (
    Row,
    answer,
    asked,
    at,
    bounded,
    created,
    done,
    feed,
    received,
    sent,
)
from tests.support.streams import said as message

NOBODY: frozenset[str] = frozenset()
CONVERSATION = [("user", "How are you?"), ("assistant", "Fine, and you?"), ("user", "Fine.")]


def items(*said: tuple[str, str]) -> list[Item]:
    """Messages of a conversation: role and text."""
    found = []
    for number, (role, text) in enumerate(said):
        item = Item(f"item_{number}", role=role, committed=True)
        item.set_part(0, text)
        found.append(item)
    return found


def recognised(known: list[Item], *said: tuple[str, str]) -> list[str | None]:
    """The ids of the items that are replayed with these roles and texts; None for new ones."""
    replay = Replay()
    replay.expect(known)
    found = [replay.recognise(message(text, role=role)) for role, text in said]
    return [None if item is None else item.id for item in found]


def test_the_whole_conversation() -> None:
    """In its order; what comes after it is new."""
    again = recognised(items(*CONVERSATION), *CONVERSATION, ("user", "So?"), CONVERSATION[0])
    assert ["item_0", "item_1", "item_2", None, None] == again


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([("user", "How  are\nyou?")], ["item_0"]),
        ([("user", "How are you?"), ("assistant", "Fine, and")], ["item_0", "item_1"]),
        ([("user", "How are you?"), ("user", "Fine.")], ["item_0", "item_2"]),
        ([("system", "Be short."), ("user", "How are you?")], [None, "item_0"]),
        ([("user", "Fine.")], [None]),
        ([("user", "How are")], [None]),
        ([("assistant", "How are you?")], [None]),
        ([("user", "How are you?"), ("assistant", "No."), ("user", "Fine.")], ["item_0", None, None]),
        ([("user", "")], [None]),
    ],
    ids=[
        "other spaces", "what was heard of an answer", "one left out", "the developer's word",
        "not from the beginning on", "a part of what was asked", "another role",
        "nothing after what is new", "nothing",
    ],
)  # fmt: skip
def test_which_messages_are_known(said: list[tuple[str, str]], expected: list[str | None]) -> None:
    """By what they say, in order, from the beginning on."""
    assert expected == recognised(items(*CONVERSATION), *said)


def test_nothing_is_expected_before_a_loss() -> None:
    """Nor of items that the client deleted, or that never were part of the conversation."""
    assert [None] == recognised([], CONVERSATION[0])
    (deleted,) = items(CONVERSATION[0])
    deleted.deleted = True
    assert [None] == recognised([deleted], CONVERSATION[0])
    (unheard,) = items(CONVERSATION[0])
    unheard.committed = False
    assert [None] == recognised([unheard], CONVERSATION[0])


@bounded
@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from("abc")), max_size=6),
    st.data(),
)
def test_any_part_in_order_is_known(said: list[tuple[str, str]], data: st.DataObject) -> None:
    """Each item at most once, whatever is left out behind the first one."""
    kept = [one for number, one in enumerate(said) if not number or data.draw(st.booleans())]
    found = recognised(items(*said), *kept)
    assert None not in found
    assert sorted(set(found), key=str) == found


# -- in a conversation -----------------------------------------------------------------------------


def heard() -> ConversationState:
    """A conversation of a question, a call, its result and an answer, whose connection closed."""
    call = asked("item_c", "call_1")
    reply = {**message("It is sunny.", role="assistant"), "id": "item_a"}
    rows: list[Row] = [
        received("conversation.item.added", item={**message("The weather?"), "id": "item_q"}),
        created("r1"),
        done("r1", call),
        answer("call_1"),
        received(
            "conversation.item.added",
            item={"id": "item_o", "type": "function_call_output", "call_id": "call_1"},
        ),
        created("r2"),
        done("r2", reply),
    ]
    state, _ = feed(rows)
    state.disconnected(at(100))
    return state


def said(state: ConversationState) -> list[str]:
    """The texts of its transcript."""
    return [" ".join(turn.texts) for turn in transcript(state.items, None, NOBODY)]


def replayed(*given: dict[str, Any], echoes: bool = True, prefix: str = "new") -> list[Row]:
    """The rows in which a client creates items again, and the server adds them with new ids."""
    rows = [sent("conversation.item.create", item=item) for item in given]
    if echoes:
        rows += [
            received("conversation.item.added", item={"id": f"{prefix}_{number}", **item})
            for number, item in enumerate(given)
        ]
    return rows


HISTORY = [
    message("The weather?"),
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    message("It is sunny.", role="assistant"),
]


@pytest.mark.parametrize("ids", [(), ("item_q", "item_c", "item_o", "item_a")])
@pytest.mark.parametrize("echoes", [True, False])
def test_history_makes_nothing_new(ids: tuple[str, ...], *, echoes: bool) -> None:
    """No turn, no tool, no input of the next response, with ids or without; also where the server
    confirms nothing.
    """
    state = heard()
    state._reading._confirms = echoes
    history = [{**item, "id": one} for item, one in zip(HISTORY, ids, strict=False)] or HISTORY
    rows = replayed(*history, message("And now?"), echoes=echoes)
    _, changes = feed([*rows, sent("response.create"), created("r3")], state)
    assert [] == changes
    assert ["The weather?", "It is sunny.", "And now?"] == said(state)
    assert ["And now?"] == [
        item.text for one in state.responses["r3"].inputs if (item := state.items.get(one))
    ]
    assert 4 == state.responses["r3"].context_items
    assert (1, 3) == (state.counts.tool_calls, state.items.turns)


def test_what_was_heard_of_an_answer_does_not_replace_what_was_said() -> None:
    """A client may replay no more of it, with its id."""
    state = heard()
    part = {**message("It is", role="assistant"), "id": "item_a"}
    done_again = received("conversation.item.done", item=part)
    feed([*replayed(part), done_again], state)
    assert ["The weather?", "It is sunny."] == said(state)


def test_a_question_alone_may_be_asked_again() -> None:
    """Only who replays speaks for the model."""
    state = heard()
    feed(replayed(message("The weather?")), state)
    assert ["The weather?", "It is sunny.", "The weather?"] == said(state)


def test_a_response_ends_the_replay() -> None:
    """What is said again later is said again."""
    state = heard()
    feed([*replayed(*HISTORY), created("r3")], state)
    feed(replayed(HISTORY[0], HISTORY[3], prefix="newer"), state)
    assert ["The weather?", "It is sunny."] * 2 == said(state)
