"""What LangSmith's own views read of a conversation: names, places, failures, and whose run it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import Status, StatusCode

import otel_realtime
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.support.cases import START_NS
from tests.support.langsmith_server import LangSmithServer
from tests.support.streams import CALL, Row, created, done, received, said
from tests.support.traces import Traces, arrived, facts

HIDE_INPUTS, HIDE_OUTPUTS = "LANGSMITH_HIDE_INPUTS", "LANGSMITH_HIDE_OUTPUTS"


def talk(traces: Traces, rows: Sequence[Row] = CALL, **given: Any) -> None:
    """A conversation of these rows, all at the same time, with a failing request of the app."""
    with otel_realtime.conversation(tracer_provider=traces.provider, **given) as call:
        for is_sent, event in rows:
            (call.sent if is_sent else call.received)(event, at_ns=START_NS)


def runs(sandbox: Sandbox, traces: Traces) -> list[dict[str, Any]]:
    """The runs of the only conversation, as LangSmith sorts them."""
    assert otel_realtime.flush(5) is True
    found: list[dict[str, Any]] = arrived(sandbox, traces.spans)["runs"]
    return sorted(found, key=lambda run: run["dotted_order"])


def test_runs_of_the_same_microsecond_keep_the_order_of_the_wire(
    sandbox: Sandbox, traces: Traces
) -> None:
    """However many there are; a model call comes behind the event that began it."""
    talk(traces)
    found = runs(sandbox, traces)
    names = [run["name"] for run in found]
    wire = [event["type"] for is_sent, event in CALL if not is_sent]
    assert wire == [name for name in names if name in wire]
    for model_call in (run for run in found if run["name"].startswith("chat ")):
        before = names[: found.index(model_call)]
        assert "response.created" in before
    assert [run["id"] for run in found] == [run["id"] for run in page_order(sandbox, traces)]


def page_order(sandbox: Sandbox, traces: Traces) -> list[dict[str, Any]]:
    """The runs as the sandbox lists them; all start at the same time here."""
    found: list[dict[str, Any]] = arrived(sandbox, traces.spans)["runs"]
    return found


def test_every_run_of_ours_says_whose_it_is(sandbox: Sandbox, traces: Traces) -> None:
    """Modality, integration and the app's metadata; the root is the trajectory's first run."""
    talk(traces, metadata={"plan": "gold"})
    found = runs(sandbox, traces)
    for run in found:
        told = [run["metadata"].get(key) for key in ("plan", "ls_integration", "ls_modality")]
        assert ["gold", "otel-realtime", "audio"] == told, run["name"]
    assert ["realtime_session"] == [
        run["name"] for run in found if run["metadata"].get("ls_agent_type") == "root"
    ]


def test_a_conversation_in_writing_is_none_of_voices(sandbox: Sandbox, traces: Traces) -> None:
    """On no run, although the post could not know it."""
    rows = (
        received("session.created", session={"id": "s", "output_modalities": ["text"]}),
        received("conversation.item.added", item=said("Hi", id="u")),
        created("r"),
        done("r", said("Hello", id="a", role="assistant")),
    )
    talk(traces, rows)
    assert not [run for run in runs(sandbox, traces) if "ls_modality" in run["metadata"]]


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        (Settings(), {}, "realtime_session"),
        (Settings(title="first_utterance"), {}, "How is the weather in Paris?"),
        (None, {"OTEL_REALTIME_TITLE": "first_utterance"}, "How is the weather in Paris?"),
        (Settings(title="first_utterance"), {HIDE_INPUTS: "true"}, "realtime_session"),
    ],
)
def test_a_run_can_be_named_after_what_was_said_first(
    sandbox: Sandbox,
    traces: Traces,
    process: pytest.MonkeyPatch,
    settings: Settings | None,
    variables: dict[str, str],
    expected: str,
) -> None:
    """Content permitting; the span keeps its name."""
    for name, value in variables.items():
        process.setenv(name, value)
    talk(traces, settings=settings)
    assert otel_realtime.flush(5) is True
    (found,) = sandbox.conversations()
    assert expected == found["name"]
    assert "realtime_session" == traces.root.name


def test_the_root_says_where_it_is_shown(sandbox: Sandbox, traces: Traces) -> None:
    """The template's address with the conversation's ids in it, for every backend and in LangSmith."""
    template = "https://calls.example/{run_id}?trace={trace_id}&span={span_id}&x={other}"
    talk(traces, settings=Settings(view_url=template))
    assert otel_realtime.flush(5) is True
    (found,) = sandbox.conversations()
    context = traces.root.get_span_context()
    assert context is not None
    expected = (
        f"https://calls.example/{found['id']}?trace={context.trace_id:032x}"
        f"&span={context.span_id:016x}&x={{other}}"
    )
    assert expected == (traces.root.attributes or {})["otel_realtime.view_url"]
    conversation = sandbox.conversation(found["id"])
    assert conversation is not None
    assert expected == conversation["root"]["metadata"]["view_url"]


@pytest.mark.parametrize("failing", [True, False])
def test_a_failed_request_of_the_app_is_a_failed_run(
    sandbox: Sandbox, traces: Traces, failing: bool
) -> None:
    """An HTTP client's instrumentation sets the status alone."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received({"type": "session.created", "session": {}})
        with call.tool(name="lookup"):
            with traces.tracer.start_as_current_span("GET") as request:
                if failing:
                    request.set_attribute("error.type", "503")
                    request.set_status(Status(StatusCode.ERROR))
    (run,) = (run for run in runs(sandbox, traces) if run["name"] == "GET")
    assert (("error", True) if failing else ("success", False)) == (
        run["status"],
        bool(run["error"]),
    )
    assert () == traces.one("GET").events


@pytest.mark.parametrize(
    ("variable", "side", "words"),
    [
        (HIDE_INPUTS, "inputs", ["in Paris?", "Be brief"]),
        (HIDE_OUTPUTS, "outputs", ["It is sunny"]),
    ],
)
def test_hidden_inputs_and_outputs_are_nowhere(
    sandbox: Sandbox,
    traces: Traces,
    process: pytest.MonkeyPatch,
    variable: str,
    side: str,
    words: list[str],
) -> None:
    """As LangSmith's client understands it: no run has any, whoever spoke; usage stays."""
    process.setenv(variable, "true")
    talk(traces)
    found = runs(sandbox, traces)
    assert [] == [(run["name"], run[side]) for run in found if run[side]]
    assert 3 == len([run for run in found if run["usage"]])
    assert [] == [word for word in words if word in str(found)]


def test_an_agent_can_be_addressed(process: pytest.MonkeyPatch, traces: Traces) -> None:
    """By headers and by the run's address; nothing names a project."""
    with LangSmithServer() as server:
        for name, value in {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_API_KEY": "k",
            "LANGSMITH_ENDPOINT": server.url,
            "LANGSMITH_AGENT_ID": "support",
            "LANGSMITH_AGENT_ENVIRONMENT": "STAGING",
        }.items():
            process.setenv(name, value)
        talk(traces)
        assert otel_realtime.flush(5) is True
        post = server.posts()[0].parts()[0].json
        assert "lrn:agents/support/environments/staging" == post["address"]
        (request, *_) = server.traces()
        assert ("support", "staging", None) == tuple(
            request.headers.get(name)
            for name in (
                "langsmith-agent-id",
                "langsmith-agent-environment",
                "langsmith-project",
            )
        )
        assert not [span for span in server.spans() if "session_name" in str(span)]


def test_a_thread_with_a_slash_is_said_once(
    sandbox: Sandbox, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """LangSmith's page of it may not open; the conversation is whole."""
    for _ in range(2):
        talk(traces, thread_id="team/7")
    assert 1 == len([record for record in caplog.records if "slash" in record.getMessage()])


@pytest.mark.parametrize("recorded", [True, False])
def test_a_kept_recording_is_referred_to(
    sandbox: Sandbox, traces: Traces, tmp_path: Path, recorded: bool
) -> None:
    """By a part with its address, on the span and on the run; the file is there."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"), record_audio=recorded)
    with otel_realtime.conversation(tracer_provider=traces.provider, settings=settings) as call:
        call.received({"type": "session.created", "session": {}})
        call.record_user_audio(b"\1\2" * 2400, rate=24_000)
    assert otel_realtime.flush(5) is True
    root = arrived(sandbox, traces.spans)["root"]
    outputs = json.loads(facts(traces.root)["gen_ai.completion"])
    assert outputs == root["outputs"]
    if not recorded:
        assert "recording" not in outputs
        return
    part = outputs["recording"]
    assert ("uri", "audio", "audio/wav") == tuple(
        part[key] for key in ("type", "modality", "mime_type")
    )
    (kept,) = (tmp_path / "kept").glob("*.wav")
    assert kept.as_uri() == part["uri"]
