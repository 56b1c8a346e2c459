"""What the tests of spans share: policies, one described response, and a check against a table of types."""

from __future__ import annotations

import json
from typing import Any

from otel_realtime.core.protocol.outcome import Identity, Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.tracing.inference import Inference, describe_inference
from tests.support.streams import CALL, MS, Row, Sounds, feed, sound

ALL = ContentPolicy()
NO_INPUTS = ContentPolicy(inputs=False)
NO_OUTPUTS = ContentPolicy(outputs=False)
NOTHING = ContentPolicy(inputs=False, outputs=False)
OPENAI = Provider()
LIMIT = 4096
META = "langsmith.metadata."
OURS = "otel_realtime."
JSON = "json"
HEARD = Sounds(
    sound("item_5", 1500, 500, generated_ms=800, first_chunk_t=450 * MS, interrupted=True)
)


def check(table: dict[str, Any], found: dict[str, Any]) -> None:
    """Exactly these names, and values of exactly these types."""
    assert sorted(table) == sorted(found)
    for name, kind in table.items():
        if kind is JSON:
            json.loads(found[name])
        else:
            assert (name, kind) == (name, type(found[name]))


def chat(
    rows: tuple[Row, ...] = CALL,
    response_id: str = "resp_2",
    audio: Sounds | None = None,
    policy: ContentPolicy = ALL,
) -> Inference:
    """One response of these rows as an inference."""
    state, _ = feed(rows)
    return describe_inference(state.responses[response_id], state, audio, policy, OPENAI, LIMIT)


def messages(found: dict[str, Any], name: str) -> Any:
    """The messages of ``gen_ai.prompt`` or ``gen_ai.completion``, in whichever shape it has."""
    value = json.loads(found[f"gen_ai.{name}"])
    if "choices" in value:
        assert list(range(len(value["choices"]))) == [one["index"] for one in value["choices"]]
        return [choice["message"] for choice in value["choices"]]
    return value["messages"]


def who(**keys: Any) -> Identity:
    """A conversation with a thread id that nobody gave."""
    given = {"thread_id": "thread", "given_thread_id": False, "provider": Provider(), **keys}
    return Identity(**given)
