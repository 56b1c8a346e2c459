"""What is new to a response."""

from __future__ import annotations

from typing import Any

from tests.support.streams import Row, asked, created, done, feed, received, said, sent


def inputs(*rows: Row) -> dict[str, list[str]]:
    """What each response read, by its id."""
    state, _ = feed(rows)
    return {name: response.inputs for name, response in state.responses.items()}


def added(item_id: str, **source: Any) -> Row:
    """The server adds an item."""
    return received("conversation.item.added", item={"id": item_id, **source})


def mcp_call(output: str | None) -> dict[str, Any]:
    """A call of the server's own."""
    return {"id": "m", "type": "mcp_call", "name": "search", "arguments": "{}", "output": output}


def test_a_models_output_is_no_input() -> None:
    """Whichever event shows it first: some servers announce it as an item of the conversation only."""
    answer = said("Fine.", role="assistant")
    rows = [added("u", **said("Hi")), created("r1"), added("a", **answer), done("r1")]
    state, _ = feed([*rows, created("r2")])
    assert ({"r1": ["u"], "r2": []}, ["a"]) == (
        inputs(*rows, created("r2")),
        state.responses["r1"].outputs,
    )
    late = [created("r1"), done("r1"), added("a", **answer), done("r1", {"id": "a", **answer})]
    assert ["a"] == inputs(*late, created("r2"))["r2"]  # nothing says whose it is


def test_a_client_that_speaks_for_the_model() -> None:
    """History that the client seeds while a response is active is input of the next one."""
    history = said("Earlier.", role="assistant")
    rows = [
        created("r1"),
        sent("conversation.item.create", item=history),
        added("seeded", **history),
        sent("conversation.item.create", item={**history, "id": "mine"}),
        added("mine", **history),
        added("own", **said("Fine.", role="assistant")),
        done("r1"),
        created("r2"),
    ]
    assert {"r1": [], "r2": ["seeded", "mine"]} == inputs(*rows)


def test_the_result_of_the_servers_own_tool() -> None:
    """The next response reads it, unless the one that called went on to speak."""
    assert {"r1": [], "r2": ["m"]} == inputs(
        created("r1"), done("r1", mcp_call("[1]")), created("r2")
    )
    assert [] == inputs(created("r1"), done("r1", mcp_call(None)), created("r2"))["r2"]
    spoken = said("Found.", id="a", role="assistant")
    assert [] == inputs(created("r1"), done("r1", mcp_call("[1]"), spoken), created("r2"))["r2"]


def test_a_functions_call_is_no_input() -> None:
    """Its result is."""
    call = asked("f", "call_1")
    result = added("o", type="function_call_output", call_id="call_1", output="x")
    assert ["o"] == inputs(created("r1"), done("r1", call), result, created("r2"))["r2"]


HELLO = sent("conversation.item.create", event_id="e", item=said("Hello"))
ASK = sent("response.create")


def test_a_server_that_confirms_no_items() -> None:
    """What the client sent before its request is read by the answer to that, in order."""
    state, _ = feed(
        [
            HELLO,
            ASK,
            created("r1"),
            done("r1"),
            sent("conversation.item.create", item=said("More", id="mine")),
            ASK,
            created("r2"),
            received("conversation.item.added", item={"id": "mine", **said("More")}),  # late
        ]
    )
    read = {name: response.inputs for name, response in state.responses.items()}
    assert {"r1": ["item_sent_1"], "r2": ["mine"]} == read
    assert [("user", "Hello"), ("user", "More")] == [(one.role, one.text) for one in state.items]


def test_a_server_that_confirms_items_is_believed() -> None:
    """What it has not confirmed was not there, or was refused."""
    confirmed = [
        sent("conversation.item.create", item=said("One", id="one")),
        added("one", **said("One")),
    ]
    assert {"r": ["one"]} == inputs(*confirmed, HELLO, ASK, created("r"))
    error = {"type": "invalid_request_error", "event_id": "e"}
    assert {"r": []} == inputs(HELLO, received("error", error=error), ASK, created("r"))


def test_what_is_sent_after_a_request_is_no_input_of_its_answer() -> None:
    """Nor of an answer that the server begins by itself."""
    assert {"r": []} == inputs(ASK, HELLO, created("r"))
    assert {"r": []} == inputs(HELLO, created("r"))
