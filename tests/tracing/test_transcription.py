"""The span of a call of the transcription model."""

from __future__ import annotations

import json
from typing import Any

from otel_realtime.core.protocol.changes import Transcribed
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.tracing.transcription import transcription_attributes
from tests.support.span_tables import (
    ALL,
    JSON,
    LIMIT,
    META,
    NO_INPUTS,
    NO_OUTPUTS,
    NOTHING,
    OPENAI,
    OURS,
    check,
    messages,
)
from tests.support.streams import MS, at

TRANSCRIBE: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.system": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.output.type": str,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    META + "ls_provider": str,
    META + "ls_model_name": str,
    META + "ls_message_view_exclude": bool,
    OURS + "item.id": str,
    OURS + "turn": int,
    META + "turn": int,
    OURS + "audio_offset_ms": int,
    META + "audio_offset_ms": int,
}


def transcript(policy: ContentPolicy = ALL, **keys: Any) -> dict[str, Any]:
    """The transcription of a turn that was committed after 40 ms."""
    item = Item("item_1", role="user", turn=1)
    event = {"type": "x.completed", "item_id": "item_1", "transcript": "Hello", **keys}
    change = Transcribed(item, "whisper-1", 40 * MS, at(40).at_ns, event, failed=False)
    return transcription_attributes(change, policy, OPENAI, LIMIT)


def test_a_transcription_billed_by_duration() -> None:
    """Seconds, and no token usage."""
    found = transcript(usage={"type": "duration", "seconds": 3})
    seconds = "transcription.seconds"
    check({**TRANSCRIBE, OURS + seconds: float, META + seconds: float}, found)
    assert (3.0, "whisper-1", 40) == (
        found[OURS + seconds],
        found[META + "ls_model_name"],
        found[OURS + "audio_offset_ms"],
    )
    assert [{"role": "assistant", "content": "Hello"}] == messages(found, "completion")
    assert [{"role": "user", "content": "[audio]"}] == messages(found, "prompt")


def test_a_transcription_billed_by_tokens() -> None:
    """Its own usage."""
    details = {"audio_tokens": 8, "text_tokens": 1}
    usage = {"type": "tokens", "input_tokens": 9, "output_tokens": 6, "total_tokens": 15}
    found = transcript(usage={**usage, "input_token_details": details})
    names = ("input_tokens", "output_tokens", "audio.input_tokens", "text.input_tokens")
    kinds = {f"gen_ai.usage.{name}": int for name in names}
    check({**TRANSCRIBE, **kinds, "langsmith.usage_metadata": JSON}, found)


def test_a_transcription_is_what_the_user_said() -> None:
    """So it hides with the inputs."""
    for policy, expected in ((NO_INPUTS, HIDDEN), (NO_OUTPUTS, "Hello"), (NOTHING, HIDDEN)):
        found = transcript(policy)
        assert expected == messages(found, "completion")[0]["content"]
        (message,) = json.loads(found["gen_ai.output.messages"])
        assert [{"type": "text", "content": expected}] == message["parts"]
