"""Function calls: announced, pending, cut off, over, answered."""

from __future__ import annotations

from typing import Any

import pytest

from otel_realtime.core.protocol.changes import ToolPending
from tests.core.protocol.test_state import named
from tests.support.streams import MS, Row, answer, asked, at, created, done, feed, received, sent


def test_a_call_is_announced_by_its_first_complete_arguments() -> None:
    """``arguments.done``, or ``output_item.done`` where a server leaves that out."""
    item = asked("item_1", "call_1")
    state, changes = feed([created("resp_1")])
    state, changes = feed([received("response.output_item.done", item=item)], state)
    assert ["ToolAnnounced call_1"] == named(changes)
    assert '{"city":"Paris"}' == state.calls["call_1"].arguments
    _, changes = feed([received("response.output_item.done", item=item)], state)
    assert ["ToolRepeated call_1"] == named(changes)


def test_a_call_without_earlier_events_is_announced_by_its_response() -> None:
    """Then it is pending as well."""
    _, changes = feed([created("r"), done("r", asked("item_1", "call_1"))])
    assert ["ToolAnnounced call_1", "ToolPending call_1"] == named(changes)
    assert isinstance(changes[1], ToolPending)
    assert changes[1].alone


def test_two_pending_calls_are_not_alone() -> None:
    """Neither can be the current one."""
    item = asked("item_1", "call_1")
    _, changes = feed([created("r"), done("r", item, asked("item_2", "call_2"), item)])
    pending = [change for change in changes if isinstance(change, ToolPending)]
    assert [("call_1", False), ("call_2", False)] == [(one.call.id, one.alone) for one in pending]


def test_a_call_that_was_answered_early_is_not_pending() -> None:
    """The common order: the result goes out before ``response.done``."""
    item = asked("item_1", "call_1")
    early = received("response.output_item.done", response_id="r", item=item)
    _, changes = feed([created("r"), early, answer("call_1"), done("r", item)])
    assert ["ToolAnnounced call_1", "ToolAnswered call_1"] == named(changes)


def test_a_call_is_pending_though_its_response_lists_no_output() -> None:
    """Some servers leave ``output`` out."""
    item = received("response.output_item.done", response_id="r", item=asked("item_1", "call_1"))
    bare = received("response.done", response={"id": "r", "status": "completed", "output": None})
    _, changes = feed([created("r"), item, bare])
    assert ["ToolAnnounced call_1", "ToolPending call_1"] == named(changes)


def test_a_call_cut_off_in_its_arguments_is_none() -> None:
    """An interrupted response can hold an incomplete call: nobody will answer it."""
    item = asked("item_1", "call_1", status="incomplete", arguments='{"ci')
    _, changes = feed([created("r"), done("r", item, status="cancelled")])
    assert [] == changes


def test_a_result_is_taken_once() -> None:
    """A second one for the same call changes nothing."""
    state, _ = feed([created("r"), done("r", asked("item_1", "call_1"))])
    state, changes = feed([answer("call_1", "one"), answer("call_1", "two")], state)
    assert ["ToolAnswered call_1"] == named(changes)
    assert "one" == state.calls["call_1"].output


def test_a_result_that_another_client_sent_is_seen_in_the_conversation() -> None:
    """On a sideband the browser runs the tool; the server shows its result as an item."""
    item = {"id": "out_1", "type": "function_call_output", "call_id": "call_1", "output": "blue"}
    rows = [created("r"), done("r", asked("item_1", "call_1"))]
    state, changes = feed([*rows, received("conversation.item.added", item=item)])
    assert ["ToolAnnounced call_1", "ToolPending call_1", "ToolAnswered call_1"] == named(changes)
    assert "blue" == state.calls["call_1"].output
    _, changes = feed([received("conversation.item.done", item=item), answer("call_1")], state)
    assert [] == changes


def test_a_result_nobody_asked_for_is_seeded_history() -> None:
    """Apps that resume a conversation create old calls and results as items."""
    call = sent("conversation.item.create", item=asked("item_1", "call_1"))
    added = received("conversation.item.added", item=asked("item_1", "call_1"))
    state, changes = feed([call, answer("call_1"), added])
    assert [] == changes
    assert 0 == state.counts.tool_calls


def arguments_done(item_id: str, call_id: str, **keys: Any) -> Row:
    """The row of the first event with the complete arguments."""
    told = {"response_id": "r", "item_id": item_id, "call_id": call_id, "name": "weather", **keys}
    return received("response.function_call_arguments.done", **{"arguments": "{}", **told})


HALF = asked("item_1", "call_1", status="incomplete", arguments='{"ci')
CUT_BY: dict[str, list[Row]] = {
    "its item": [received("response.output_item.done", response_id="r", item=HALF)],
    "its place in the conversation": [received("conversation.item.done", item=HALF)],
    "its response": [done("r", HALF, status="cancelled")],
    "a response that lists nothing": [done("r", status="cancelled", output=[])],
}


@pytest.mark.parametrize("how", CUT_BY)
def test_a_call_that_was_announced_and_then_cut_off_is_none(how: str) -> None:
    """``arguments.done`` comes for half a call, too; what else is said of it changes nothing."""
    added = received(
        "response.output_item.added",
        response_id="r",
        item={**HALF, "status": "in_progress", "arguments": ""},
    )
    rows = [created("r"), added, arguments_done("item_1", "call_1", arguments='{"ci'), *CUT_BY[how]]
    state, changes = feed(rows)
    assert ["ToolAnnounced call_1", "ToolCut call_1"] == named(changes)
    assert 0 == state.counts.tool_calls
    _, changes = feed([done("r", HALF, status="cancelled")], state)
    assert [] == changes


def test_a_call_that_was_cut_off_may_be_answered() -> None:
    """Then it was one, after all."""
    rows = [created("r"), arguments_done("item_1", "call_1"), done("r", HALF, status="cancelled")]
    state, changes = feed([*rows, answer("call_1")])
    expected = ["ToolAnnounced call_1", "ToolCut call_1", "ToolAnswered call_1"]
    assert expected == named(changes)
    assert 1 == state.counts.tool_calls


def test_a_whole_call_of_a_cancelled_response_is_pending() -> None:
    """Its item was completed before the interruption."""
    item = asked("item_1", "call_1")
    _, changes = feed([created("r"), done("r", item, status="cancelled")])
    assert ["ToolAnnounced call_1", "ToolPending call_1"] == named(changes)


def test_a_call_out_of_band_is_over_with_its_response() -> None:
    """Its item is in no conversation, so nobody can answer it there; an answer counts all the same."""
    item, outside = asked("item_1", "call_1"), {"conversation_id": None}
    rows = [created("r", **outside), arguments_done("item_1", "call_1"), done("r", item, **outside)]
    state, changes = feed(rows)
    assert ["ToolAnnounced call_1", "ToolOver call_1"] == named(changes)
    over = state.calls["call_1"].over
    assert over is not None
    assert 20 == over.t // MS
    _, changes = feed([answer("call_1")], state)
    assert ["ToolAnswered call_1"] == named(changes)


def test_a_result_that_is_no_text_is_kept_as_json() -> None:
    """An app may send anything; the server decides."""
    result = sent(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": "call_1", "output": {"sky": "blue"}},
    )
    state, _ = feed([created("r"), done("r", asked("item_1", "call_1")), result])
    assert '{"sky":"blue"}' == state.calls["call_1"].output


def test_a_call_whose_connection_closed() -> None:
    """Nobody waits for its result, which is missed; the app may send it on the next connection."""
    item = asked("item_1", "call_1")
    state, _ = feed([created("r"), done("r", item)])
    assert ["ToolOver call_1"] == named(state.disconnected(at(70)))
    call = state.calls["call_1"]
    assert (at(70), True, True) == (call.over, call.lost, call.is_missed)
    assert [] == state.disconnected(at(90))
    _, changes = feed([answer("call_1")], state)
    assert ["ToolAnswered call_1"] == named(changes)
