"""How one event stands on its span: the same live and when a journal is read back."""

from __future__ import annotations

from typing import Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import table
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.state import ConversationState

#: Events that repeat the whole session: what did not change is left out.
_SESSION_EVENTS: Final = frozenset(
    {
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    }
)


def payload_of(event: Event, state: ConversationState, policy: ContentPolicy, limit: int) -> str:
    """Return the JSON text of an event's span, before the state has received the event.

    Args:
        event: the event as it may be stored.
        state: the conversation before it.
        policy: hides all of its content if either side's is hidden.
        limit: characters.
    """
    if not policy.payloads:
        event = policy.hidden(event)
    elif event["type"] in _SESSION_EVENTS:
        event = {**event, "session": state.session.without_repeats(table(event.get("session")))}
    return dump({"event": event}, limit)


def turn_of(event: Event, state: ConversationState) -> int:
    """Return the turn an event belongs to, 0 before the first."""
    items = state.items
    item = items.get(event.get("item_id") or table(event.get("item")).get("id"))
    return item.turn if item is not None and item.turn else items.turns
