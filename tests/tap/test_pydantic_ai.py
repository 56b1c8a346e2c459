"""Sockets and tools of a realtime session of pydantic-ai, against the scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from otel_realtime import instrument, uninstrument
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario, tone
from tests.support.traces import Traces, facts, parent_name, turns

pytest.importorskip("pydantic_ai.realtime.openai")
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import (
    RealtimeError,
    RealtimeSessionReconnectEvent,
    RealtimeTurnCompleteEvent,
)
from pydantic_ai.realtime.openai import OpenAIRealtimeConnection, OpenAIRealtimeModel
from pydantic_ai.tool_manager import ToolManager

TOOL_S = 0.4
LAST = Answer(text="Done.", pcm=tone(100))


def play(traces: Traces, tool: Callable[..., Any], *calls: Call) -> None:
    """Ask once, let the agent run its tool, hang up after the spoken answer."""
    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(_converse(server.url, tool))


def _model(url: str) -> OpenAIRealtimeModel:
    provider = OpenAIProvider(base_url=url.replace("ws://", "http://"), api_key="any")
    return OpenAIRealtimeModel("gpt-realtime", provider=provider)


async def _converse(url: str, tool: Callable[..., Any]) -> None:
    agent: Any = Agent(tools=[tool])
    async with agent.realtime(_model(url)).session() as session:
        await session.send("Well?")
        async for event in session:
            if isinstance(event, RealtimeTurnCompleteEvent):
                break


def test_two_tools_at_once_are_exact(traces: Traces) -> None:
    """Each from its own entry to its own exit; the app's spans inside."""

    async def look_up(what: str) -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span(f"request {what}"):
            await asyncio.sleep(TOOL_S)
        return what + "!"

    calls = [Call(name="look_up", arguments=f'{{"what": "{what}"}}') for what in ("sky", "sea")]
    play(traces, look_up, *calls)
    tools = {facts(span)["gen_ai.prompt"]: span for span in traces.named("execute_tool look_up")}
    assert 2 == len(tools) == facts(traces.root)["otel_realtime.tool_calls"]
    for what in ("sky", "sea"):
        span, request = tools[f'{{"what": "{what}"}}'], traces.one(f"request {what}")
        assert "exact" == facts(span)["otel_realtime.tool.timing"]
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context is not None
        assert span.context.span_id == request.parent.span_id


def test_a_tool_that_asks_the_model_to_try_again(traces: Traces) -> None:
    """What it raised marks the span; the session goes on as without us."""

    async def look_up() -> str:
        """Look something up."""
        raise ModelRetry("not like this")

    play(traces, look_up, Call(name="look_up"))
    assert "ModelRetry" == facts(traces.one("execute_tool look_up"))["error.type"]


def test_tools_of_other_agents_are_left_alone(traces: Traces) -> None:
    """They are of no conversation."""

    def look_up() -> str:
        """Look something up."""
        return "blue"

    instrument(tracer_provider=traces.provider)
    assert "blue" in str(Agent(TestModel(), tools=[look_up]).run_sync("Well?").output)
    assert [] == traces.spans


def test_the_sockets_of_a_session_that_dials_again_are_one_conversation(traces: Traces) -> None:
    """The gap says how the first socket ended; the conversation did not fail."""
    instrument(tracer_provider=traces.provider)

    async def app(server: ScriptedServer) -> None:
        model = _model(server.url)
        settings: Any = {"reconnect": {"max_reconnects": 2, "base_delay": 0.05}}
        async with Agent().realtime(model, model_settings=settings).session() as session:
            await session.send("One?")
            async for event in session:
                if isinstance(event, RealtimeSessionReconnectEvent):
                    await session.send("Two?")
                elif isinstance(event, RealtimeTurnCompleteEvent):
                    if len(server.connections) > 1:
                        break
                    server.connections[0].hang_up(1011, "restarting")
        assert len(traces.roots) == 1  # it has ended with the session

    with ScriptedServer([scenario(LAST, answer_delay_ms=0)] * 3, speed=SPEED) as server:
        asyncio.run(app(server))
    assert ["One?", "Done.", "Two?", "Done."] == [turn["text"] for turn in turns(traces.root)]
    assert 2 == len(traces.named("session.created"))
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    assert (1011, StatusCode.ERROR) == (
        facts(traces.one("reconnect"))["otel_realtime.close_code"],
        traces.one("reconnect").status.status_code,
    )
    assert StatusCode.ERROR != traces.root.status.status_code


def test_a_session_that_cannot_dial_again_ends_with_its_socket(traces: Traces) -> None:
    """Without a policy, and when each attempt was in vain."""
    instrument(tracer_provider=traces.provider)

    async def app(server: ScriptedServer, settings: Any) -> None:
        model = _model(server.url)
        async with Agent().realtime(model, model_settings=settings).session() as session:
            await session.send("One?")
            async for event in session:
                if isinstance(event, RealtimeTurnCompleteEvent):
                    server._api_key = "another one"
                    server.connections[0].hang_up(1011, "restarting")

    ended: list[int] = []
    policy = {"reconnect": {"max_attempts": 2, "base_delay": 0.05}}
    for settings in ({}, policy):
        with ScriptedServer(scenario(LAST, answer_delay_ms=0), speed=SPEED) as server:
            with pytest.raises(RealtimeError):
                asyncio.run(app(server, settings))
        ended.append(len(traces.roots))
    assert [1, 2] == ended
    closed = "the server closed with code 1011: restarting"
    refused = "; then the server refused the websocket handshake: HTTP 401"
    assert [closed, closed + refused] == [root.status.description for root in traces.roots]


def test_it_is_given_back() -> None:
    """Whatever was replaced."""
    before = _replaced()
    instrument()
    assert not set(before) & set(_replaced())
    uninstrument()
    assert before == _replaced()


def _replaced() -> list[Any]:
    connection = OpenAIRealtimeConnection
    return [ToolManager.execute_tool_call, connection.__init__, connection._try_reconnect]


def test_the_tools_own_spans_are_below(traces: Traces) -> None:
    """Also of a tool that runs in a thread."""

    def look_up() -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span("request"):
            return "blue"

    play(traces, look_up, Call(name="look_up"))
    assert "execute_tool look_up" == parent_name(traces.one("request"), traces.spans)
