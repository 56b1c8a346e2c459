"""Recordings by the sample: a call told by hand, every time of it given, rendered and delivered."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime.sandbox import Sandbox
from tests.support.talking import PER_MS, pcm, tone
from tests.support.traces import Traces, arrived, facts, samples

BEGAN_NS = 1_780_000_000_000_000_000
SESSION = {"id": "s1", "model": "gpt-realtime", "audio": {"input": {"turn_detection": {}}}}
ANSWER, NEXT, QUESTION = tone(1000, 523), tone(400, 659), tone(300, 330)
Step = tuple[float, str, dict[str, Any]]
Place = tuple[int, bytes]


def heard(raw: bytes, item: str = "a", response: str = "r") -> list[tuple[str, dict[str, Any]]]:
    """The server's audio of an item, in deltas of 100 ms that all come at once."""
    size = 100 * PER_MS * 2
    return [
        (
            "response.output_audio.delta",
            {
                "item_id": item,
                "response_id": response,
                "content_index": 0,
                "delta": base64.b64encode(raw[at : at + size]).decode(),
            },
        )
        for at in range(0, len(raw), size)
    ]


def got(at_ms: float, kind: str, **fields: Any) -> list[Step]:
    """The server sends an event."""
    return [(at_ms, "received", {"type": kind, **fields})]


def sent(at_ms: float, kind: str, **fields: Any) -> list[Step]:
    """The client sends an event."""
    return [(at_ms, "sent", {"type": kind, **fields})]


def speaks(at_ms: float, raw: bytes, item: str = "a", response: str = "r") -> list[Step]:
    """The answer's audio arrives, and the response is done."""
    response_body = {"id": response, "status": "completed", "output": [message(item)]}
    return [
        *got(at_ms, "response.created", response={"id": response, "status": "in_progress"}),
        *((at_ms, "received", {"type": kind, **body}) for kind, body in heard(raw, item, response)),
        *got(at_ms, "response.done", response=response_body),
    ]


def message(item: str) -> dict[str, Any]:
    """An assistant's item."""
    return {"id": item, "type": "message", "role": "assistant", "content": []}


def says(spoken_ms: float, raw: bytes) -> list[Step]:
    """A microphone sends what was spoken from a moment on, each 100 ms when they are over."""
    size = 100 * PER_MS * 2
    return [
        step
        for number, at in enumerate(range(0, len(raw), size), start=1)
        for step in sent(
            spoken_ms + 100 * number,
            "input_audio_buffer.append",
            audio=base64.b64encode(raw[at : at + size]).decode(),
        )
    ]


CUT = {"item_id": "a", "content_index": 0, "audio_end_ms": 350}
HEARD_OUT = [(1000, ANSWER)]
#: What happens after the opening -> user, agent (ms, sound), heard ms and its source, of item "a".
CALLS: dict[str, tuple[list[Step], list[Place], list[Place], tuple[int, str]]] = {
    "who hangs up hears no more, also without a microphone": (
        [*speaks(1000, ANSWER), *got(1100, "rate_limits.updated")],
        [],
        [(1000, ANSWER[: 100 * PER_MS * 2])],
        (100, "estimated"),
    ),
    "a script that waits for the answer hears it": (
        [*speaks(1000, ANSWER), *got(2000, "rate_limits.updated")],
        [],
        HEARD_OUT,
        (1000, "estimated"),
    ),
    "who lets go of the button and hangs up hears no more": (
        [*says(200, QUESTION), *speaks(4000, ANSWER), *got(4600, "rate_limits.updated")],
        [(200, QUESTION)],
        [(4000, ANSWER[: 600 * PER_MS * 2])],
        (600, "estimated"),
    ),
    "a caller who hangs up hears no more": (
        [*says(200, QUESTION), *speaks(1000, ANSWER), *got(1250, "rate_limits.updated")],
        [(200, QUESTION)],
        [(1000, ANSWER[: 250 * PER_MS * 2])],
        (250, "estimated"),
    ),
    "a barge-in cuts what is queued at its arrival": (
        [
            *speaks(1000, ANSWER),
            *says(1500, QUESTION),
            *got(1600, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
            *got(5000, "rate_limits.updated"),
        ],
        [(1500, QUESTION)],
        [(1000, ANSWER[: 600 * PER_MS * 2])],
        (600, "estimated"),
    ),
    "the client's truncate is exact, and says when the answer began": (
        [
            *speaks(1000, ANSWER),
            *got(1600, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
            *sent(1650, "conversation.item.truncate", **CUT),
            *got(1700, "conversation.item.truncated", **CUT),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        [(1650 - 350, ANSWER[: 350 * PER_MS * 2])],
        (350, "client_truncate"),
    ),
    "a truncate that the server refuses is undone": (
        [
            *speaks(1000, ANSWER),
            *sent(1650, "conversation.item.truncate", event_id="e7", **CUT),
            *got(1700, "error", error={"code": "bad", "message": "no", "event_id": "e7"}),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        HEARD_OUT,
        (1000, "estimated"),
    ),
    "a late truncate is taken in as well, too late to say when the answer began": (
        [
            *speaks(1000, ANSWER),
            *got(2400, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
            *sent(2450, "conversation.item.truncate", **CUT),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        [(1000, ANSWER[: 350 * PER_MS * 2])],
        (350, "client_truncate"),
    ),
    "two answers play one after the other": (
        [
            *speaks(1000, ANSWER),
            *speaks(1500, NEXT, "b", "r2"),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        [(1000, ANSWER), (2000, NEXT)],
        (1000, "estimated"),
    ),
    "a cut answer makes room for the next, which begins as late": (
        [
            *speaks(1000, ANSWER),
            *got(1600, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
            *sent(1610, "conversation.item.truncate", **CUT),
            *speaks(3000, NEXT, "b", "r2"),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        [(1260, ANSWER[: 350 * PER_MS * 2]), (3260, NEXT)],
        (350, "client_truncate"),
    ),
    "the server's own truncate, without the client": (
        [
            *speaks(1000, ANSWER),
            *got(1700, "conversation.item.truncated", **CUT),
            *got(5000, "rate_limits.updated"),
        ],
        [],
        [(1000, ANSWER[: 350 * PER_MS * 2])],
        (350, "server"),
    ),
}


def channel(length: int, places: Sequence[Place]) -> np.ndarray:
    """A channel with sounds at their milliseconds and silence elsewhere."""
    found = np.zeros(length, "<i2")
    for at_ms, raw in places:
        found[at_ms * PER_MS : at_ms * PER_MS + len(raw) // 2] = pcm(raw)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_every_sample(name: str, sandbox: Sandbox, traces: Traces) -> None:
    """Both channels of the delivered recording, sample for sample, and what the span says of it."""
    steps, user_places, agent_places, (heard_ms, source) = CALLS[name]
    steps = sorted([*got(0, "session.created", session=SESSION), *steps], key=lambda step: step[0])
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for at_ms, way, event in steps:
            getattr(call, way)(json.dumps(event), at_ns=BEGAN_NS + round(at_ms * 1e6))
    assert otel_realtime.flush(20)
    conversation = arrived(sandbox, traces.spans)
    user, agent = samples(sandbox.recording(conversation["id"]))
    assert np.array_equal(channel(len(user), user_places), user)
    assert np.array_equal(channel(len(agent), agent_places), agent)
    ends = [at_ms * PER_MS + len(raw) // 2 for at_ms, raw in [*user_places, *agent_places]]
    assert max([*ends, round(steps[-1][0] * PER_MS)]) == len(user)
    (span,) = (s for s in traces.spans if facts(s).get("gen_ai.response.id") == "r")
    assert (1000, heard_ms, source, heard_ms < 1000) == tuple(
        facts(span)[f"otel_realtime.{key}"]
        for key in ("generated_ms", "heard_ms", "heard_source", "interrupted")
    )


@pytest.mark.parametrize("waits", [0.3, 1.05])
def test_a_live_call_is_heard_until_it_ends(waits: float, sandbox: Sandbox, traces: Traces) -> None:
    """By this process's clock: no microphone sends, and the answer of a second comes at once."""
    steps = [*got(0, "session.created", session=SESSION), *speaks(0, ANSWER)]
    began = time.monotonic()
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        for _, way, event in steps:
            getattr(call, way)(json.dumps(event))
        time.sleep(waits)
    lasted_s = time.monotonic() - began
    assert otel_realtime.flush(20)
    conversation = arrived(sandbox, traces.spans)
    _, agent = samples(sandbox.recording(conversation["id"]))
    assert len(agent) / PER_MS / 1_000 <= lasted_s
    (span,) = (s for s in traces.spans if facts(s).get("gen_ai.response.id") == "r")
    heard_ms = facts(span)["otel_realtime.heard_ms"]
    assert heard_ms == np.count_nonzero(agent) // PER_MS
    assert waits * 1_000 <= heard_ms + 50 <= min(lasted_s * 1_000, 1_000) + 50
    assert (waits < 1) == facts(span)["otel_realtime.interrupted"]
