"""One view over the GA and the beta shape of a session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from otel_realtime.core.protocol.json_values import milliseconds
from otel_realtime.core.protocol.redaction import UNCHANGED
from otel_realtime.core.protocol.session import SessionFacts
from tests.support.streams import bounded, json_values, stream

GA: dict[str, Any] = {
    "type": "realtime",
    "id": "sess_1",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "f"}],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}
BETA: dict[str, Any] = {
    "object": "realtime.session",
    "id": "sess_2",
    "model": "gpt-4o-realtime-preview",
    "voice": "alloy",
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
}


def facts(*sessions: dict[str, Any]) -> SessionFacts:
    """What is known after these session objects."""
    found = SessionFacts()
    for session in sessions:
        found.merge(session)
    return found


def test_a_ga_session() -> None:
    """Its audio settings stand in one object per side."""
    found = facts(GA)
    assert ("sess_1", "gpt-realtime", "marin") == (found.id, found.model, found.voice)
    assert ("audio/pcm", "audio/pcmu") == (found.format("input"), found.format("output"))
    assert ("whisper-1", 200) == (found.transcription_model, found.silence_ms)
    assert not found.transcription_only


def test_a_beta_session() -> None:
    """Its audio settings stand beside each other."""
    found = facts(BETA)
    assert ("sess_2", "gpt-4o-realtime-preview", "alloy") == (found.id, found.model, found.voice)
    assert ("pcm16", "g711_ulaw") == (found.format("input"), found.format("output"))
    assert ("whisper-1", 500) == (found.transcription_model, found.silence_ms)


def test_an_empty_session() -> None:
    """Nothing is known of a sideband before its first session event."""
    found = facts()
    assert (None, None, None) == (found.id, found.model, found.voice)
    assert (None, None) == (found.format("input"), found.format("output"))
    assert (None, None) == (found.transcription_model, found.silence_ms)


def test_an_update_is_laid_over_what_was_known() -> None:
    """Keys that it does not name stay, the id too."""
    found = facts(GA, {"model": "gpt-realtime-2.1"})
    assert ("sess_1", "gpt-realtime-2.1", "marin") == (found.id, found.model, found.voice)


def test_the_transcription_can_be_turned_off_again() -> None:
    """Null is no model, and an empty object is the server's default."""
    off = {"audio": {"input": {"transcription": None}}}
    default = {"audio": {"input": {"transcription": {}}}}
    assert facts(GA, off).transcription_model is None
    assert "default" == facts(GA, default).transcription_model


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({"turn_detection": {"type": "semantic_vad", "silence_duration_ms": 200}}, None),
        ({"turn_detection": None}, None),
        ({"turn_detection": {"silence_duration_ms": 300}}, 300),
        ({"turn_detection": {"silence_duration_ms": -1}}, None),
        ({"turn_detection": {"silence_duration_ms": True}}, None),
        ({"audio": {"input": {"turn_detection": {"silence_duration_ms": 250.0}}}}, 250),
    ],
)
def test_silence_is_known_with_server_vad_only(
    session: dict[str, Any], expected: int | None
) -> None:
    """Semantic VAD and push to talk have none."""
    assert expected == facts(session).silence_ms


@pytest.mark.parametrize(
    ("voice", "expected"),
    [("marin", "marin"), ({"id": "voice_1"}, "voice_1"), ({"name": "en"}, "en"), (7, None)],
)
def test_a_voice_is_a_name_or_an_object(voice: object, expected: str | None) -> None:
    """The service's own voices have names, custom ones an id."""
    assert expected == facts({"audio": {"output": {"voice": voice}}}).voice


@pytest.mark.parametrize(
    "session", [{"type": "transcription"}, {"object": "realtime.transcription_session"}]
)
def test_a_session_that_only_transcribes(session: dict[str, Any]) -> None:
    """GA names it by type, the beta by its object."""
    assert facts(session).transcription_only


def test_long_values_that_repeat_are_left_out() -> None:
    """Instructions and tools are stored where they change."""
    found = facts(GA)
    changed = {**GA, "instructions": "Be long."}
    assert {**GA, "instructions": UNCHANGED, "tools": UNCHANGED} == found.without_repeats(GA)
    assert {**changed, "tools": UNCHANGED} == found.without_repeats(changed)
    empty = {"instructions": "", "tools": []}
    assert empty == facts(empty).without_repeats(empty)
    assert GA == SessionFacts().without_repeats(GA)


@bounded
@given(json_values, json_values)
def test_any_session_can_be_read(one: Any, other: Any) -> None:
    """Whatever stands where, nothing raises and the types hold."""
    inner = {"format": one, "voice": other, "transcription": one, "turn_detection": other}
    found = facts({"audio": {"input": inner, "output": inner}}, {"audio": one}, {"model": other})
    for session in ({"id": one, "voice": other, "input_audio_format": one}, inner):
        found.merge(session)
        texts = (found.id, found.model, found.voice, found.format("input"), found.format("output"))
        assert all(text is None or isinstance(text, str) for text in texts)
        assert found.silence_ms is None or found.silence_ms >= 0
        assert isinstance(found.transcription_only, bool)
        found.without_repeats(session)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (7.9, 7), (True, None), (-1, None), (2**53, None), ("7", None), (float("nan"), None)],
)
def test_a_time_in_ms(value: object, expected: int | None) -> None:
    """Only what can be one."""
    assert expected == milliseconds(value)


def test_a_recorded_session() -> None:
    """The real service's beta session, dumped from SDK models with nulls."""
    _, event = stream("webrtc_beta_bargein.recv")[0]
    found = facts(event["session"])
    assert "gpt-4o-realtime-preview-2024-12-17" == found.model
    assert ("pcm16", "pcm16") == (found.format("input"), found.format("output"))
    assert found.transcription_model is None
