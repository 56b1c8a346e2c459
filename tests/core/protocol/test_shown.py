"""How one event stands on its span: as it came where it may, else as it may be stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.session import UNCHANGED
from otel_realtime.core.protocol.shown import event_payload, event_turn, prepare_event
from otel_realtime.core.protocol.state import ConversationState
from tests.support.streams import CALL, at, feed, received

LIMIT = 4096
HEARD: dict[str, Any] = {
    "type": "conversation.item.input_audio_transcription.completed",
    "item_id": "item_1",
    "transcript": "PLANTED",
}


def admitted(
    event: dict[str, Any],
    *,
    text: str | None = None,
    state: ConversationState | None = None,
    policy: ContentPolicy | None = None,
    pause: Pause | None = None,
    limit: int = LIMIT,
) -> tuple[Any, str, str | None]:
    """An event as it may be stored and shown."""
    shown = prepare_event(
        event,
        json.dumps(event) if text is None else text,
        state=state or ConversationState(),
        policy=policy or ContentPolicy(),
        pause=pause,
        limit=limit,
    )
    return shown.admitted.event, shown.payload, shown.admitted.failure


def test_an_event_is_shown_as_it_came() -> None:
    """To the character: nothing is written anew where nothing has to go."""
    text = '{"type" : "x",  "a": 1.0e2 }'
    stored, payload, failure = admitted({"type": "x", "a": 100.0}, text=text)
    assert ({"type": "x", "a": 100.0}, '{"event":' + text + "}", None) == (stored, payload, failure)


def test_a_secret_is_never_shown() -> None:
    """Nor stored."""
    stored, payload, _ = admitted({"type": "x", "client_secret": {"value": "ek_hunter2"}})
    assert "hunter2" not in json.dumps(stored) + payload


def test_a_long_event_is_shortened_on_its_span_only() -> None:
    """It stays JSON; the state gets all of it."""
    event = {"type": "x", "text": "word " * 5_000}
    stored, payload, _ = admitted(event)
    assert event == stored
    assert len(payload) <= LIMIT
    assert json.loads(payload)["event"]["text"].endswith("more characters]")


@pytest.mark.parametrize(
    ("policy", "in_state"),
    [
        (ContentPolicy(inputs=False), "PLANTED"),
        (ContentPolicy(outputs=False), "PLANTED"),
        (ContentPolicy(inputs=False, outputs=False), HIDDEN),
    ],
)
def test_one_hidden_side_hides_a_payload(policy: ContentPolicy, in_state: str) -> None:
    """The state keeps what the other side may show."""
    stored, payload, _ = admitted(HEARD, policy=policy)
    assert (in_state, HIDDEN) == (stored["transcript"], json.loads(payload)["event"]["transcript"])


def test_a_hook_that_fails_says_why() -> None:
    """And hides all of it."""

    def fails(event: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("no")

    stored, payload, failure = admitted(HEARD, policy=ContentPolicy(redact=fails))
    assert ("KeyError", HIDDEN) == (failure, stored["transcript"])
    assert "PLANTED" not in payload


@pytest.mark.parametrize("paused", [True, False])
def test_what_a_hook_wants_silenced_is_told(paused: bool) -> None:
    """Also of an event that a pause hides: words of it may have been said before."""
    state, pause = ConversationState(), Pause()
    if paused:
        pause.enter(state)
    shown = prepare_event(
        HEARD,
        json.dumps(HEARD),
        state=state,
        policy=ContentPolicy(redact=lambda event: {**event, "redact_audio": True}),
        pause=pause,
        limit=LIMIT,
    )
    (spoken,) = shown.admitted.spoken
    assert ("item_1", ((0, 7),)) == (spoken.item_id, spoken.spans)
    assert "redact_audio" not in shown.admitted.event
    assert "redact_audio" not in shown.payload


def test_what_a_pause_hides_is_hidden_in_both() -> None:
    """Also of an event that comes when the pause is over, and belongs to it."""
    state, pause = ConversationState(), Pause()
    state.receive(received("session.created", session={})[1], at(0))
    pause.enter(state)
    stored, payload, _ = admitted(HEARD, state=state, pause=pause)
    pause.leave()
    assert HIDDEN == stored["transcript"]
    assert "PLANTED" not in payload


def test_what_a_session_repeats_is_left_out() -> None:
    """On the span of a later event; the first one shows it all."""
    state, event = ConversationState(), {"type": "session.updated", "session": {}}
    event["session"] = {"instructions": "Be brief.", "voice": "marin"}
    first = json.loads(event_payload(event, state, ContentPolicy(), LIMIT))
    state.receive(event, at(0))
    later = json.loads(event_payload(event, state, ContentPolicy(), LIMIT))
    assert event == first["event"]
    assert {"instructions": UNCHANGED, "voice": "marin"} == later["event"]["session"]
    assert "Be brief." == event["session"]["instructions"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("event", "turn"),
    [
        ({"type": "x"}, 2),
        ({"type": "x", "item_id": "item_1"}, 1),
        ({"type": "x", "item": {"id": "item_1"}}, 1),
        ({"type": "x", "item_id": "item_5"}, 2),
        ({"type": "x", "item_id": "nobody's"}, 2),
        ({"type": "x", "item_id": [], "item": 5}, 2),
    ],
)
def test_an_event_belongs_to_a_turn(event: dict[str, Any], turn: int) -> None:
    """Its item's, else the present one; before the first there is none."""
    state, _ = feed(CALL)
    assert turn == event_turn(event, state)
    assert 0 == event_turn(event, ConversationState())
