"""What may be stored of an event: no secret, no sound, no content behind the switch, no bulk."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol import redaction as payload
from otel_realtime.core.protocol.events import MAX_DEPTH, TOO_DEEP, parse, read
from otel_realtime.core.protocol.json_text import dump, shorten
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy, hide, scrub
from otel_realtime.credentials import SECRET
from tests.support.odd_values import Unreadable, deep
from tests.support.streams import all_streams, bounded, json_values, stream

KEY = "sk-proj-0123456789abcdefghij"
EPHEMERAL = "ek_0123456789abcdef"
SECRET_KEYS = ("authorization", "headers", "client_secret", "api_key", "api-key", "password")
HIDE_ALL = ContentPolicy(inputs=False, outputs=False, audio=False)


# -- scrub -----------------------------------------------------------------------------------------


@bounded
@given(json_values)
def test_scrubbing_leaves_its_argument_alone(value: Any) -> None:
    """Whatever comes in stays as it was, and scrubbing twice changes nothing more."""
    before = json.dumps(value)
    once = scrub(value)
    assert before == json.dumps(value)
    assert once == scrub(once)


@bounded
@given(json_values, st.sampled_from(SECRET_KEYS), st.lists(st.sampled_from("ab"), max_size=5))
def test_a_secret_goes_wherever_it_stands(value: Any, key: str, path: list[str]) -> None:
    """By its key at any depth, and by its looks in any text."""
    planted: Any = {key: "hunter2", "text": f"use {KEY} or {EPHEMERAL}!", "other": value}
    for step in path:
        planted = {step: [planted]}
    text = json.dumps(scrub(planted))
    assert "hunter2" not in text
    assert KEY not in text
    assert EPHEMERAL not in text
    assert SECRET in text


def test_secrets_of_sessions_are_never_recorded() -> None:
    """An MCP tool's authorization, headers and address, and the beta's client secret."""
    session = {
        "client_secret": {"value": EPHEMERAL, "expires_at": 1},
        "tools": [
            {
                "type": "mcp",
                "server_url": "https://mcp.example/sse?token=hunter2",
                "authorization": "Bearer hunter2",
                "headers": {"X-Key": "hunter2"},
            }
        ],
    }
    tool = {
        "type": "mcp",
        "server_url": "https://mcp.example/sse",
        "authorization": SECRET,
        "headers": SECRET,
    }
    assert {"client_secret": SECRET, "tools": [tool]} == scrub(session)


@pytest.mark.parametrize("word", ["week_planner01", "task-sk-1", "ek_1", "a sk-etch", "lsv2_x"])
def test_words_that_only_look_alike_stay(word: str) -> None:
    """A secret has a boundary before it and a length."""
    assert {"text": word} == scrub({"text": word})


def test_audio_becomes_its_size_and_duration() -> None:
    """Base64 under ``audio`` goes, with its length by the format's bytes per ms."""
    audio = base64.b64encode(bytes(9600)).decode()
    part = {"type": "input_audio", "audio": audio, "transcript": "hi"}
    assert "[audio: 9600 bytes, 200 ms]" == scrub(part)["audio"]
    assert "[audio: 9600 bytes, 1200 ms]" == scrub(part, bytes_per_ms=8)["audio"]
    assert {"audio": {"format": "pcm"}} == scrub({"audio": {"format": "pcm"}})
    assert {"audio": ""} == scrub({"audio": ""})


def test_images_become_their_type_and_size() -> None:
    """A data URI goes wherever it stands in a text; other addresses stay."""
    uri = "data:image/png;base64," + base64.b64encode(bytes(300)).decode()
    assert "[image/png: 300 bytes]" == scrub({"image_url": uri})["image_url"]
    assert 'see [image/png: 300 bytes]"' == scrub({"output": f'see {uri}"'})["output"]
    plain = {"image_url": "https://example.org/a.png", "text": "data: three of five"}
    assert plain == scrub(plain)


def test_unnamed_base64_becomes_its_size() -> None:
    """A long run of base64 under any key is no text."""
    run = base64.b64encode(bytes(600)).decode()
    assert {"blob": "[base64: 600 bytes]", "short": "QUJD"} == scrub({"blob": run, "short": "QUJD"})


def test_padding_and_probabilities_are_dropped() -> None:
    """``obfuscation`` and ``logprobs`` mean nothing to a reader."""
    assert {"a": 1} == scrub({"a": 1, "obfuscation": "x7", "logprobs": [{"token": "a"}]})


@pytest.mark.parametrize("function", [scrub, hide, lambda value: shorten(value, 400)])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 10_000])
def test_no_depth_exhausts_the_stack(function: Callable[[Any], Any], levels: int) -> None:
    """Ten thousand levels raise nothing; what is too deep is cut off."""
    answer = function({"type": "x", "a": deep(levels)})
    text = answer if isinstance(answer, str) else json.dumps(answer)
    assert "bottom" not in text
    assert TOO_DEEP in text or HIDDEN in text


def test_a_frame_of_50_mb_becomes_a_line() -> None:
    """A huge payload of audio, and one of text, are stored within their bounds."""
    audio = {"type": "conversation.item.retrieved", "item": {"audio": "A" * 50_000_000}}
    assert 150 > len(dump({"event": scrub(audio)}, 1000))
    text = dump({"event": scrub({"type": "x", "text": "a b " * 5_000_000})}, 1000)
    assert len(text) <= 1000
    assert "more characters" in json.loads(text)["event"]["text"]


# -- needs_scrub -----------------------------------------------------------------------------------

PLANTED: tuple[dict[str, Any], ...] = (
    {"text": f"my key is {KEY}"},
    {"text": EPHEMERAL},
    {"server_url": "https://x/y?z"},
    {"url": "data:image/png;base64,AAAA"},
    {"blob": "QUJD" * 200},
    {"audio": "QUJD"},
    {"logprobs": []},
    {"obfuscation": "a"},
    *({key: "x"} for key in (*SECRET_KEYS, "secret")),
    {"text": "\ud800"},
    {"number": float("inf")},
    {"a": deep(MAX_DEPTH + 5)},
)


def noticed(text: str) -> bool:
    """Whether an event is looked at whole: its text is not what it says, or may hold a secret."""
    event, shown = read(text)
    assert event is not None
    return shown is None or shown != text or payload.needs_scrub(shown)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: next(iter(plant)))
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_scrubbing_would_change_is_noticed(
    plant: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    """However a server spaces and escapes its JSON."""
    event = {"type": "x", "inner": [plant]}
    assert noticed(json.dumps(event, separators=separators, ensure_ascii=ascii_only))


def test_keys_written_as_escapes_are_noticed() -> None:
    """JSON allows any letter as an escape."""
    assert noticed(r'{"type":"x","\u0061udio":"QUJD"}')


@bounded
@given(st.dictionaries(st.text(max_size=8), json_values | st.text(max_size=600), max_size=3))
def test_text_that_needs_no_scrubbing_is_what_scrubbing_gives(value: dict[str, Any]) -> None:
    """The short cut and the long way store the same."""
    text = json.dumps({**value, "type": "x"}, separators=(",", ":"), ensure_ascii=False)
    if not noticed(text):
        assert json.loads(text) == scrub(parse(text))


@pytest.mark.parametrize("name", all_streams())
def test_recorded_events_take_the_short_cut_rightly(name: str) -> None:
    """Every event of the recorded streams, and most of them do take it."""
    texts = [json.dumps(event, ensure_ascii=False) for _, event in stream(name)]
    short = [text for text in texts if not noticed(text)]
    for text in short:
        assert json.loads(text) == scrub(json.loads(text))
    assert short


# -- hide ------------------------------------------------------------------------------------------

CONTENT: tuple[dict[str, Any], ...] = (
    {"type": "conversation.item.input_audio_transcription.completed", "transcript": "PLANTED"},
    {"type": "x", "item": {"type": "message", "content": [{"type": "text", "text": "PLANTED"}]}},
    {"type": "x", "item": {"type": "message", "name": "PLANTED"}},
    {"type": "x", "item": {"type": "function_call", "name": "f", "arguments": '{"a":"PLANTED"}'}},
    {"type": "x", "item": {"type": "function_call_output", "output": "PLANTED"}},
    {"type": "x", "item": {"type": "mcp_call", "output": "PLANTED", "error": "PLANTED"}},
    {"type": "x", "item": {"type": "mcp_call", "error": {"message": "PLANTED"}}},
    {"type": "x", "item": {"type": "mcp_approval_response", "reason": "PLANTED"}},
    {"type": "x", "item": {"type": "message", "content": [{"image_url": "https://PLANTED"}]}},
    {"type": "x", "session": {"instructions": "PLANTED", "tools": [{"name": "PLANTED"}]}},
    {"type": "x", "session": {"prompt": {"id": "PLANTED", "variables": {"who": "PLANTED"}}}},
    {"type": "x", "session": {"audio": {"input": {"transcription": {"prompt": "PLANTED"}}}}},
    {"type": "x", "session": {"tracing": {"workflow_name": "PLANTED", "metadata": {"PLANTED": 1}}}},
    {"type": "x", "response": {"metadata": {"PLANTED": "PLANTED"}, "instructions": "PLANTED"}},
    {"type": "error", "error": {"code": "c", "message": "you said PLANTED", "param": "PLANTED"}},
    {"type": "input_audio_buffer.dtmf_event_received", "event": "PLANTED"},
    {"type": "x.segment", "speaker": "PLANTED", "text": "PLANTED"},
    {"type": "x", "reason": "because PLANTED was said"},
    {"type": "x", "modalities": ["PLANTED was said"]},
    {"type": "x", "list": [["PLANTED"], "PLANTED"]},
)


@pytest.mark.parametrize("event", CONTENT, ids=json.dumps)
def test_content_goes_when_it_is_hidden(event: dict[str, Any]) -> None:
    """Transcripts, names, arguments, results, instructions, metadata, key presses, messages."""
    assert "PLANTED" not in json.dumps(hide(event))


@bounded
@given(json_values, st.text("PQ ", min_size=3, max_size=20).map(lambda text: f"x {text}"))
def test_no_planted_text_survives_hiding(value: Any, planted: str) -> None:
    """Free text is hidden under every key, known or not."""
    keys = ("text", "reason", "code", "voice", "id", "whatever", "name", "event")
    event = {"type": "x", "v": value, **{key: [planted, {key: planted}] for key in keys}}
    event = {**event, "deeper": dict.fromkeys(keys, planted)}
    assert json.dumps(planted)[1:-1] not in json.dumps(hide(event))


def test_a_key_press_is_hidden_even_as_a_number() -> None:
    """The digits of a card come as DTMF."""
    event = {"type": "input_audio_buffer.dtmf_event_received", "event": 7, "received_at": 1}
    assert {**event, "event": HIDDEN} == hide(event)


def test_shape_stays_when_content_is_hidden() -> None:
    """Ids, types, roles, statuses, usage, tool and rate-limit names are no content."""
    event = {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1",
            "status": "cancelled",
            "status_details": {"type": "cancelled", "reason": "turn_detected"},
            "conversation_id": None,
            "output_modalities": ["audio"],
            "usage": {"input_tokens": 3, "input_token_details": {"audio_tokens": 2}},
            "output": [{"id": "item_1", "type": "function_call", "name": "f", "call_id": "call_1"}],
        },
        "rate_limits": [{"name": "tokens", "remaining": 7}],
    }
    assert event == hide(event)


# -- the policy ------------------------------------------------------------------------------------

EVENT: dict[str, Any] = {
    "type": "conversation.item.added",
    "event_id": "event_1",
    "previous_item_id": "item_0",
    "item": {
        "id": "item_1",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "PLANTED"}],
    },
}


def test_an_event_is_admitted_as_it_is() -> None:
    """Without switch and hook only scrubbing changes anything."""
    assert (EVENT, None) == ContentPolicy().apply(EVENT)


def test_with_everything_hidden_nothing_is_admitted_but_shape() -> None:
    """Whatever is made of it later can hold no content."""
    stored, failure = HIDE_ALL.apply(EVENT)
    assert HIDDEN == stored["item"]["content"][0]["text"]
    assert EVENT["item"]["id"] == stored["item"]["id"]
    assert failure is None


@pytest.mark.parametrize(
    ("policy", "payloads"),
    [
        (ContentPolicy(), True),
        (ContentPolicy(inputs=False), False),
        (ContentPolicy(outputs=False), False),
        (HIDE_ALL, False),
    ],
)
def test_a_whole_payload_shows_both_sides(policy: ContentPolicy, payloads: bool) -> None:
    """So one hidden side hides it."""
    assert payloads == policy.payloads


def test_a_policy_becomes_stricter_only() -> None:
    """Nothing that was off is turned on by settings that come later."""
    open_policy, shut = ContentPolicy(), HIDE_ALL
    assert shut == shut.stricter(capture=True, audio=True)
    assert open_policy == open_policy.stricter(capture=True, audio=True)
    assert ContentPolicy(audio=False) == open_policy.stricter(capture=True, audio=False)
    assert shut == open_policy.stricter(capture=False, audio=True)


def test_the_hook_sees_no_secret_and_cannot_reach_the_event() -> None:
    """It gets a copy, already scrubbed; what it returns is stored."""
    seen: list[dict[str, Any]] = []

    def redact(event: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(event)))
        event["item"]["content"][0]["text"] = "***"
        return event

    event = {**EVENT, "api_key": KEY}
    stored, failure = ContentPolicy(redact=redact).apply(event)
    assert [{**EVENT, "api_key": SECRET}] == seen
    assert "***" == stored["item"]["content"][0]["text"]
    assert "PLANTED" == event["item"]["content"][0]["text"]
    assert failure is None


def _raises(event: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("cannot read " + str(event))


def _unreadable(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "item": {**event["item"], "extra": Unreadable()}}


@pytest.mark.parametrize(
    ("redact", "why"),
    [
        (_raises, "ValueError"),
        (_unreadable, "ValueError"),
        (lambda event: None, "it returned NoneType, not a dict"),
        (lambda event: [event], "it returned list, not a dict"),
        (lambda event: event["item"]["missing"], "KeyError"),
    ],
)
def test_a_failing_hook_hides_the_payload(redact: Any, why: str) -> None:
    """And says why without quoting it."""
    stored, failure = ContentPolicy(redact=redact).apply(EVENT)
    assert hide(EVENT) == stored
    assert why == failure


DROPPING: tuple[Any, ...] = (
    lambda event: {},
    lambda event: {"type": "spoofed", "item": "***"},
    lambda event: {**event, "item": {}},
    lambda event: {**event, "item": {"id": "other", "content": [{}]}},
    lambda event: dict.fromkeys(event),
)


@pytest.mark.parametrize("redact", DROPPING)
def test_a_hook_that_drops_ids_does_not_break_the_trace(redact: Any) -> None:
    """What the trace stands on comes back; what was said does not."""
    stored, failure = ContentPolicy(redact=redact).apply(EVENT)
    item = stored["item"]
    assert failure is None
    assert "conversation.item.added" == stored["type"]
    assert ("event_1", "item_0") == (stored["event_id"], stored["previous_item_id"])
    assert ("item_1", "message", "user") == (item["id"], item["type"], item["role"])
    assert "PLANTED" not in json.dumps(stored)


def test_a_hook_may_remove_a_text_and_a_part() -> None:
    """A scalar stays away, a shorter list stays shorter; usage cannot be taken away."""

    def redact(event: dict[str, Any]) -> dict[str, Any]:
        return {"type": event["type"], "response": {"output": []}}

    event = {
        "type": "response.done",
        "transcript": "PLANTED",
        "response": {"id": "r", "output": [{"id": "i"}], "usage": {"input_tokens": 3}},
    }
    stored, _ = ContentPolicy(redact=redact).apply(event)
    expected = {"id": "r", "output": [], "usage": {"input_tokens": 3}}
    assert {"type": "response.done", "response": expected} == stored


@bounded
@given(json_values, json_values)
def test_any_answer_of_a_hook_is_stored_with_its_identity(answer: Any, value: Any) -> None:
    """Whatever a hook makes of an event, nothing raises and the ids are the event's."""
    policy = ContentPolicy(redact=lambda event: answer)
    stored, _ = policy.apply({**EVENT, "value": value})
    assert "item_1" == stored["item"]["id"]
    json.dumps(stored)
