"""The wrappers' arguments: what they become, what is said, and what hides content."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from langsmith import Client, tracing_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_realtime
from otel_realtime import Settings
from otel_realtime.langsmith_compat import wrap_realtime
from otel_realtime.langsmith_compat.arguments import Plan
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from otel_realtime.setup.fallback import fallback_provider
from tests.support.isolation import KEY

NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "thread_id",
        "project_name",
        "address",
        "tags",
        "metadata",
        "max_audio_seconds",
        "client",
        "replicas",
    )
)


def plan(**given: Any) -> Plan:
    """What these arguments become."""
    return Plan.of(**{**NOTHING, **given})


AGENT = {"kind": "AGENT", "id": "support", "environment": "PRODUCTION"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {},
            {"thread_id": None, "metadata": {}, "tags": (), "project": None, "join": False},
        ),
        ({"thread_id": "t", "tags": ["a", "b"]}, {"thread_id": "t", "tags": ("a", "b")}),
        ({"project_name": "voice"}, {"project": "voice"}),
        ({"address": AGENT}, {"project": "lrn:agents/support/environments/production"}),
        # LangSmith groups runs by what their metadata says, before it looks at the thread.
        (
            {"thread_id": "t", "metadata": {"session_id": "s", "thread_id": "s", "a": 1}},
            {"thread_id": "s", "metadata": {"a": 1}},
        ),
        ({"metadata": {"thread_id": "m"}}, {"thread_id": "m", "metadata": {}}),
        ({"metadata": {"thread_id": "m", "session_id": "m"}}, {"thread_id": "m", "metadata": {}}),
    ],
)
def test_arguments_become_options(
    given: dict[str, Any], expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Those of ``conversation(...)``, and the project."""
    options = plan(**given).options
    assert expected == {name: getattr(options, name) for name in expected}
    assert [] == caplog.messages


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replicas": [{"project_name": "b"}]}, "replicas= of wrap_realtime is not used"),
        ({"max_audio_seconds": 30.0}, "max_audio_seconds= of wrap_realtime is not used"),
        ({"address": AGENT, "project_name": "voice"}, "address= of wrap_realtime is not used"),
        ({"address": {"id": "Not One"}}, "address= of wrap_realtime is not used"),
        (
            {"metadata": {"session_id": "s", "conversation_id": "c"}},
            "metadata= of wrap_realtime is not used by otel-realtime: a run has one thread, 's'",
        ),
    ],
)
def test_what_is_not_taken_over_is_said_once(
    given: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many calls there are."""
    plan(**given)
    plan(**given)
    (message,) = caplog.messages
    assert message.startswith(said)


def test_an_agents_address_beside_a_project_is_left_out() -> None:
    """The project is where calls go."""
    assert "voice" == plan(address=AGENT, project_name="voice").options.project


@pytest.mark.parametrize(
    "given",
    [
        {"address": AGENT},
        {"address": AGENT, "project_name": "voice"},
        {"address": {"id": "Not One"}},
        {"tags": ("a", "b")},
    ],
)
def test_what_langsmiths_own_context_gets_it_takes(given: dict[str, Any]) -> None:
    """It refuses what is no address, and an address beside a project."""
    with tracing_context(**plan(**given).native):
        pass


@pytest.mark.parametrize(
    ("given", "hides"),
    [
        ({}, False),
        ({"hide_inputs": True}, True),
        ({"hide_outputs": lambda outputs: {}}, True),
        ({"anonymizer": lambda run: {}}, True),
    ],
)
def test_what_a_client_hides_is_hidden(
    process: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, Any],
    hides: bool,
) -> None:
    """All content is, because a client's functions are made for LangSmith's runs."""
    process.setenv("LANGSMITH_API_KEY", KEY)
    client = Client(api_key=KEY, auto_batch_tracing=False, **given)
    settings = plan(client=client).complete().settings
    assert settings is not None
    assert settings.capture_content is not hides
    assert hides == any("it hides content" in message for message in caplog.messages)


def test_a_client_of_another_address_is_named(
    process: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Conversations go where the environment says."""
    process.setenv("LANGSMITH_API_KEY", KEY)
    plan(client=Client(api_key="lsv2_pt_other", auto_batch_tracing=False))
    (message,) = caplog.messages
    assert "LANGSMITH_ENDPOINT and LANGSMITH_API_KEY say where runs go" in message


@pytest.mark.parametrize(
    ("variables", "leg"),
    [
        ({"LANGSMITH_API_KEY": KEY}, "direct"),
        ({"LANGSMITH_API_KEY": KEY, "LANGSMITH_TRACING": "true"}, "auto"),
        ({"LANGSMITH_API_KEY": KEY, "LANGSMITH_TRACING": "false"}, "auto"),
        ({"LANGSMITH_API_KEY": KEY, "OTEL_REALTIME_LANGSMITH": "off"}, "off"),
        ({}, "auto"),
    ],
)
def test_a_key_is_enough(process: pytest.MonkeyPatch, variables: dict[str, str], leg: str) -> None:
    """Unless the environment says otherwise."""
    for name, value in variables.items():
        process.setenv(name, value)
    settings = plan().complete().settings
    assert settings is not None
    assert (leg, "first_utterance") == (settings.langsmith, settings.title)


def test_what_the_app_set_stands(process: pytest.MonkeyPatch) -> None:
    """Its own title, in code or in the environment; its provider."""
    process.setenv("OTEL_REALTIME_TITLE", "fixed")
    assert "fixed" == getattr(plan().complete().settings, "title", None)
    provider = TracerProvider(shutdown_on_exit=False)
    otel_realtime.instrument(tracer_provider=provider, settings=Settings(title="fixed"))
    options = plan().complete()
    assert ("fixed", None) == (getattr(options.settings, "title", None), options.tracer_provider)


def test_no_audio_at_all_is_none() -> None:
    """``max_audio_seconds=0`` recorded nothing before."""
    settings = plan(max_audio_seconds=0).complete().settings
    assert settings is not None
    assert not settings.record_audio


def test_an_app_without_opentelemetry_gets_a_provider_that_is_set_nowhere() -> None:
    """Always the same; the app may still set its own."""
    found = fallback_provider(Settings())
    assert isinstance(found, TracerProvider)
    assert found is fallback_provider(Settings())
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    PROCESS.tracer_provider = TracerProvider(shutdown_on_exit=False)
    assert fallback_provider(Settings()) is None


def test_an_unknown_exporter_is_said_and_costs_nothing(
    process: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sandbox: Sandbox
) -> None:
    """The call goes to LangSmith all the same."""
    process.setenv("OTEL_TRACES_EXPORTER", "no-such-thing")
    process.setattr("otel_realtime.setup.fallback._provider", None)

    async def app() -> None:
        async with wrap_realtime(object()):
            pass

    with caplog.at_level(logging.WARNING):
        asyncio.run(app())
    assert any("no-such-thing" in message for message in caplog.messages)
    assert otel_realtime.flush(10)
    assert 1 == len(sandbox.conversations())
