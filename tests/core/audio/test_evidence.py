"""Which events become which journal records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.evidence import AUDIO_EVENTS, Evidence
from otel_realtime.core.audio.timeline import Timeline
from tests.support.streams import bounded, json_values

PCM = {"type": "audio/pcm", "rate": 24_000}
ULAW = {"type": "audio/pcmu"}
ULAW_RECORD = {"type": "audio/pcmu", "rate": 8_000}
ALAW = {"type": "audio/pcma"}
ALAW_RECORD = {"type": "audio/pcma", "rate": 8_000}


def records(*events: tuple[bool, dict[str, Any]]) -> list[list[Any]]:
    """What the events become, seen at t = 1, 2, ..."""
    evidence = Evidence()
    return [
        record
        for t, (sent, event) in enumerate(events, 1)
        for record in evidence.records(t, sent, event)
    ]


def session(kind: str, *, beta: bool = False, **formats: object) -> dict[str, Any]:
    """A session event with the formats of input and output."""
    if beta:
        named = {f"{side}_audio_format": value for side, value in formats.items()}
        return {"type": kind, "session": named}
    audio = {side: {"format": value} for side, value in formats.items()}
    return {"type": kind, "session": {"type": "realtime", "audio": audio}}


def error(event_id: str | None, message: str = "no") -> dict[str, Any]:
    """A server error about a client event."""
    return {"type": "error", "error": {"event_id": event_id, "message": message}}


TRUNCATE = {
    "type": "conversation.item.truncate",
    "item_id": "i",
    "content_index": 0,
    "audio_end_ms": 600,
}


@pytest.mark.parametrize(
    ("sent", "event", "expected"),
    [
        (True, {**TRUNCATE, "event_id": "e"}, ["truncate", 1, "i", 0, 600, "e"]),
        (True, TRUNCATE, ["truncate", 1, "i", 0, 600, None]),
        (
            False,
            {**TRUNCATE, "type": "conversation.item.truncated"},
            ["truncated", 1, "i", 0, 600],
        ),
        (True, {"type": "conversation.item.delete", "item_id": "i"}, ["delete", 1, "i", None]),
        (False, {"type": "conversation.item.deleted", "item_id": "i"}, ["deleted", 1, "i"]),
        (False, {"type": "input_audio_buffer.speech_started"}, ["speech", 1, True]),
        (
            False,
            {"type": "output_audio_buffer.cleared", "response_id": "r"},
            ["buffer", 1, "cleared", "r"],
        ),
        (True, {"type": "output_audio_buffer.clear"}, ["clear", 1]),
        (
            False,
            {"type": "input_audio_buffer.speech_started", "audio_start_ms": 900},
            ["speech", 1, True, 900],
        ),
        (
            False,
            {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 1_900},
            ["speech_end", 1, 1_900],
        ),
        (
            False,
            {
                "type": "response.output_item.added",
                "response_id": "r",
                "item": {"type": "message", "id": "i", "content": []},
            },
            ["item", 1, "i", "r", 0, 0],
        ),
        (
            False,
            {"type": "response.audio.done", "response_id": "r", "item_id": "i"},
            ["item", 1, "i", "r", 1, 0],
        ),
        (
            False,
            {
                "type": "response.output_audio_transcript.done",
                "response_id": "r",
                "item_id": "i",
                "transcript": "Hello.",
            },
            ["item", 1, "i", "r", 1, 6],
        ),
    ],
)
def test_an_event_becomes_its_record(
    sent: bool, event: dict[str, Any], expected: list[Any]
) -> None:
    """Each type that says something about audio has one record."""
    assert event["type"] in AUDIO_EVENTS
    assert records((sent, event)) == [expected]


def test_a_cancel_counts_once_the_call_goes_on() -> None:
    """With new speech, or a new response of the conversation, once."""
    cancel = (True, {"type": "response.cancel"})
    speech = (False, {"type": "input_audio_buffer.speech_started"})
    created = (False, {"type": "response.created", "response": {"id": "r"}})
    beside = (False, {"type": "response.created", "response": {"conversation_id": None}})
    assert records(cancel, beside) == [["cancel", 1]]
    assert records(cancel, cancel, speech, created) == [
        ["cancel", 1],
        ["cancel", 2],
        ["flushed", 3],
        ["speech", 3, True],
    ]
    assert records(created, cancel, created) == [["cancel", 2], ["flushed", 3]]


@pytest.mark.parametrize(
    "speech",
    [
        (True, {"type": "input_audio_buffer.commit"}),
        (False, {"type": "input_audio_buffer.committed", "item_id": "u"}),
        (True, {"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}),
    ],
    ids=lambda step: step[1]["type"],
)
def test_whatever_the_user_says_after_a_cancel_shows_a_flush(
    speech: tuple[bool, dict[str, Any]],
) -> None:
    """Also with push to talk, or in writing, and if the call ends before it is answered."""
    cancel = (True, {"type": "response.cancel"})
    assert [["cancel", 1], ["flushed", 2]] == records(cancel, speech)[:2]
    assert not [record for record in records(speech) if record[0] == "flushed"]


def test_a_tools_result_after_a_cancel_shows_nothing() -> None:
    """Nobody has spoken."""
    result = {"type": "function_call_output", "call_id": "c", "output": "{}"}
    create = (True, {"type": "conversation.item.create", "item": result})
    assert [["cancel", 1]] == records((True, {"type": "response.cancel"}), create)


def test_a_cancel_of_a_response_beside_the_conversation_concerns_nothing_that_plays() -> None:
    """It has no sound in the caller's player."""
    beside = {"type": "response.created", "response": {"id": "r1", "conversation_id": None}}
    cancel = (True, {"type": "response.cancel", "response_id": "r1"})
    speech = (False, {"type": "input_audio_buffer.speech_started"})
    assert [["speech", 3, True]] == records((False, beside), cancel, speech)


def test_a_finished_response_tells_its_items_and_its_tokens() -> None:
    """Of what it said, only the length; a text and a call are no sound."""
    spoken = {"type": "output_audio", "transcript": "Hello."}
    response = {
        "id": "r",
        "output": [
            {"type": "message", "id": "i", "content": [spoken]},
            {"type": "message", "id": "t", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "id": "f"},
            "?",
        ],
        "usage": {"output_token_details": {"audio_tokens": 61}},
    }
    assert records((False, {"type": "response.done", "response": response})) == [
        ["item", 1, "i", "r", 1, 6],
        ["item", 1, "t", "r", 0, 0],
        ["tokens", 1, "r", 61],
    ]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.done", "response": {"id": 5}},
        {"type": "response.done", "response": {"id": "r", "output": 5, "usage": [1]}},
        {
            "type": "response.done",
            "response": {"id": "r", "usage": {"output_token_details": {"audio_tokens": True}}},
        },
        {"type": "response.output_item.added", "item": {"type": "message", "id": "i"}},
        {"type": "response.output_item.added", "response_id": "r", "item": [1]},
        {"type": "response.output_audio.done", "item_id": "i"},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": "soon"},
    ],
)
def test_a_server_event_of_another_shape_says_nothing(event: dict[str, Any]) -> None:
    """Whatever a server sends."""
    assert records((False, event)) == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 7},
        {"type": "response.done"},
        {"type": "conversation.item.truncate"},
        {**TRUNCATE, "item_id": 5},
        {**TRUNCATE, "audio_end_ms": "600"},
        {**TRUNCATE, "audio_end_ms": True},
        {**TRUNCATE, "audio_end_ms": float("nan")},
        {"type": "conversation.item.delete", "item_id": None},
        {"type": "session.update", "session": [1]},
        {"type": "session.update", "session": {"audio": "x", "turn_detection": 5}},
        session("session.update", input={"type": "audio/wav"}),
        session("session.update", input={"type": "audio/pcm", "rate": "fast"}),
        session("session.update", input=PCM),
        {"type": "output_audio_buffer.cleared", "response_id": "r"},
    ],
)
def test_what_does_not_have_the_expected_shape_says_nothing(event: dict[str, Any]) -> None:
    """Clients send anything; also a server event that the client sends means nothing."""
    assert records((True, event)) == []


def test_absurd_lengths_are_limited() -> None:
    """Lengths are whole milliseconds from zero up."""
    ends = [-5, 12.7, 10**400, float("inf")]
    found = records(*((True, {**TRUNCATE, "audio_end_ms": end}) for end in ends))
    assert [record[4] for record in found] == [0, 12, 10**9, 10**9]


def test_speech_does_not_interrupt_where_the_session_says_so() -> None:
    """``interrupt_response`` counts as the server last stated it, GA or beta."""
    off = {"type": "server_vad", "interrupt_response": False}
    speech = (False, {"type": "input_audio_buffer.speech_started"})
    ga = {"type": "session.updated", "session": {"audio": {"input": {"turn_detection": off}}}}
    beta = {"type": "session.updated", "session": {"turn_detection": off}}
    none = {"type": "session.updated", "session": {"turn_detection": None}}
    found = records(speech, (False, ga), speech, (False, none), speech, (False, beta), speech)
    assert [record[2] for record in found] == [True, False, True, False]


def test_input_changes_when_asked_and_output_when_confirmed() -> None:
    """The client's audio follows its own request, the server's the answer."""
    found = records(
        (True, session("session.update", input=ULAW, output=ULAW)),
        (False, session("session.created", input=PCM, output=PCM)),
        (False, session("session.updated", input=ULAW, output=ULAW)),
    )
    assert found == [["format", 1, "user", ULAW_RECORD], ["format", 3, "agent", ULAW_RECORD]]


def test_a_refused_format_is_rolled_back() -> None:
    """The error names the event that asked for it."""
    asked = {**session("session.update", input=ULAW), "event_id": "e"}
    found = records((True, asked), (False, error("other")), (False, error("e")))
    assert [record[2:] for record in found] == [["user", ULAW_RECORD], ["user", PCM]]


def test_a_refusal_does_not_undo_a_later_request() -> None:
    """What the client asked for last is what it sends, whichever of its requests is refused."""
    first = {**session("session.update", input=ULAW), "event_id": "a"}
    second = {**session("session.update", input=ALAW), "event_id": "b"}
    third = {"type": "session.update", "event_id": "c", "session": {"instructions": "x"}}
    found = records(
        (True, first),
        (True, second),
        (True, third),
        (False, error("a")),
        (False, error("b")),
        (False, session("session.updated", input=PCM)),
    )
    assert [["user", ULAW_RECORD], ["user", ALAW_RECORD], ["user", PCM]] == [r[2:] for r in found]


def test_a_refusal_without_an_id_is_known_by_its_parameter() -> None:
    """A client that numbers no events gets errors that name none."""
    refused = error(None)
    refused["error"]["param"] = "session.audio.input.format.type"
    asked = (True, session("session.update", input=ULAW))
    assert [["user", ULAW_RECORD], ["user", PCM]] == [
        r[2:] for r in records(asked, (False, refused))
    ]
    refused["error"]["param"] = "item.content"
    assert [["user", ULAW_RECORD]] == [r[2:] for r in records(asked, (False, refused))]


def test_an_update_without_formats_changes_none() -> None:
    """Servers need not repeat the formats in their answers."""
    created = session("session.created", input=ULAW, output=ALAW)
    asked = {"type": "session.update", "session": {"instructions": "x"}}
    updated = {"type": "session.updated", "session": {"instructions": "x"}}
    found = records((False, created), (True, asked), (False, updated))
    assert [["agent", ALAW_RECORD], ["user", ULAW_RECORD]] == [r[2:] for r in found]
    unsaid = (True, session("session.update", input=ALAW))
    assert [["user", ALAW_RECORD]] == [r[2:] for r in records(unsaid, (False, updated))]


def test_a_response_may_have_a_format_of_its_own() -> None:
    """It ends with the response; one that names none has the session's."""
    own = {"id": "r", "audio": {"output": {"format": ULAW, "voice": "marin"}}}
    found = records(
        (False, session("session.created", output=ALAW)),
        (False, {"type": "response.created", "response": own}),
        (False, {"type": "response.created", "response": {"id": "s"}}),
    )
    assert [ALAW_RECORD, ULAW_RECORD, ALAW_RECORD] == [record[3] for record in found]


def test_transcription_sessions_have_formats_too() -> None:
    """The beta names them like other sessions, by events of their own."""
    asked = session("transcription_session.update", beta=True, input="g711_ulaw")
    updated = session("transcription_session.updated", beta=True, input="g711_ulaw")
    created = session("transcription_session.created", beta=True, input="pcm16")
    found = records((True, asked), (False, created), (False, updated))
    assert [["user", ULAW_RECORD]] == [record[2:] for record in found]


def test_beta_sessions_name_their_formats() -> None:
    """``g711_alaw`` is A-law at 8 kHz."""
    created = session("session.created", beta=True, input="g711_alaw", output="pcm16")
    alaw = {"type": "audio/pcma", "rate": 8_000}
    assert records((False, created)) == [["format", 1, "user", alaw]]


def test_a_second_session_resets_the_servers_count() -> None:
    """After a reconnect ``audio_start_ms`` counts from zero again."""
    created = (False, session("session.created", input=PCM))
    assert records(created, created) == [["reset", 2]]


def test_the_first_session_of_the_next_connection_resets_nothing() -> None:
    """The count began anew with the connection, before the server said so."""
    evidence, created = Evidence(), session("session.created", input=PCM)
    assert [] == evidence.records(1, False, created)
    evidence.regained()
    assert [[], [["reset", 3]]] == [evidence.records(t, False, created) for t in (2, 3)]


def test_a_refusal_names_the_claim() -> None:
    """By its event id, or, where the client gave none, by what the message is about."""
    named = (True, {**TRUNCATE, "event_id": "e"})
    shorter = "Audio content of 500ms is already shorter than 600ms"
    assert records(named, (False, error("e")))[1:] == [["refused", 2, "e", "i"]]
    assert records((True, TRUNCATE), (False, error(None, shorter)))[1:] == [
        ["refused", 2, None, "i"]
    ]
    unrelated = "Cancellation failed: no active response found"
    assert records((True, TRUNCATE), (False, error(None, unrelated)))[1:] == []
    missing = "The item with id 'i' does not exist."
    assert records((True, TRUNCATE), (False, error(None, missing)))[1:] == [
        ["refused", 2, None, "i"]
    ]
    answered = (False, {**TRUNCATE, "type": "conversation.item.truncated"})
    assert records((True, TRUNCATE), answered, (False, error(None, shorter)))[2:] == []
    assert records((False, {"type": "error", "error": None})) == []


@pytest.mark.parametrize("odd", [None, True, 0, [], ["output_audio"], {}, {"type": 1}])
@pytest.mark.parametrize("kind", ["response.done", "response.output_item.added"])
def test_a_part_of_any_type_costs_nothing(kind: str, odd: object) -> None:
    """What is no word is no type."""
    item = {"id": "a", "type": "message", "content": [{"type": odd, "transcript": "x"}, odd]}
    event = {"type": kind, "response_id": "r", "item": item}
    event["response"] = {"id": "r", "output": [item, odd]}
    records((False, event))


_KEYS = ("session", "response", "item", "error", "item_id", "response_id", "event_id", "transcript")
_KEYS += ("audio_end_ms", "audio_start_ms", "content_index")
#: An item, or a response with items, in which any value may stand anywhere.
_PARTS = st.dictionaries(st.sampled_from(["type", "transcript", "text"]), json_values)
_ITEMS = st.fixed_dictionaries(
    {"id": st.just("a") | json_values, "content": st.lists(_PARTS, max_size=3) | json_values},
    optional={"type": json_values, "role": json_values},
)
_RESPONSES = st.fixed_dictionaries(
    {"id": st.just("r") | json_values, "output": st.lists(_ITEMS, max_size=2) | json_values},
    optional={"usage": json_values, "audio": json_values},
)
_EVENTS = st.dictionaries(st.sampled_from(_KEYS), json_values | _ITEMS | _RESPONSES, max_size=5)


@bounded
@given(st.lists(st.tuples(st.sampled_from(sorted(AUDIO_EVENTS)), st.booleans(), _EVENTS)))
def test_any_event_yields_records_that_can_be_written(
    events: list[tuple[str, bool, dict[str, Any]]],
) -> None:
    """Whatever the peers write: nothing raises, and each record is JSON of one line."""
    evidence, timeline = Evidence(), Timeline()
    for t, (kind, sent, event) in enumerate(events):
        for record in evidence.records(t, sent, {**event, "type": kind}):
            timeline.apply(json.loads(json.dumps(record)))
    timeline.finish()
