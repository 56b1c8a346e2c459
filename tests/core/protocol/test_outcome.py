"""Who a conversation is, and what its responses add up to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from otel_realtime.core.protocol.breakdown import LatencyPart
from otel_realtime.core.protocol.events import TOO_DEEP
from otel_realtime.core.protocol.interruptions import Interruption
from otel_realtime.core.protocol.latency import ResponseAudio
from otel_realtime.core.protocol.outcome import Provider, Tally, sanitize_metadata, tally
from tests.support.streams import CALL, Sounds, feed, sound


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (None, "openai"),
        ("127.0.0.1", "openai"),
        ("api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("mine.cognitiveservices.azure.com", "azure.ai.openai"),
        ("mine.services.ai.azure.com", "azure.ai.openai"),
        ("api.x.ai", "x_ai"),
        ("openai.azure.com.example.org", "openai"),
    ],
)
def test_a_provider_is_known_by_its_host(host: str | None, name: str) -> None:
    """What speaks the protocol elsewhere counts as OpenAI's."""
    assert Provider(name, host, 443) == Provider.from_host(host, 443)


def test_reserved_keys_are_refused() -> None:
    """LangSmith would take ``session_id`` for its project; None says nothing."""
    given = {"session_id": 1, "thread_id": 2, "conversation_id": 3, "": 4, "a": None, 5: "b"}
    kept, refused = sanitize_metadata(given)  # type: ignore[arg-type]
    assert {"5": "b"} == kept
    assert ["session_id", "thread_id", "conversation_id", ""] == refused


def test_metadata_has_no_credentials() -> None:
    """Under any name at any depth, in any text; everything else is as the app gave it."""
    when = datetime(2026, 1, 2, tzinfo=timezone.utc)
    kept, _ = sanitize_metadata(
        {
            "apiKey": "hunter2",
            "X-API-Key": 4711,
            "nested": {"list": [{"Authorization": "hunter2", "plan": "gold"}], 5: "five"},
            "tuple": ("Bearer hunter2", 1.5),
            "note": "called https://me:hunter2@host/x?token=hunter2",
            "error": ValueError("token=hunter2"),
            "when": when,
            "audio": "headset",
            "max_output_tokens": 50,
            "api_key": None,
            "password": "",
            "token": True,
        }
    )
    assert {
        "apiKey": "[secret]",
        "X-API-Key": "[secret]",
        "nested": {"list": [{"Authorization": "[secret]", "plan": "gold"}], "5": "five"},
        "tuple": ["Bearer [secret]", 1.5],
        "note": "called https://[secret]@host/x",
        "error": "token=[secret]",
        "when": when,
        "audio": "headset",
        "max_output_tokens": 50,
        "password": "",
        "token": True,
    } == kept


def test_metadata_that_cannot_be_read_is_named() -> None:
    """It raises, or contains itself."""
    around: list[object] = []
    around.append(around)
    kept, _ = sanitize_metadata({"bad": Unwalkable(), "around": around, "good": 1})
    assert {"bad": "[unreadable]", "around": [TOO_DEEP], "good": 1} == kept


class Unwalkable(dict[str, object]):
    """A mapping that fails when it is read."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no members")


def test_settled_responses_add_up() -> None:
    """Silent ones add nothing."""
    tally = Tally()
    cut = Interruption("vad", False)
    spoken = ResponseAudio(
        interrupted=True,
        interruption=cut,
        first_audio_ms=300,
        voice_to_voice_ms=900,
        parts=(LatencyPart("model", 900, "service"),),
    )
    for facts in (ResponseAudio(), spoken, ResponseAudio(first_audio_ms=100)):
        tally.add(facts)
    assert (
        Tally(
            interruptions=[cut],
            first_audio_ms=[300, 100],
            voice_to_voice_ms=[900],
            parts_ms={"model": [900]},
        )
        == tally
    )


def test_responses_can_be_counted_anew() -> None:
    """When all sound was taken in."""
    state, _ = feed(CALL)
    audio = Sounds(sound("item_5", 1500, 100, generated_ms=900, interrupted=True))
    cut = Interruption("client", False)
    assert Tally(interruptions=[cut], first_audio_ms=[1330]) == tally(state, audio)
    assert Tally() == tally(state, Sounds())
