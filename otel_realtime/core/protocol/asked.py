"""What a model was asked: the items that one response read, and its own instructions and tools.

The items come from ``reading.Reading`` or from the request itself. A tool call is placed before its
result, and a request for approval before its answer, as in a model provider's own history, although
earlier responses produced the call and the request.

Source: ``response.create`` at
https://platform.openai.com/docs/api-reference/realtime-client-events/response/create.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from otel_realtime.core.protocol.events import JsonValue
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.responses import Response, ToolCall


def read_items(response: Response, items: Items, calls: Mapping[str, ToolCall]) -> list[Item]:
    """Return the items that a response read, in order.

    Args:
        response: The response.
        items: The conversation's items.
        calls: The conversation's function calls by ``call_id``.
    """
    if response.own_input is not None:
        read = list(_own_items(response.own_input, items))
    else:
        read = [item for item in map(items.get, response.inputs) if item is not None]
    return list(_explained(read, items, calls))


def _own_items(elements: Iterable[JsonValue], items: Items) -> Iterator[Item]:
    """Yield the items of a request's own input, with references resolved."""
    for index, element in enumerate(elements):
        source = object_or_empty(element)
        known = items.get(source.get("id"))
        if source.get("type") == "item_reference" and known is not None:
            yield known
        elif source:
            item = Item(text_or_none(source.get("id")) or f"input_{index}")
            item.merge(source)
            if item.kind == "item_reference":  # a reference to an unknown item
                item.kind, item.role = "message", "user"
                item.set_part(0, f"[item {item.id}]")
            yield item


def _explained(read: list[Item], items: Items, calls: Mapping[str, ToolCall]) -> Iterator[Item]:
    """Yield the items, with missing calls and approval requests before their results and answers."""
    present = {item.call_id for item in read if item.kind == "function_call"}
    requests = {item.id for item in read if item.kind == "mcp_approval_request"}
    for index, item in enumerate(read):
        if item.kind == "function_call_output" and item.call_id not in present:
            for result in read[index:]:  # parallel calls are one message; their results follow it
                if result.kind != "function_call_output":
                    break
                call = _call_of(result, items, calls)
                if call is not None and call.call_id not in present:
                    present.add(call.call_id)
                    yield call
        elif item.kind == "mcp_approval_response":
            request = items.get(item.approval_request_id)
            if request is not None and request.id not in requests:
                requests.add(request.id)
                yield request
        yield item


def _call_of(result: Item, items: Items, calls: Mapping[str, ToolCall]) -> Item | None:
    """Return the item of the call that led to a result; None if the call is unknown."""
    item = items.get(result.answers)
    if item is not None:
        return item
    call = calls.get(result.call_id or "")
    if call is None:
        return None
    return Item(
        call.id,
        kind="function_call",
        name=call.name,
        call_id=call.id,
        arguments=call.arguments,
    )


def instructions(response: Response) -> str | None:
    """Return the instructions that replaced the session's for this response; None if none did."""
    return text_or_none(response.request.get("instructions"))


def tools(response: Response) -> list[JsonValue] | None:
    """Return the tools that replaced the session's for this response; None if none did."""
    given = response.request.get("tools")
    return given if isinstance(given, list) else None
