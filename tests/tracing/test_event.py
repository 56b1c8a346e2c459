"""The span of a received event: what it names, and nothing that cannot be exported."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from otel_realtime.core.protocol.events import parse
from otel_realtime.tracing.event import event_attributes
from otel_realtime.tracing.failure import event_failure
from tests.support.span_tables import ALL, JSON, META, OURS, check
from tests.support.streams import bounded, json_values

EVENT: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.prompt": JSON,
    OURS + "event.type": str,
    OURS + "event.received_at_s": float,
    META + "received_at_s": float,
    OURS + "audio_offset_ms": int,
    META + "audio_offset_ms": int,
    OURS + "turn": int,
    META + "turn": int,
    OURS + "event.id": str,
    OURS + "item.id": str,
    OURS + "response.id": str,
    OURS + "call.id": str,
}


def test_an_event() -> None:
    """Everything an event can name, at its top level or in its item or response."""
    event = {
        "type": "x",
        "event_id": "event_1",
        "item": {"id": "item_1", "call_id": "call_1"},
        "response": {"id": "resp_1"},
    }
    found = event_attributes(event, '{"event":{}}', 1_234_567_890, 3)
    check(EVENT, found)
    assert ("event_1", "item_1", "resp_1", "call_1") == tuple(
        found[OURS + name] for name in ("event.id", "item.id", "response.id", "call.id")
    )
    assert (1.234568, 1234, 3) == tuple(
        found[OURS + name] for name in ("event.received_at_s", "audio_offset_ms", "turn")
    )


def test_an_event_that_names_nothing() -> None:
    """Absent, not None; the outermost name wins."""
    found = event_attributes({"type": "x"}, "{}", 0, 0)
    ids = {"turn", "id"}
    check({k: v for k, v in EVENT.items() if k.rpartition(".")[2] not in ids}, found)
    event = {"type": "x", "item_id": "outer", "item": {"id": "inner"}}
    assert "outer" == event_attributes(event, "{}", 0, 0)[OURS + "item.id"]


@bounded
@given(json_values, json_values)
def test_any_event_gives_attributes_that_can_be_exported(one: Any, other: Any) -> None:
    """Text that encodes, no None, no object."""
    keys = ("event_id", "item_id", "item", "response", "response_id", "call_id", "error")
    for key in keys:
        event = parse(json.dumps({"type": "error", key: one, "item": {"id": other}}))
        assert event is not None
        found = event_attributes(event, "{}", 0, 0)
        assert {type(value) for value in found.values()} <= {str, int, float}
        "".join(value for value in found.values() if isinstance(value, str)).encode()
        for kind in ("error", "x.failed", "response.done"):
            failure = event_failure({**event, "type": kind}, ALL)
            assert failure is None or isinstance(failure.type + failure.message, str)
