"""Hidden means hidden: every byte on disk, on the wire and in the log is searched for what was planted."""

from __future__ import annotations

import json
from typing import Any

import pytest

import otel_realtime
from otel_realtime.settings import Settings
from tests.privacy.conftest import Rig
from tests.support.planted import BOTH, INPUTS, OUTPUTS, SECRETS, Script, Told, hold

ALL = {*INPUTS, *OUTPUTS, *BOTH}


def call_with(rig: Rig, settings: Settings | None = None, **using: Any) -> Told:
    """What is told of the planted call with these settings."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=settings or Settings())
    return rig.told(lambda: hold(Script("one"), **using))


def check(told: Told, *, words: set[str], sound: set[str]) -> None:
    """Exactly these planted things are told, and never a secret."""
    assert set() == told.words(SECRETS)
    assert words == told.words((*INPUTS, *OUTPUTS, *BOTH))
    assert sound == told.sound()


def test_open(rig: Rig) -> None:
    """With nothing hidden all of it is told but the secrets: the search does find things."""
    check(call_with(rig), words=ALL, sound={"user", "agent"})


def test_same_shape_when_hidden(rig: Rig) -> None:
    """Names, order, statuses, usage and counts are the same with content and without."""
    call_with(rig)
    expected = rig.shape()
    rig.backend.requests.clear()
    call_with(rig, Settings(capture_content=False))
    assert expected == rig.shape()


def test_content_off(rig: Rig) -> None:
    """``capture_content=False``: not one planted word, not one sample."""
    check(call_with(rig, Settings(capture_content=False)), words=set(), sound=set())


def test_content_off_by_the_conventions_variable(rig: Rig, process: pytest.MonkeyPatch) -> None:
    """The GenAI convention's own switch does the same."""
    process.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    check(call_with(rig), words=set(), sound=set())


def test_hide_inputs(rig: Rig, process: pytest.MonkeyPatch) -> None:
    """``LANGSMITH_HIDE_INPUTS`` hides one side everywhere, and all sound."""
    process.setenv("LANGSMITH_HIDE_INPUTS", "true")
    check(call_with(rig), words=set(OUTPUTS), sound=set())


def test_hide_outputs(rig: Rig, process: pytest.MonkeyPatch) -> None:
    """``LANGSMITH_HIDE_OUTPUTS`` hides the other side everywhere, and all sound."""
    process.setenv("LANGSMITH_HIDE_OUTPUTS", "true")
    told = call_with(rig)
    assert set() == told.words(SECRETS) | told.words((*OUTPUTS, *BOTH)) | told.sound()
    shown = {"instructions", "tool_description", "user_text", "user_transcript"}
    assert shown <= told.words(INPUTS)


def test_no_sound(rig: Rig) -> None:
    """``record_audio=False`` keeps the words and drops the sound."""
    check(call_with(rig, Settings(record_audio=False)), words=ALL, sound=set())


def test_redact(rig: Rig) -> None:
    """What the hook takes out is nowhere; what it leaves is."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(payload)
        for name in ALL - {"agent_text"}:
            text = text.replace(f"planted-{name}-one", "[gone]")
        found: dict[str, Any] = json.loads(text)
        return found

    told = call_with(rig, Settings(redact=redact))
    check(told, words={"agent_text"}, sound={"user", "agent"})


def test_failing_redact(rig: Rig) -> None:
    """A hook that fails hides what it was given, in the log as well."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"cannot read {payload}")

    told = call_with(rig, Settings(redact=redact, record_audio=False))
    check(told, words=set(), sound=set())


def test_one_hidden_call_next_to_an_open_one(rig: Rig) -> None:
    """``using(capture_content=False)`` hides its own calls, whatever goes on beside them."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=Settings())

    def calls() -> None:
        hold(Script("open"), record_audio=False)
        hold(Script("hidden"), capture_content=False)

    told = rig.told(calls)
    names = (*INPUTS, *OUTPUTS, *BOTH)
    assert set() == told.words(SECRETS) | told.sound() | told.words(names, "hidden")
    assert set(names) == told.words(names, "open")


class Refused(Exception):
    """An app's own error."""


@pytest.mark.parametrize("capture", [True, False])
def test_what_the_app_gives(rig: Rig, capture: bool) -> None:
    """Arguments, results and errors of the app's own tools go through the same gates."""
    words = {
        name: f"planted-{name}" for name in ("argument", "tool_error", "call_error", "metadata")
    }
    key = SECRETS["said_key"]

    def talk() -> None:
        with otel_realtime.conversation(thread_id="t", metadata={"m": words["metadata"]}) as it:
            it.received({"type": "session.created", "session": {"id": "sess_1"}})
            arguments = json.dumps([words["argument"], key])
            with pytest.raises(Refused), it.tool(name="own", arguments=arguments):
                raise Refused(f"{words['tool_error']} {key}")
            raise Refused(f"{words['call_error']} {key}")

    def call() -> None:
        with pytest.raises(Refused):
            talk()

    settings = Settings(capture_content=capture)
    otel_realtime.instrument(tracer_provider=rig.provider, settings=settings)
    told = rig.told(call)
    assert set() == told.words(SECRETS)
    assert (set(words) if capture else {"metadata"}) == told.words(words)
