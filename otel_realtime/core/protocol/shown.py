"""Build the payload of an event's span, in the same way for a live call and for a replayed journal.

The payload is built before the state machine receives the event, because what it omits depends on
what was known before the event (unchanged instructions) and on what was in progress (a pause).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import Admitted, ContentPolicy, needs_scrub
from otel_realtime.core.protocol.state import ConversationState

#: At least the length of ``{"event":}``, which is added around the text of an event.
_ENVELOPE: Final = 12


@dataclass(slots=True)  # not frozen: that would cost every event half a microsecond
class Shown:
    """An event as it is stored and shown.

    Attributes:
        admitted: The event after the content policy.
        payload: The payload of its span, as JSON text.
    """

    admitted: Admitted
    payload: str


def prepare_event(
    event: Event,
    text: str | None,
    *,
    state: ConversationState,
    policy: ContentPolicy,
    pause: Pause | None,
    limit: int,
) -> Shown:
    """Apply the content policy to a received event and build its span's payload.

    Args:
        event: The event as it was received.
        text: Its JSON text, which is reused if nothing has to be removed; None if it is not equivalent
            to the event.
        state: The conversation before the event.
        policy: What may be stored.
        pause: The conversation's pauses; None before the first one.
        limit: Maximum length of the payload, in characters.
    """
    if pause is not None and pause.hides(event, state):
        admitted = policy.admit(event)
        stored = policy.hidden(admitted.event)
        return Shown(Admitted(stored, spoken=admitted.spoken), dump({"event": stored}, limit))
    untouched = policy.redact is None and policy.inputs and policy.outputs
    if not untouched or text is None or needs_scrub(text):
        admitted = policy.admit(event)
    elif len(text) + _ENVELOPE <= limit and not _repeats_session(event, state):
        # The case of most events: nothing to remove and short enough, so the text is reused.
        return Shown(Admitted(event), f'{{"event":{text}}}')
    else:
        admitted = Admitted(event)
    return Shown(admitted, event_payload(admitted.event, state, policy, limit))


def event_payload(event: Event, state: ConversationState, policy: ContentPolicy, limit: int) -> str:
    """Return the payload of an event's span as JSON text.

    Args:
        event: The event as it may be stored.
        state: The conversation before the event.
        policy: What may be stored; if it hides either side, all content of the event is hidden.
        limit: Maximum length, in characters.
    """
    if not policy.payloads:
        event = policy.hidden(event)
    elif _repeats_session(event, state):
        session = state.session.without_repeats(object_or_empty(event.get("session")))
        event = {**event, "session": session}
    return dump({"event": event}, limit)


def _repeats_session(event: Event, state: ConversationState) -> bool:
    """Return whether an event repeats the whole session, so that unchanged values are left out."""
    return event["type"] in state.dialect.session_events


def event_turn(event: Event, state: ConversationState) -> int:
    """Return the turn that an event belongs to; 0 before the first one."""
    items = state.items
    item = items.get(event.get("item_id") or object_or_empty(event.get("item")).get("id"))
    return item.turn if item is not None and item.turn else items.turns
