"""How one event stands on its span: the same live and when a journal is read back."""

from __future__ import annotations

from typing import Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import table
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import ContentPolicy, needs_scrub
from otel_realtime.core.protocol.state import ConversationState

#: Characters of ``{"event":}`` and a little more.
_ENVELOPE: Final = 12
#: Events that repeat the whole session: what did not change is left out.
_SESSION_EVENTS: Final = frozenset(
    {
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    }
)


def admit(
    event: Event,
    text: str,
    *,
    state: ConversationState,
    policy: ContentPolicy,
    pause: Pause | None,
    limit: int,
) -> tuple[Event, str, str | None]:
    """Return an event as it may be stored, its span's payload, and why a redact hook failed.

    Args:
        event: as it was received.
        text: the JSON text it came as; used as it is where nothing has to be taken out.
        state: the conversation before it.
        policy: what may be stored.
        pause: what must not be told of a paused conversation.
        limit: characters of the payload.
    """
    if pause is not None and pause.hides(event, state):
        stored = policy.hidden(policy.admit(event)[0])
        return stored, dump({"event": stored}, limit), None
    stored, failure = event, None
    untouched = policy.redact is None and policy.inputs and policy.outputs
    if not untouched or needs_scrub(text):
        stored, failure = policy.admit(event)
    elif len(text) + _ENVELOPE <= limit:
        return stored, f'{{"event":{text}}}', None
    return stored, payload_of(stored, state, policy, limit), failure


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
