"""Assigns each response and each tool call to a turn.

A response belongs to the turn that holds its items. A response without speech, because it called a tool
or asked for an approval, belongs to the answer that it led to: the next one, if there is no user turn in
between. The same holds for a response that another model made for a speaking Live model. A response
outside of the conversation belongs to no turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.calls.events import Heard
from otel_realtime.calls.parts import latency_of
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import Response, Tool, Turn, Usage
from otel_realtime.calls.usage import added, usage_of


def assign(
    turns: Sequence[Turn],
    responses: Sequence[Response],
    tools: Sequence[Tool],
    chats: Sequence[Row],
    rows: Sequence[Row],
    heard: Heard,
) -> None:
    """Fill in the responses and tools of each turn, and the turn of each response and tool call.

    Args:
        turns: the turns.
        responses: the responses, ordered by start.
        tools: the tool calls, ordered by start.
        chats: the spans of the responses, in the same order.
        rows: all spans.
        heard: the items as read from the event spans.
    """
    _place_responses(turns, responses, chats, heard)
    _place_tools(responses, tools, rows, heard)
    for response in responses:
        if response["turn"] is not None:
            turns[response["turn"]]["responses"].append(response["index"])
    for tool in tools:
        if tool["turn"] is not None:
            turns[tool["turn"]]["tools"].append(tool["index"])
    transcriptions = {
        item_id: used
        for row in rows
        if not row.text(names.RESPONSE_ID)
        and (item_id := row.text(names.ITEM_ID))
        and (used := usage_of(row)) is not None
    }
    for turn in turns:
        own = [responses[index] for index in turn["responses"]]
        _complete(turn, own, [chats[index] for index in turn["responses"]])
        spent = [one["usage"] for one in own if one["usage"] is not None]
        spent += [transcriptions[one] for one in turn["item_ids"] if one in transcriptions]
        turn["usage"] = _used(spent)


def _place_responses(
    turns: Sequence[Turn], responses: Sequence[Response], chats: Sequence[Row], heard: Heard
) -> None:
    holders = {item_id: turn["index"] for turn in turns for item_id in turn["item_ids"]}
    of: dict[str | None, list[int]] = {}
    for item in heard.items.values():
        if item.id in holders and item.response:
            of.setdefault(item.response, []).append(holders[item.id])
    made = [of.get(one["id"], []) for one in responses]
    exact = bool(holders)
    following: int | None = None
    for response, row, held in reversed(list(zip(responses, chats, made, strict=True))):
        if held:
            response["turn"] = held[0]
        elif row.fact_bool(Fact.DELEGATED) is True:
            response["turn"] = _led_to(turns, response)
        elif not exact and not response["out_of_band"]:
            response["turn"] = _numbered(turns, row)
        if response["turn"] is not None:
            following = response["turn"]
        elif (
            following is not None
            and not response["out_of_band"]
            and not _asked_between(turns, response, turns[following])
        ):
            response["turn"] = following


def _led_to(turns: Sequence[Turn], response: Response) -> int | None:
    """Return the answer that begins next, unless the user speaks first."""
    for turn in turns:
        start_ms = turn["start_ms"]
        if start_ms is not None and start_ms >= response["start_ms"]:
            return turn["index"] if turn["role"] == "assistant" else None
    return None


def _numbered(turns: Sequence[Turn], row: Row) -> int | None:
    """Return the turn that a span names, if it is the agent's; some traces have only this number."""
    number = row.fact_int(Fact.TURN)
    if number is None or not 0 < number <= len(turns):
        return None
    return number - 1 if turns[number - 1]["role"] == "assistant" else None


def _asked_between(turns: Sequence[Turn], response: Response, answer: Turn) -> bool:
    """Return whether the user began to speak between a response and a later answer."""
    until_ms = answer["start_ms"]
    return any(
        turn["role"] == "user"
        and turn["start_ms"] is not None
        and turn["start_ms"] >= (response["end_ms"] or response["start_ms"])
        and (until_ms is None or turn["start_ms"] < until_ms)
        for turn in turns
    )


def _place_tools(
    responses: Sequence[Response], tools: Sequence[Tool], rows: Sequence[Row], heard: Heard
) -> None:
    by_id = {one["id"]: one for one in responses if one["id"]}
    spans = {row.span_id: row for row in rows}
    for tool in tools:
        above = spans.get(spans[tool["span_id"]].parent_id or "")
        told = None if above is None else above.text(names.OUR_RESPONSE_ID)
        response = by_id.get(heard.calls.get(tool["call_id"] or "") or told or "")
        if response is not None:
            tool["response"], tool["turn"] = response["index"], response["turn"]


def _complete(turn: Turn, own: Sequence[Response], rows: Sequence[Row]) -> None:
    generated = [one["generated_ms"] for one in own if one["generated_ms"] is not None]
    heard = [one["heard_ms"] for one in own if one["heard_ms"] is not None]
    sources = [source for row in rows if (source := row.fact_text(Fact.HEARD_SOURCE))]
    waits = [wait for row in rows if (wait := latency_of(row)) is not None]
    cuts = [cut for row in rows if (cut := row.fact_bool(Fact.FALSE_INTERRUPTION)) is not None]
    turn["generated_ms"] = sum(generated) if generated else None
    turn["heard_ms"] = sum(heard) if heard else None
    turn["heard_source"] = sources[-1] if sources else None
    turn["false_interruption"] = all(cuts) if cuts else None
    turn["latency"] = waits[0] if waits else None


def _used(used: Sequence[Usage]) -> Usage | None:
    """Return the usage of a turn; with several models, only that of the first."""
    return added([one for one in used if one["model"] == used[0]["model"]]) if used else None
