"""A synthetic call in which everything fails that can: a response, a tool, a request, the call itself."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

import otel_realtime

_CALL: Final = {"id": "item_1", "type": "function_call", "name": "book", "call_id": "call_1"}


def _response(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"resp_{number}", "object": "realtime.response", "output": [], **fields}


_EVENTS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime"}},
    {"type": "error", "error": {"type": "invalid_request_error", "code": "invalid_value"}},
    {"type": "response.created", "response": _response(1, status="in_progress")},
    {
        "type": "response.done",
        "response": _response(
            1,
            status="failed",
            status_details={
                "type": "failed",
                "error": {"type": "server_error", "code": "server_error"},
            },
        ),
    },
    {"type": "response.created", "response": _response(2, status="in_progress")},
    {"type": "response.output_item.added", "response_id": "resp_2", "item": _CALL},
    {
        "type": "response.done",
        "response": _response(
            2,
            status="completed",
            output=[{**_CALL, "arguments": "{}", "status": "completed"}],
            usage={"input_tokens": 90, "output_tokens": 10, "total_tokens": 100},
        ),
    },
)


def hold(thread_id: str) -> None:
    """Feed the call; its app raises before the tool has answered."""
    with suppress(RuntimeError), otel_realtime.conversation(thread_id=thread_id) as call:
        for event in _EVENTS:
            call.received(json.dumps(event))
        raise RuntimeError("the line is dead")
