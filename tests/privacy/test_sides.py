"""``LANGSMITH_HIDE_INPUTS`` and ``_OUTPUTS``: no run has that side, live and after a recovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import Status, StatusCode

import otel_realtime
from otel_realtime import cli
from otel_realtime.langsmith.hiding import INPUT, OUTPUT, sides_of
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.privacy.conftest import Rig
from tests.support.langsmith_server import attributes
from tests.support.planted import on_disk, on_the_wire
from tests.support.streams import CALL
from tests.support.traces import Traces, facts
from tests.support.victims import environment, victims

SIDES = {"INPUTS": INPUT, "OUTPUTS": OUTPUT}
#: Words of ``CALL``: what the user, the tool and the developer said; what the model said.
SAID = {INPUT: ("in Paris?", "Be brief", "How is the weather"), OUTPUT: ("It is sunny",)}
#: What another instrumentation writes of a model call of the app, by side.
FOREIGN = {
    INPUT: {"gen_ai.prompt": "planted-in", "input.value": "planted-in"},
    OUTPUT: {"gen_ai.completion": "planted-out", "output.value": "planted-out"},
}


def talk(rig: Rig) -> None:
    """A conversation, with a model call of another instrumentation inside a tool."""
    tracer = rig.provider.get_tracer("opentelemetry.instrumentation.openai_v2")
    with otel_realtime.conversation(tracer_provider=rig.provider) as call:
        for is_sent, event in CALL:
            (call.sent if is_sent else call.received)(event)
        with call.tool(name="look"), tracer.start_as_current_span("chat gpt") as span:
            for given in FOREIGN.values():
                span.set_attributes(given)
            span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": "planted-in"})
            span.add_event("gen_ai.choice", {"message": "planted-out"})
            span.set_attribute("gen_ai.usage.input_tokens", 5)
            span.set_status(Status(StatusCode.ERROR, "planted-in and planted-out"))


@pytest.mark.parametrize("namespace", ["LANGSMITH", "LANGCHAIN"])
@pytest.mark.parametrize("variable", SIDES)
def test_no_run_has_a_hidden_side(
    rig: Rig, process: pytest.MonkeyPatch, namespace: str, variable: str
) -> None:
    """At LangSmith, at the app's own backend, and on the disk; the app's own spans stay the app's."""
    hidden = SIDES[variable]
    process.setenv(f"{namespace}_HIDE_{variable}", "true")
    settings = Settings(title="first_utterance")
    otel_realtime.instrument(tracer_provider=rig.provider, settings=settings)
    told = rig.told(lambda: talk(rig))
    spans = [(span, attributes(span)) for span in rig.langsmith.spans()]
    for span, found in spans:
        left = {name: found[name] for name in found if hidden in sides_of(name)}
        texts = {value for value in left.values() if not isinstance(value, int)}
        assert texts <= {"{}"}, (span.name, left)
    (foreign,) = (found for span, found in spans if span.name == "chat gpt")
    assert 5 == foreign["gen_ai.usage.input_tokens"]
    ours = [span for span in rig.backend.spans() if span.name != "chat gpt"]
    assert not [word for word in SAID[hidden] if word in str(ours)]
    # The app's own span is the app's on its own exporter, and nowhere else.
    assert "planted-in" in str(rig.backend.spans())
    planted = "planted-in" if hidden == INPUT else "planted-out"
    assert planted not in str(rig.langsmith.spans())
    assert not [word for word in SAID[hidden] if word in str(runs_of(rig))]
    assert all(not run.get(variable.lower()) for run in runs_of(rig))
    assert not [word for word in SAID[hidden] if word.encode() in told.blob]


def runs_of(rig: Rig) -> list[dict[str, Any]]:
    """The runs of the runs API: their parts by field."""
    found = []
    for request in rig.langsmith.requests:
        if "multipart/form-data" in request.headers.get("content-type", ""):
            parts = [part for part in request.parts() if not part.name.startswith("attachment.")]
            found.append({part.name.split(".")[-1]: part.json for part in parts})
    return found


def test_with_content_off_neither_side_leaves_in_others_spans(rig: Rig) -> None:
    """On our leg, from the beginning or from when the app says so."""
    otel_realtime.instrument(tracer_provider=rig.provider, settings=Settings())
    tracer = rig.provider.get_tracer("opentelemetry.instrumentation.openai_v2")

    def call() -> None:
        with otel_realtime.conversation(tracer_provider=rig.provider) as it:
            it.received({"type": "session.created", "session": {"id": "s"}})
            it._engine.describe({}, (), Settings(capture_content=False))
            with it.tool(name="look"), tracer.start_as_current_span("chat gpt") as span:
                span.set_attributes({**FOREIGN[INPUT], **FOREIGN[OUTPUT]})
        with otel_realtime.using(capture_content=False):
            talk(rig)

    rig.told(call)
    names = [span.name for span in rig.langsmith.spans()]
    assert 2 == names.count("chat gpt")
    assert b"planted" not in on_the_wire(rig.langsmith)


@pytest.mark.parametrize("variable", SIDES)
@pytest.mark.parametrize("leg", ["off", "collector"])
def test_nor_has_one_without_our_own_leg(
    traces: Traces, process: pytest.MonkeyPatch, tmp_path: Path, variable: str, leg: Any
) -> None:
    """For every backend; and neither side's sound is kept anywhere."""
    hidden, kept = SIDES[variable], []
    process.setenv(f"LANGSMITH_HIDE_{variable}", "true")
    settings = Settings(
        langsmith=leg,
        recordings_dir=str(tmp_path / "kept"),
        on_recording=lambda path, info: kept.append(path),
    )
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        for is_sent, event in CALL:
            (call.sent if is_sent else call.received)(event)
        call.record_user_audio(b"\1\2" * 24_000, rate=24_000)
        call.record_agent_audio(b"\1\2" * 24_000, rate=24_000)
    assert otel_realtime.flush(10)
    for span in traces.spans:
        told = facts(span)
        texts = {told[name] for name in told if hidden in sides_of(name)}
        assert {text for text in texts if not isinstance(text, int)} <= {"{}"}, span.name
        shown = str([dict(told), [event.attributes for event in span.events]])
        assert not [word for word in SAID[hidden] if word in shown]
    assert [] == kept
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("variable", SIDES)
def test_nor_has_one_that_that_a_recovery_delivers(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    """Of a process that was killed: its journal has not a word of it, and no sound."""
    state, side = tmp_path / "state", variable.lower()
    hidden = {"LANGSMITH_HIDE_" + variable: "true", "VICTIM_SECRET": "xylophone"}
    with victims(1, "talk", environment(state, sandbox.url, **hidden)) as (victim,):
        victim.wait_for("step", name="answered")
        victim.kill()
    assert b"xylophone" not in on_disk(state)
    assert not list(state.rglob("*.raw"))
    assert 0 == cli.main(["recover", "--state-dir", str(state), "--json", "--timeout", "30"])
    assert 1 == json.loads(capsys.readouterr().out)["delivered"]
    found = sandbox.conversation(victim.run)
    assert found is not None
    assert [] == found["violations"]
    assert [] == [(run["name"], run[side]) for run in found["runs"] if run[side]]
    assert not found["root"][side]
    assert "xylophone" not in json.dumps(found)
    assert [run["usage"] for run in found["runs"] if run["name"].startswith("chat ")]
    assert sandbox.recording(victim.run) is None
