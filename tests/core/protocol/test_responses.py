"""Model responses: their end, their reason, and how long they wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from otel_realtime.core.protocol.items import Items
from otel_realtime.core.protocol.responses import Response
from tests.support.streams import MS, Sounds, asked, at, bounded, json_values, said, sound


def response(*outputs: dict[str, Any], items: Items | None = None, **source: Any) -> Response:
    """A response that ended after 500 ms with these output items."""
    found = Response("r", created=at(0), done=at(500))
    found.merge({"status": "completed", **source})
    for output in outputs:
        (items if items is not None else Items()).get_or_create(output["id"], 0).merge(output)
        found.outputs.append(output["id"])
    return found


@pytest.mark.parametrize(
    ("status", "details", "expected"),
    [
        ("completed", None, "stop"),
        ("cancelled", {"reason": "turn_detected"}, "turn_detected"),
        ("cancelled", {"type": "cancelled", "reason": "client_cancelled"}, "client_cancelled"),
        ("cancelled", None, "error"),
        ("cancelled", {"reason": 7}, "error"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("failed", {"error": {"code": "server_error"}}, "error"),
        ("in_progress", None, "error"),
        ("some_new_status", None, "error"),
    ],
)
def test_finish_reasons(status: str, details: dict[str, Any] | None, expected: str) -> None:
    """Each status has its word of the convention."""
    found = response(status=status, status_details=details)
    assert [expected] == found.finish_reasons(Items())


def test_tool_calls_are_a_reason_of_their_own() -> None:
    """Also beside a message; not when the response was cut off."""
    items = Items()
    outputs = said("One moment.", id="a", role="assistant"), asked("b", "call_1")
    assert ["tool_call"] == response(*outputs, items=items).finish_reasons(items)
    cut = response(*outputs, items=items, status="cancelled")
    assert ["error"] == cut.finish_reasons(items)


@pytest.mark.parametrize(
    ("details", "reason", "message"),
    [
        (None, None, None),
        ({"reason": "turn_detected"}, "turn_detected", None),
        ({"error": {"code": "c", "type": "t", "message": "m"}}, "c", "m"),
        ({"error": {"code": None, "type": "t"}}, "t", None),
        ({"error": "text"}, None, None),
    ],
)
def test_why_a_response_is_not_completed(
    details: object, reason: str | None, message: str | None
) -> None:
    """The reason, else the error's code, else its type."""
    found = response(status_details=details)
    assert (reason, message) == (found.status_reason, found.error_message)


def test_a_response_knows_its_own_settings() -> None:
    """What it says of itself goes before the session's; null says nothing."""
    found = response(temperature=0.7, output_modalities=["text"], max_output_tokens=None)
    assert {"temperature": 0.7, "output_modalities": ["text"]} == found.config


@bounded
@given(json_values)
def test_any_response_can_be_absorbed(value: Any) -> None:
    """Whatever stands where, nothing raises and the texts are text."""
    keys = ("status", "status_details", "conversation_id", "temperature", "output", "model")
    for key in keys:
        found = response(**{key: value})
        found.merge({"status_details": {"reason": value, "error": value}})
        assert isinstance(found.status, str)
        for text in (found.status_reason, found.error_message):
            assert text is None or isinstance(text, str)
        found.finish_reasons(Items())


# -- when it is complete ---------------------------------------------------------------------------

SPOKEN = said("Hi", id="a", role="assistant")


def complete(found: Response, audio: Sounds | None, t_ms: int, transcribes: bool = False) -> bool:
    """Whether it is complete so long after the start."""
    items = Items()
    question = items.get_or_create("question", 0, role="user")
    question.audio = True
    return found.is_settled(items, audio, t_ms * MS, transcribes)


def test_a_silent_response_is_complete_when_it_is_done() -> None:
    """Nothing else can be learned of it."""
    for audio in (None, Sounds()):
        assert complete(response(SPOKEN), audio, 500)
    open_response = Response("r", created=at(0))
    assert not complete(open_response, None, 10**9)


def test_a_spoken_response_waits_for_its_play_out_and_a_late_truncate() -> None:
    """Play-out from 300 to 2300 ms, and a second on top."""
    audio = Sounds(sound("a", 300, 2000))
    assert not complete(response(SPOKEN), audio, 3299)
    assert complete(response(SPOKEN), audio, 3300)


def test_the_last_of_several_sounds_counts() -> None:
    """Whatever order they stand in."""
    items = Items()
    found = response(said("b", id="b"), said("a", id="a"), items=items)
    audio = Sounds(sound("a", 300, 2000), sound("b", 2300, 700))
    assert ["a", "b"] == [one.item_id for one in found.item_audio(audio)]
    assert 4000 * MS == found.play_out_end_t(audio)


def test_a_response_waits_for_the_transcript_only_where_there_will_be_one() -> None:
    """And at the latest 30 s after its play-out."""
    found = response(SPOKEN)
    found.inputs = ["question"]
    audio = Sounds(sound("a", 300, 2000))
    assert complete(found, audio, 3300)
    assert not complete(found, audio, 33_300, transcribes=True)
    assert complete(found, audio, 33_301, transcribes=True)
