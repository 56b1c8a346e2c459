"""What a response read, and what its request overrode."""

from __future__ import annotations

from typing import Any

from otel_realtime.core.protocol.asked import instructions, read_items, tools
from otel_realtime.core.protocol.state import ConversationState
from tests.support.streams import Row, answer, asked, created, done, feed, received, said, sent


def read(*rows: Row) -> list[str]:
    """Ids of what the last response read."""
    state, _ = feed(rows)
    return [item.id for item in read_items(last(state), state.items, state.calls)]


def last(state: ConversationState) -> Any:
    """The latest response."""
    return list(state.responses.values())[-1]


def added(item_id: str, **source: Any) -> Row:
    """The server adds an item."""
    return received("conversation.item.added", item={"id": item_id, **source})


def output(item_id: str, call_id: str) -> Row:
    """The server adds the result of a call."""
    return added(item_id, type="function_call_output", call_id=call_id, output="sunny")


def test_the_calls_stand_before_their_results() -> None:
    """Parallel ones are one message: first all calls, then all results."""
    rows = [
        created("r1"),
        done("r1", asked("f1", "call_1"), asked("f2", "call_2")),
        answer("call_2"),
        output("o2", "call_2"),
        answer("call_1"),
        output("o1", "call_1"),
        added("u", **said("And now?")),
        created("r2"),
    ]
    assert ["f2", "f1", "o2", "o1", "u"] == read(*rows)


def test_a_call_that_is_there_already_is_not_repeated() -> None:
    """History that the client seeds has both; the result of an unknown call stands alone."""
    seeded = asked("f1", "call_1")
    rows = [
        sent("conversation.item.create", item=seeded),
        added(**{"item_id": "f1", **{k: v for k, v in seeded.items() if k != "id"}}),
        answer("call_1"),
        output("o1", "call_1"),
        output("o9", "call_9"),
        created("r"),
    ]
    assert ["f1", "o1", "o9"] == read(*rows)


def test_the_request_for_approval_stands_before_its_answer() -> None:
    """An earlier response made it."""
    request = {"id": "req", "type": "mcp_approval_request", "name": "search", "arguments": "{}"}
    rows = [
        created("r1"),
        done("r1", request),
        added("ok", type="mcp_approval_response", approval_request_id="req", approve=True),
        created("r2"),
    ]
    assert ["req", "ok"] == read(*rows)


def test_an_input_of_its_own() -> None:
    """References are resolved; what is referred to but unknown is named; nonsense is left out."""
    rows = [
        added("u1", **said("One")),
        sent(
            "response.create",
            response={
                "conversation": "none",
                "input": [
                    {"type": "item_reference", "id": "u1"},
                    said("Judge this."),
                    {"type": "item_reference", "id": "lost"},
                    "nonsense",
                ],
            },
        ),
        created("r", conversation_id=None),
    ]
    state, _ = feed(rows)
    items = read_items(last(state), state.items, state.calls)
    assert ["One", "Judge this.", "[item lost]"] == [item.text for item in items]


def test_an_aside_without_an_input_reads_the_conversation() -> None:
    """And leaves it to the next response; an empty input clears the context."""
    item, aside = added("u1", **said("One")), {"conversation": "none"}
    asks = sent("response.create", response=aside)
    clears = sent("response.create", response={**aside, "input": []})
    out = created("out", conversation_id=None)
    assert ["u1"] == read(item, asks, out)
    assert [] == read(item, clears, out)
    assert ["u1"] == read(item, asks, out, created("in"))


def test_what_is_referred_to_counts_as_read() -> None:
    """The next response does not read it anew."""
    rows = [
        added("u1", **said("One")),
        added("u2", **said("Two")),
        sent("response.create", response={"input": [{"type": "item_reference", "id": "u1"}]}),
        created("r1"),
    ]
    assert ["u1"] == read(*rows)
    assert ["u2"] == read(*rows, done("r1"), created("r2"))


def test_what_overrides_the_session() -> None:
    """Only what the request says, not what the session says."""
    own: dict[str, Any] = {"instructions": "Greet.", "tools": []}
    state, _ = feed([sent("response.create", response=own), created("r")])
    assert ("Greet.", []) == (instructions(last(state)), tools(last(state)))
    state, _ = feed([sent("response.create"), created("r")])
    assert (None, None) == (instructions(last(state)), tools(last(state)))
