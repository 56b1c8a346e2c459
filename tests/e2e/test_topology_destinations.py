"""A real conversation through each way its spans can take: whole at every destination, each run once.

The app is a process of its own, set up by environment variables alone, with the real client on a
scripted Realtime server; Collector and Jaeger are the real ones, LangSmith is the sandbox.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime import attributes as names
from tests.e2e.conftest import Places, StartApp
from tests.support.processes import tags
from tests.support.voice_process import SERVICE, Traced, VoiceProcess, in_jaeger, in_sandbox

pytestmark = pytest.mark.collector

ROOT_BY_OTLP, ROOT_BY_RUNS_API = "otlp", "runs_api"


def one_call(app: VoiceProcess) -> tuple[Traced, dict[str, Any]]:
    """The only call of an app that delivered everything and had no fault."""
    (traced,) = app.talked()
    report = app.flushed()
    assert (True, True, {}) == (report["exported"], report["delivered"], report["faults"])
    assert 0 == app.ended()
    return traced, report


def attach_status(run: dict[str, Any]) -> object:
    """What the root run says of the recording."""
    return run["root"]["metadata"][names.Meta.ATTACH_STATUS]


def test_direct(places: Places, start_app: StartApp) -> None:
    """Two variables: everything in LangSmith with the recording, nothing anywhere else."""
    traced, report = one_call(start_app(LANGSMITH_TRACING="true", **places.key()))
    run = in_sandbox(places.sandbox, traced, root_by=ROOT_BY_RUNS_API)
    assert (True, "attached") == (run["has_recording"], attach_status(run))
    assert [] == report["said"]
    assert [] == places.jaeger.spans(traced.trace_id)
    assert 0 == places.collector.own_metric("otelcol_receiver_accepted_spans")


def test_direct_beside_the_collector_sends_nothing_twice(
    places: Places, start_app: StartApp
) -> None:
    """Key and Collector with no further setting: Jaeger has it all, LangSmith has it all once."""
    traced, report = one_call(start_app(LANGSMITH_TRACING="true", **places.key(), **places.otlp()))
    in_jaeger(places.jaeger, traced)
    run = in_sandbox(places.sandbox, traced, root_by=ROOT_BY_RUNS_API)
    assert (True, "attached") == (run["has_recording"], attach_status(run))
    assert [] == report["said"]
    assert len(traced.spans) == places.collector.own_metric("otelcol_receiver_accepted_spans")
    assert 0 == places.sent_to_langsmith()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_collector_with_a_key_in_the_process(
    places: Places, start_app: StartApp, protocol: str
) -> None:
    """The process delivers root and recording, the Collector all the rest; the marked root is left out."""
    traced, report = one_call(
        start_app(
            OTEL_REALTIME_LANGSMITH="collector",
            LANGSMITH_TRACING="true",
            **places.key(),
            **places.otlp(protocol),
        )
    )
    shown = in_jaeger(places.jaeger, traced)
    run = in_sandbox(places.sandbox, traced, root_by=ROOT_BY_RUNS_API)
    assert (True, "attached") == (run["has_recording"], attach_status(run))
    assert [] == report["said"]
    assert len(traced.spans) - 1 == places.sent_to_langsmith()
    (root,) = (span for span in shown if span["operationName"] == names.ROOT_NAME)
    assert names.ROOT_BY_RUNS_API == tags(root)[names.ROOT_MARKER]


@pytest.mark.parametrize("tracing", [None, "true"], ids=["no variables", "LANGSMITH_TRACING"])
def test_collector_without_a_key_in_the_process(
    places: Places, start_app: StartApp, tracing: str | None
) -> None:
    """The Collector delivers everything, the root too; the recording says why it is not there."""
    wish = {"LANGSMITH_TRACING": tracing} if tracing else {}
    app = start_app(**wish, **places.otlp())
    traced, report = one_call(app)
    in_jaeger(places.jaeger, traced)
    run = in_sandbox(places.sandbox, traced, root_by=ROOT_BY_OTLP)
    assert (False, "no_credentials") == (run["has_recording"], attach_status(run))
    assert (("calls", "caller-0")) == (run["project"], run["thread_id"])
    assert len(traced.spans) == places.sent_to_langsmith()
    assert not list(app.state.glob("conversations/*"))
    warned = [line for line in report["said"] if "LANGSMITH_API_KEY" in line]
    assert (bool(tracing), report["said"]) == (len(warned) == 1, warned)


@pytest.mark.parametrize(
    "off",
    [{"OTEL_REALTIME_LANGSMITH": "off"}, {"LANGSMITH_TRACING": "false"}],
    ids=lambda given: next(iter(given)),
)
def test_no_langsmith(places: Places, start_app: StartApp, off: dict[str, str]) -> None:
    """Jaeger has it all; LangSmith hears of nothing, though key and Collector are there."""
    traced, report = one_call(start_app(**off, **places.key(), **places.otlp()))
    in_jaeger(places.jaeger, traced)
    assert (0, [], []) == (
        places.sent_to_langsmith(),
        places.sandbox.conversations(),
        report["said"],
    )


def test_no_langsmith_with_a_recording_of_ones_own(
    places: Places, start_app: StartApp, tmp_path: Any
) -> None:
    """Without LangSmith the recording goes where the app wants it, and the spans to Jaeger."""
    kept = tmp_path / "recordings"
    app = start_app(
        OTEL_REALTIME_LANGSMITH="off", OTEL_REALTIME_RECORDINGS_DIR=str(kept), **places.otlp()
    )
    traced, _ = one_call(app)
    in_jaeger(places.jaeger, traced)
    (name,) = [path.name for path in kept.glob("*.wav")]
    assert name.endswith(f"Z-caller-0-{traced.root['id']}.wav")
    assert not list(app.state.glob("conversations/*"))


@pytest.mark.parametrize("setup", ["processor", "exporter"])
@pytest.mark.parametrize("tracing", ["true", None], ids=["LANGSMITH_TRACING", "key only"])
def test_an_app_that_exports_to_langsmith_itself(
    places: Places, start_app: StartApp, setup: str, tracing: str | None
) -> None:
    """Its own exporter delivers everything, the root once, and one warning says what to change.

    Nobody stands between it and LangSmith, so the messages stay there in both spellings.
    """
    wish = {"LANGSMITH_TRACING": tracing} if tracing else {}
    traced, report = one_call(start_app("--setup", setup, **wish, **places.key()))
    run = in_sandbox(places.sandbox, traced, root_by=ROOT_BY_OTLP, known={"duplicate_messages"})
    assert 1 == len(places.sandbox.conversations())
    assert not run["has_recording"]
    (warning,) = report["said"]
    assert "by the app's own TracerProvider" in warning
    assert "LANGSMITH_TRACING=true and LANGSMITH_API_KEY" in warning


def test_what_jaeger_shows(places: Places, start_app: StartApp) -> None:
    """Jaeger's view: searchable by thread, the GenAI attributes, nothing that only LangSmith reads."""
    traced, _ = one_call(start_app(**places.otlp()))
    shown = in_jaeger(places.jaeger, traced)
    by_name = {span["operationName"]: tags(span) for span in shown}
    every = [tags(span) for span in shown]
    assert {"caller-0"} == {tag.get("otel_realtime.thread_id") for tag in every}
    assert [] == [key for tag in every for key in tag if key.startswith("langsmith.")]
    assert traced.trace_id in places.jaeger.find(SERVICE, {"otel_realtime.thread_id": "caller-0"})
    chat = by_name["chat gpt-realtime"]
    assert ("chat", "openai", "gpt-realtime", "client") == tuple(
        chat[key] for key in (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, "span.kind")
    )
    assert {names.PROMPT, names.COMPLETION}.isdisjoint(chat)
    assert {"user", "assistant", "tool"} >= {
        message["role"] for message in json.loads(chat[names.INPUT_MESSAGES])
    }
    tool = by_name["execute_tool lookup_weather"]
    assert ("execute_tool", "lookup_weather") == (tool[names.OPERATION], tool[names.TOOL_NAME])
    root = by_name[names.ROOT_NAME]
    assert "gold" == root["otel_realtime.metadata.tier"]
    messages = json.loads(root[names.COMPLETION])["messages"]
    assert ["user", "assistant", "user", "assistant"] == [turn["role"] for turn in messages]
    assert [True] == [tag["error"] for tag in every if tag.get("error")]
