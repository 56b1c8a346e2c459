"""LangSmith's own wrappers on connections that are tapped: said once, and tokens counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langsmith.integrations import openai_realtime as theirs
from langsmith.run_trees import get_cached_client

import otel_realtime
from otel_realtime import Settings, conversation
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support.realtime_server import ReplayServer
from tests.support.talking import SPEED, client_of
from tests.support.traces import Traces, arrived, facts
from tests.support.wrapped import CALL, NoClient, voice_app


def wrapped_calls(count: int = 1, **given: Any) -> None:
    """Calls of an app that uses LangSmith's own wrapper."""
    with ScriptedServer(CALL, speed=SPEED) as server:
        for _ in range(count):
            asyncio.run(voice_app(theirs.wrap_realtime, server.url, **given))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What our log says."""
    return [one.message for one in caplog.records if one.name.startswith("otel_realtime")]


def usages(sandbox: Sandbox) -> Iterator[dict[str, int]]:
    """What each model run of each call in LangSmith says of its tokens."""
    for listed in sandbox.conversations():
        call = sandbox.conversation(listed["id"])
        assert call is not None
        for run in call["runs"]:
            if run["run_type"] == "llm" and run.get("usage"):
                yield run["usage"]


def test_it_is_said_once(traces: Traces, caplog: pytest.LogCaptureFixture) -> None:
    """Which import to change, however many calls there are."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    wrapped_calls(2, client=NoClient())
    (message,) = [text for text in warnings(caplog) if "langsmith_compat" in text]
    assert "from langsmith.integrations.openai_realtime import wrap_realtime" in message
    assert 2 == len(traces.roots)


def test_tokens_are_counted_once(sandbox: Sandbox, traces: Traces) -> None:
    """In our trace, with all their details; LangSmith's own tree has none."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    wrapped_calls()
    assert otel_realtime.flush(10)
    get_cached_client().flush()
    arrived(sandbox, traces.spans)
    spent = [facts(span).get("gen_ai.usage.input_tokens", 0) for span in traces.spans]
    assert 2 == len(sandbox.conversations())
    assert sum(spent) == sum(one["input_tokens"] for one in usages(sandbox))


def test_a_session_of_the_agents_sdk_counts_once_too(
    sandbox: Sandbox, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """Its wrapper is another one, and is named."""
    pytest.importorskip("agents.realtime")
    from tests.support.wrapped_session import agent_app

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(CALL, speed=SPEED) as server:
        asyncio.run(agent_app(theirs.wrap_realtime_session, server.url))
    (message,) = [text for text in warnings(caplog) if "langsmith_compat" in text]
    assert "import wrap_realtime_session" in message
    assert otel_realtime.flush(10)
    get_cached_client().flush()
    arrived(sandbox, traces.spans)
    spent = [facts(span).get("gen_ai.usage.input_tokens", 0) for span in traces.spans]
    assert sum(spent) == sum(one["input_tokens"] for one in usages(sandbox))


def test_a_call_that_only_the_wrapper_delivers_keeps_its_tokens(
    sandbox: Sandbox, traces: Traces
) -> None:
    """With LangSmith switched off for us there is nothing to double."""
    otel_realtime.instrument(tracer_provider=traces.provider, settings=Settings(langsmith="off"))
    wrapped_calls()
    get_cached_client().flush()
    assert sum(one["input_tokens"] for one in usages(sandbox)) > 0


def test_without_instrument_an_announced_call_says_it_too(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection is tapped by its block as well."""

    async def app(url: str) -> None:
        async with client_of(url) as client, client.realtime.connect(model="m") as raw:
            with conversation(raw, tracer_provider=traces.provider):
                async with theirs.wrap_realtime(raw, client=NoClient()) as connection:
                    await connection.recv()

    with ReplayServer([{"type": "session.created", "session": {}}]) as server:
        asyncio.run(app(server.url))
    assert 1 == len([text for text in warnings(caplog) if "langsmith_compat" in text])


def test_a_connection_that_is_not_tapped_is_left_alone(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of it, and its runs have their tokens."""
    client = NoClient()
    wrapped_calls(client=client)
    assert [] == warnings(caplog)
    metadata = [(run.get("extra") or {}).get("metadata", {}) for run in client.updated]
    spent = [one["usage_metadata"]["input_tokens"] for one in metadata if "usage_metadata" in one]
    assert 2 == len(spent)
    assert all(spent)
