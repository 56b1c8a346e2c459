"""Sockets, tools and handoffs of a LiveKit session without a room, against the scripted server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from otel_realtime import instrument, uninstrument
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario
from tests.support.traces import Traces, facts, parent_name, turns

pytest.importorskip("livekit.agents")
pytest.importorskip("livekit.plugins.openai")
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.tool_executor import _ToolExecutor
from livekit.plugins import openai

TOOL_S = 0.4
LAST = Answer(text="Done.")


def play(traces: Traces, agent: Agent, *calls: Call) -> None:
    """Ask once, and hang up after the answer that follows the tools."""
    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(_converse(server.url, agent))


def _model(url: str, **options: Any) -> Any:
    return openai.realtime.RealtimeModel(
        model="gpt-realtime",
        api_key="any",
        base_url=url.replace("ws://", "http://"),
        modalities=["text"],
        **options,
    )


async def _converse(url: str, agent: Agent) -> None:
    session: Any = AgentSession(llm=_model(url))
    await session.start(agent)
    await asyncio.wait_for(session.run(user_input="Well?"), 30)
    await session.aclose()


def test_two_tools_at_once_are_exact(traces: Traces) -> None:
    """Each from its own entry to its own exit; the app's spans inside."""

    @function_tool
    async def look_up(what: str) -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span(f"request {what}"):
            await asyncio.sleep(TOOL_S)
        return what + "!"

    calls = [Call(name="look_up", arguments=f'{{"what": "{what}"}}') for what in ("sky", "sea")]
    play(traces, Agent(instructions="", tools=[look_up]), *calls)
    tools = {facts(span)["gen_ai.prompt"]: span for span in traces.named("execute_tool look_up")}
    assert 2 == len(tools) == facts(traces.root)["otel_realtime.tool_calls"]
    for what in ("sky", "sea"):
        span, request = tools[f'{{"what": "{what}"}}'], traces.one(f"request {what}")
        assert "exact" == facts(span)["otel_realtime.tool.timing"]
        assert what in facts(span)["gen_ai.tool.call.result"]
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context is not None
        assert span.context.span_id == request.parent.span_id


def test_a_tool_that_raises(traces: Traces) -> None:
    """The session tells the model of it and goes on; the span says what it was."""

    @function_tool
    async def look_up() -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span("request"):
            raise LookupError("no such sky")

    play(traces, Agent(instructions="", tools=[look_up]), Call(name="look_up"))
    span = traces.one("execute_tool look_up")
    assert ("exact", "LookupError") == (
        facts(span)["otel_realtime.tool.timing"],
        facts(span)["error.type"],
    )
    assert "execute_tool look_up" == parent_name(traces.one("request"), traces.spans)


def test_a_handoff(traces: Traces) -> None:
    """To the agent that the tool returned."""

    class Billing(Agent):  # type: ignore[misc]
        pass

    @function_tool
    async def to_billing() -> Agent:
        """Hand over."""
        return Billing(instructions="")

    play(traces, Agent(instructions="", tools=[to_billing]), Call(name="to_billing"))
    (span,) = traces.named("handoff billing")
    assert ("billing", "chain") == (
        facts(span)["gen_ai.agent.name"],
        facts(span)["langsmith.span.kind"],
    )


def test_it_is_given_back() -> None:
    """Whatever was replaced."""
    before = _replaced()
    instrument()
    assert not set(before) & set(_replaced())
    uninstrument()
    assert before == _replaced()


def _replaced() -> list[Any]:
    session = openai.realtime.RealtimeSession
    return [
        _ToolExecutor.execute,
        AgentSession._update_activity,
        session._create_ws_conn,
        session._main_task,
    ]


def test_its_sockets_are_one_conversation(traces: Traces) -> None:
    """It replaces them by itself, and replays to the next one what was said."""
    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(text="First."), rate_limits=False)

    async def app(server: ScriptedServer) -> None:
        session: Any = AgentSession(llm=_model(server.url, max_session_duration=1.0))
        await session.start(Agent(instructions=""))
        await asyncio.wait_for(session.run(user_input="One?"), 30)
        await _second_socket(server)
        await asyncio.wait_for(session.run(user_input="Two?"), 30)
        await session.aclose()

    with ScriptedServer([script] * 20, speed=SPEED) as server:
        asyncio.run(app(server))
        sockets = len(server.connections)
    assert sockets > 1
    assert sockets == 1 + facts(traces.root)["otel_realtime.reconnects"]
    assert sockets - 1 == len(traces.named("reconnect"))
    assert sockets == len(traces.named("session.created"))
    said = [turn["text"] for turn in turns(traces.root)]
    assert ["One?", "First.", "Two?", "First."] == said
    assert StatusCode.ERROR != traces.root.status.status_code


async def _second_socket(server: ScriptedServer) -> None:
    """Wait until the session has replaced its first socket, and replayed the conversation."""
    for _ in range(1_500):
        if len(server.connections) > 1 and "conversation.item.added" in str(server.sent[1]):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the session opened no second socket")


def test_a_session_that_is_lost_dials_again(traces: Traces) -> None:
    """The gap says how the first socket ended; the conversation did not fail."""
    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(text="First."), rate_limits=False)

    async def app(server: ScriptedServer) -> None:
        session: Any = AgentSession(llm=_model(server.url))
        await session.start(Agent(instructions=""))
        await asyncio.wait_for(session.run(user_input="One?"), 30)
        server.connections[0].hang_up(1011, "restarting")
        await _second_socket(server)
        await asyncio.wait_for(session.run(user_input="Two?"), 30)
        await session.aclose()

    with ScriptedServer([script] * 3, speed=SPEED) as server:
        asyncio.run(app(server))
    gap = traces.one("reconnect")
    assert (1011, "restarting", StatusCode.ERROR) == (
        facts(gap)["otel_realtime.close_code"],
        facts(gap)["otel_realtime.close_reason"],
        gap.status.status_code,
    )
    assert StatusCode.ERROR != traces.root.status.status_code


def test_two_sessions_are_two_conversations(traces: Traces) -> None:
    """One after the other, without ``using``; each has ended with its session."""
    play(traces, Agent(instructions=""))
    ended = len(traces.roots)
    play(traces, Agent(instructions=""))
    assert [1, 2] == [ended, len(traces.roots)]
