"""Attributes that several kinds of span share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime.core.protocol.outcome import Provider
from otel_realtime.tracing.facts import connection_facts, is_voice, position_facts
from otel_realtime.tracing.inference import describe_inference
from otel_realtime.tracing.run_metadata import RunMetadata
from tests.support.span_tables import ALL, LIMIT, META, OURS, chat, messages
from tests.support.streams import CALL, at, created, done, feed, received, said


def test_langsmith_has_provider_names_of_its_own() -> None:
    """It prices by them."""
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    azure = Provider("azure.ai.openai")
    found = describe_inference(response, state, None, ALL, azure, LIMIT).attributes
    assert ("azure.ai.openai", "azure.ai.openai", "azure") == (
        found["gen_ai.provider.name"],
        found["gen_ai.system"],
        found[META + "ls_provider"],
    )


def test_usage_stands_once_in_each_form() -> None:
    """Totals, split, and LangSmith's."""
    found = chat().attributes
    assert (7, 5, 2) == tuple(
        found["gen_ai.usage." + name]
        for name in ("input_tokens", "output_tokens", "cache_read.input_tokens")
    )
    assert {
        "input_tokens": 7,
        "output_tokens": 5,
        "total_tokens": 12,
        "input_token_details": {"text": 1, "audio": 4, "cache_read": 2},
        "output_token_details": {"text": 1, "audio": 4},
    } == json.loads(found["langsmith.usage_metadata"])


def test_a_response_without_usage_has_none() -> None:
    """A completion stands all the same."""
    found = chat((created("r"), done("r", usage=None)), "r").attributes
    assert not [name for name in found if "usage" in name]
    assert [] == messages(found, "completion")


def test_what_stands_on_every_run() -> None:
    """The first of the app's metadata, without long values; it may grow during the call."""
    app: dict[str, Any] = {"plan": "gold", "essay": "a" * 2000, "n": 2**70}
    about = RunMetadata(app)
    found = about.attributes()
    assert ("gold", str(2**70)) == (found[META + "plan"], found[META + "n"])
    assert META + "essay" not in found
    app |= {f"k{number}": number for number in range(99)}
    assert 31 + 3 == len(about.attributes())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((), True),
        ([received("session.created", session={"output_modalities": ["audio"]})], True),
        ([received("session.created", session={"output_modalities": ["text"]})], False),
        ([received("session.created", session={"modalities": ["text", "audio"]})], True),
        ([received("session.created", session={"modalities": "odd"})], True),
        ([received("session.created", session={"type": "transcription"})], False),
        ([created("r"), done("r", said("Hi", id="a", role="assistant"))], False),
        (CALL, True),
    ],
)
def test_whether_it_is_a_conversation_of_voices(rows: Any, expected: bool) -> None:
    """What the session says, until an answer shows it."""
    assert expected is is_voice(feed(rows)[0])


def test_where_something_stands() -> None:
    """Its turn, if there is one, and its offset into the recording, in both forms."""
    found = position_facts(at(1234), 2)
    expected = {"turn": 2, "audio_offset_ms": 1234}
    assert {p + name: value for p in (OURS, META) for name, value in expected.items()} == found
    assert {OURS + "audio_offset_ms", META + "audio_offset_ms"} == position_facts(at(0), 0).keys()


def test_where_a_model_call_went() -> None:
    """Server, session and the app's conversation, as far as they are known."""
    assert {
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.realtime_session.id": "sess_1",
        "gen_ai.conversation.id": "thread",
    } == connection_facts(
        Provider("openai", "api.openai.com", 443), session_id="sess_1", conversation_id="thread"
    )
    assert {} == connection_facts(Provider(), session_id=None, conversation_id=None)
