"""Where a conversation goes: by the settings, LangSmith's variables, and what the app exports already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.langsmith.backend import LangSmith
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.langsmith.route import (
    api_url_of,
    choose_route,
    content_policy,
    delivers_directly,
    journal_note,
    other_exporter,
    project_of,
)
from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.process.process import Process
from otel_realtime.settings import Settings
from otel_realtime.tracing.members import Membership
from otel_realtime.tracing.route import Route
from tests.support.own_process import own_process

ROOT = {"root_span_id": 7, "trace_id": 8, "start_ns": 10**18, "thread_id": "t", "leg": "x"}
ON = {"LANGSMITH_TRACING": "true", "LANGSMITH_PROJECT": "voice"}
KEY = {"LANGSMITH_API_KEY": "key"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def own() -> Iterator[Process]:
    """The services of a process."""
    with own_process() as process:
        yield process


def route(
    own: Process,
    process: pytest.MonkeyPatch,
    variables: dict[str, str],
    provider: object = None,
    **settings: Any,
) -> Route:
    """The route of a conversation that opens with these variables."""
    for name, value in {"LANGSMITH_ENDPOINT": NOWHERE, **variables}.items():
        process.setenv(name, value)
    return choose_route(Settings(**settings), provider, own)


@pytest.mark.parametrize(
    ("variables", "mode", "leg", "delivers_root"),
    [
        ({}, "auto", "collector", False),
        (ON, "auto", "collector", False),
        (KEY, "auto", "collector", False),
        (ON | KEY, "auto", "direct", True),
        (ON | KEY, "collector", "collector", True),
        (ON, "collector", "collector", False),
        (KEY, "direct", "direct", True),
        ({}, "direct", "none", False),
        (ON | KEY, "off", "none", False),
        (KEY | {"LANGSMITH_TRACING": "false"}, "auto", "none", False),
        (ON | KEY | {"LANGSMITH_TRACING_SAMPLING_RATE": "0"}, "auto", "none", False),
    ],
)
def test_who_delivers(
    own: Process,
    process: pytest.MonkeyPatch,
    variables: dict[str, str],
    mode: str,
    leg: str,
    delivers_root: bool,
) -> None:
    """Spans carry LangSmith's ids exactly where this process posts the root run."""
    found = route(own, process, variables, langsmith=mode)
    assert (leg, delivers_root) == (found.leg, found.delivers_root)
    assert (TraceStamp if delivers_root else Membership) is type(found.join(**ROOT))


def test_a_conversation_may_have_a_project_of_its_own(
    own: Process, process: pytest.MonkeyPatch
) -> None:
    """On every span, at its backend, and for a recovery."""
    route(own, process, ON | KEY | {"LANGSMITH_PROJECT": "calls"})
    found = choose_route(Settings(), None, own, "voice")
    stamp = found.join(**ROOT)
    assert isinstance(stamp, TraceStamp)
    assert ("voice", "voice") == (stamp.project, project_of(found.note(stamp)))
    assert found.connect is not None
    backend = found.connect()
    assert isinstance(backend, LangSmith)
    assert "voice" == backend.roots.config.project


def test_a_key_that_is_missing_is_said_once(
    own: Process, process: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to set."""
    for _ in range(2):
        route(own, process, ON)
    (message,) = caplog.messages
    assert "set LANGSMITH_API_KEY" in message


def test_one_backend_per_langsmith_and_state_directory(
    own: Process, process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Conversations that go to the same place share its threads; nothing is made before."""
    assert not own._backends
    made = []
    for project, folder in (("a", "s"), ("a", "s"), ("b", "s"), ("a", "t")):
        variables = ON | KEY | {"LANGSMITH_PROJECT": project}
        found = route(own, process, variables, state_dir=tmp_path / folder)
        assert found.connect is not None
        made.append(found.connect())
    assert {LangSmith} == {type(one) for one in made}
    assert [True, False, False] == [made[0] is one for one in made[1:]]
    assert 3 == len(own._backends)


def test_spans_go_to_the_backend_on_the_direct_leg_only(
    own: Process, process: pytest.MonkeyPatch
) -> None:
    """On the collector's they go by the app's exporters."""
    for mode, direct in (("direct", True), ("collector", False)):
        found = route(own, process, ON | KEY, langsmith=mode)
        assert found.connect is not None
        backend = found.connect()
        assert (backend if direct else None) is found.outlet(backend)


@pytest.mark.parametrize("mode", ["direct", "collector"])
@pytest.mark.parametrize("others", [True, False])
def test_spans_carry_their_links_where_another_exporter_sees_them(
    own: Process, process: pytest.MonkeyPatch, mode: str, others: bool
) -> None:
    """Else only our exporter needs them, which adds them itself."""
    provider = TracerProvider(shutdown_on_exit=False)
    own.attach_processor(provider)
    if others:
        provider.add_span_processor(SpanProcessor())
    found = route(own, process, ON | KEY, provider, langsmith=mode)
    shared = {"root_span_id": 1, "trace_id": 2, "start_ns": 3, "thread_id": "t", "leg": found.leg}
    assert (others or mode == "collector") == found.join(**shared).linked


@pytest.mark.parametrize("mode", ["auto", "direct", "collector"])
def test_an_app_that_exports_to_langsmith_delivers_all(
    own: Process, process: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """There is no second root then, and one warning says what is missed."""
    exporter = OTLPSpanExporter(endpoint=f"{NOWHERE}/otel/v1/traces")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(2):
        found = route(own, process, ON | KEY, provider, langsmith=mode)
        assert ("collector", False) == (found.leg, found.delivers_root)
    (message,) = caplog.messages
    assert "without their recording" in message
    assert "none" == route(own, process, ON | KEY, provider, langsmith="off").leg


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("hide_inputs", [True, False])
@pytest.mark.parametrize("hide_outputs", [True, False])
def test_what_may_be_stored(capture: bool, hide_inputs: bool, hide_outputs: bool) -> None:
    """LangSmith's variables hide on top of our switch; sound has both sides in it."""

    def redact(event: dict[str, Any]) -> dict[str, Any]:
        return event

    config = LangSmithConfig(hide_inputs=hide_inputs, hide_outputs=hide_outputs)
    assert ContentPolicy(
        inputs=capture and not hide_inputs,
        outputs=capture and not hide_outputs,
        audio=capture and not hide_inputs and not hide_outputs,
        run_inputs=not hide_inputs,
        run_outputs=not hide_outputs,
        redact=redact,
    ) == content_policy(Settings(capture_content=capture, redact=redact), config)


def test_a_journal_knows_its_langsmith() -> None:
    """What is noted reads back; a project that is missing is LangSmith's own default."""
    config = LangSmithConfig(api_url="https://ls.example/api", project="voice", api_key="secret")
    note = journal_note(config, Membership(**ROOT))  # type: ignore[arg-type]
    own = run_id(7)
    assert {
        "api_url": "https://ls.example/api",
        "project": "voice",
        "root_run_id": own,
        "dotted_order": dotted_order(10**18, own),
    } == note
    assert ("https://ls.example/api", "voice") == (api_url_of(note), project_of(note))
    for odd in ({}, {"api_url": 5, "project": None}, {"project": ""}):
        assert (None, "default") == (api_url_of(odd), project_of(odd))


def test_sampling_does_not_hide_where_conversations_go() -> None:
    """A set-up is described for all of them."""
    config = LangSmithConfig(tracing=True, api_key="key", sampling_rate=0.5)
    assert delivers_directly(Settings(), config)
    assert not delivers_directly(Settings(langsmith="off"), config)


@pytest.mark.parametrize(
    ("endpoint", "variables", "wanted"),
    [
        (None, ON | KEY, False),
        ("http://127.0.0.1:9", ON | KEY, True),
        ("https://api.smith.langchain.com/otel/v1/traces", ON | KEY, False),
        ("https://api.smith.langchain.com/otel/v1/traces", {}, True),
    ],
)
def test_langsmith_is_served_once(
    process: pytest.MonkeyPatch, endpoint: str | None, variables: dict[str, str], wanted: bool
) -> None:
    """An OTLP endpoint that is LangSmith itself is no other destination."""
    for name, value in variables.items():
        process.setenv(name, value)
    if endpoint is not None:
        process.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
    exporter = other_exporter(Settings())
    assert wanted == (exporter is not None)
    if exporter is not None:
        exporter.shutdown()
