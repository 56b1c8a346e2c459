"""Hidden means hidden in a Live session, too: what is delegated, transcribed in fragments, or pressed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import otel_realtime
from otel_realtime.settings import Settings
from tests.privacy.conftest import Rig
from tests.support.planted import AGENT_SOUND, SECRETS, USER_SOUND, Told, word

#: What the caller, the developer and the tools said; what the models said; what may quote either.
INPUTS = ("instructions", "prompt_variable", "tool_description", "user_transcript", "tool_result")
OUTPUTS = ("agent_transcript", "agent_text", "tool_arguments")
BOTH = ("dtmf", "error_message", "response_error")
ALL = (*INPUTS, *OUTPUTS, *BOTH)


def w(name: str) -> str:
    """What is planted for a name."""
    return word(name, "one")


def of_backend(kind: str, **keys: Any) -> dict[str, Any]:
    """An event of the model that does the work."""
    return {"type": "response.event", "delegation_id": "d1", "event": {"type": kind, **keys}}


def rows() -> list[tuple[bool, dict[str, Any]]]:
    """The whole call: whether the client sent it, and the event."""
    mcp = {"type": "mcp", "server_label": "mail", "authorization": SECRETS["bearer"]}
    tool = {"type": "function", "name": "look", "description": w("tool_description")}
    backend = {"model": "gpt-5.1", "instructions": w("prompt_variable"), "tools": [tool, mcp]}
    session = {
        "model": "gpt-live-1",
        "instructions": f"{w('instructions')} {SECRETS['said_key']}",
        "delegation": {"type": "responses", "responses": backend},
    }
    call = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "look"}
    arguments = json.dumps({"q": w("tool_arguments")})
    message = {"type": "message", "id": "m1", "role": "assistant"}
    part = {"type": "output_text", "text": w("agent_text")}
    output = {"type": "function_call_output", "call_id": "c1", "output": w("tool_result")}
    half = len(w("user_transcript")) // 2
    said = w("user_transcript")[:half], w("user_transcript")[half:]
    return [
        (True, {"type": "session.start", "session": session}),
        (False, {"type": "session.started", "session": {"id": "l1", **session}}),
        *(
            (True, {"type": "session.input_audio.append", "audio": base64.b64encode(piece).decode()})
            for piece in (USER_SOUND[:24_000], USER_SOUND[24_000:])
        ),
        (False, {"type": "session.input_transcript.delta", "delta": said[0], "start_ms": 0, "end_ms": 100}),
        (False, {"type": "session.input_transcript.delta", "delta": said[1], "start_ms": 100, "end_ms": 200}),
        (False, of_backend("response.created", response={"id": "r1", "model": "gpt-5.1"})),
        (False, of_backend("response.output_item.added", item=call)),
        (False, of_backend("response.function_call_arguments.delta", item_id="f1", delta=arguments)),
        (False, of_backend("response.function_call_arguments.done", item_id="f1", arguments=arguments)),
        (False, of_backend("response.output_text.delta", item_id="m1", delta=w("agent_text"))),
        (False, of_backend("response.output_item.done", item={**message, "content": [part]})),
        (False, of_backend("response.failed", response={"id": "r1", "error": {"code": "e", "message": w("response_error")}})),
        (True, {"type": "response.item.create", "item": output}),
        (False, {"type": "session.output_audio.delta", "delta": base64.b64encode(AGENT_SOUND).decode()}),
        (False, {"type": "session.output_transcript.delta", "delta": w("agent_transcript"), "start_ms": 300, "end_ms": 400}),
        (False, {"type": "transport.dtmf.received", "event": w("dtmf")}),
        (False, {"type": "error", "error": {"code": "e", "message": w("error_message")}}),
    ]  # fmt: skip


def held(rig: Rig, settings: Settings) -> Told:
    """What is told of the planted session with these settings."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=settings)

    def talk() -> None:
        with otel_realtime.conversation() as call:
            for at, (is_sent, event) in enumerate(rows()):
                report = call.sent if is_sent else call.received
                report(json.dumps(event), at_ns=1_780_000_000_000_000_000 + at * 1_000_000_000)

    return rig.told(talk)


def check(told: Told, *, words: set[str], sound: set[str]) -> None:
    """Exactly these planted things are told, and never a secret."""
    assert set() == told.words(SECRETS)
    assert (words, sound) == (told.words(ALL), told.sound())


def test_open(rig: Rig) -> None:
    """With nothing hidden all of it is told but the secrets: the search does find things."""
    check(held(rig, Settings()), words=set(ALL), sound={"user", "agent"})


def test_content_off(rig: Rig) -> None:
    """Not one planted word, not one sample."""
    check(held(rig, Settings(capture_content=False)), words=set(), sound=set())


def test_no_sound(rig: Rig) -> None:
    """The words stay."""
    check(held(rig, Settings(record_audio=False)), words=set(ALL), sound=set())


def test_hide_inputs(rig: Rig, process: pytest.MonkeyPatch) -> None:
    """One side everywhere, and all sound."""
    process.setenv("LANGSMITH_HIDE_INPUTS", "true")
    told = held(rig, Settings())
    assert set() == told.words(SECRETS) | told.words((*INPUTS, *BOTH)) | told.sound()
    assert set(OUTPUTS) == told.words(OUTPUTS)


def test_hide_outputs(rig: Rig, process: pytest.MonkeyPatch) -> None:
    """The other side everywhere, and all sound."""
    process.setenv("LANGSMITH_HIDE_OUTPUTS", "true")
    told = held(rig, Settings())
    assert set() == told.words(SECRETS) | told.words((*OUTPUTS, *BOTH)) | told.sound()
    assert {"instructions", "user_transcript"} <= told.words(INPUTS)


def test_redact(rig: Rig) -> None:
    """What the hook takes out is nowhere, though the user's word came in two pieces."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(payload)
        for name in set(ALL) - {"agent_text"}:
            text = text.replace(w(name), "[gone]")
        found: dict[str, Any] = json.loads(text)
        return found

    check(held(rig, Settings(redact=redact)), words={"agent_text"}, sound={"user", "agent"})


def test_failing_redact(rig: Rig) -> None:
    """A hook that fails hides what it was given."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"cannot read {payload}")

    check(held(rig, Settings(redact=redact, record_audio=False)), words=set(), sound=set())
