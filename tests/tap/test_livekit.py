"""Tools and handoffs of a LiveKit session without a room, against the scripted server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otel_realtime import instrument, uninstrument
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario
from tests.support.traces import Traces, facts, parent_name

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


async def _converse(url: str, agent: Agent) -> None:
    model = openai.realtime.RealtimeModel(
        model="gpt-realtime",
        api_key="any",
        base_url=url.replace("ws://", "http://"),
        modalities=["text"],
    )
    session: Any = AgentSession(llm=model)
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
    before = _ToolExecutor.execute, AgentSession._update_activity
    instrument()
    assert before[0] is not _ToolExecutor.execute
    uninstrument()
    assert before == (_ToolExecutor.execute, AgentSession._update_activity)
