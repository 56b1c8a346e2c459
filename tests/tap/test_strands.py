"""Tools of a bidirectional Strands agent, against the scripted server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_realtime import current_conversation, instrument, uninstrument, using
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario, tone
from tests.support.traces import Traces, facts, parent_name

pytest.importorskip("strands.bidi.models.openai.realtime")
from strands import tool
from strands.bidi.agent.agent import BidiAgent
from strands.bidi.agent.loop import _AgentLoop
from strands.bidi.models.openai import realtime
from strands.bidi.types.events import BidiAudioDeltaEvent, BidiResponseStopEvent
from strands.types.events import ToolResultEvent

TOOL_S = 0.4
LAST = Answer(text="Done.", pcm=tone(100))


async def converse(function: Callable[..., Any]) -> None:
    """Ask once, and hang up after the spoken answer that follows the tools."""
    model = realtime.OpenAIRealtimeModel(
        model_id="gpt-realtime", transcription_model_id=None, api_key="any"
    )
    async with BidiAgent(model=model, tools=[tool(name="look_up")(function)]) as agent:
        await agent.send("Well?")
        spoken = False
        async for event in agent.receive():
            spoken = spoken or isinstance(event, BidiAudioDeltaEvent)
            if spoken and isinstance(event, BidiResponseStopEvent):
                return


def play(
    traces: Traces,
    process: pytest.MonkeyPatch,
    function: Callable[..., Any],
    *calls: Call,
    sessions: int = 1,
) -> None:
    """Let as many agents as ``sessions`` converse at once, each in a ``using`` of its own."""

    async def one(number: int) -> None:
        with using(thread_id=f"thread {number}"):
            await asyncio.wait_for(converse(function), 30)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(sessions)))

    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        process.setattr(realtime, "OPENAI_REALTIME_URL", f"{server.url}/realtime")
        asyncio.run(all_of_them())


def test_two_tools_at_once_are_exact(traces: Traces, process: pytest.MonkeyPatch) -> None:
    """Each from its own entry to its own exit; the app's spans inside."""

    async def look_up(what: str) -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span(f"request {what}"):
            await asyncio.sleep(TOOL_S)
        return what + "!"

    calls = [Call(name="look_up", arguments=f'{{"what": "{what}"}}') for what in ("sky", "sea")]
    play(traces, process, look_up, *calls)
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


def test_each_tool_knows_its_conversation(traces: Traces, process: pytest.MonkeyPatch) -> None:
    """In a thread of the framework's, too, whatever task receives."""

    def look_up() -> str:
        """Look something up."""
        call = current_conversation()
        with traces.tracer.start_as_current_span("request"):
            time.sleep(0.05)
        return "nothing" if call is None else call.thread_id

    play(traces, process, look_up, Call(name="look_up"), sessions=3)
    threads = {
        facts(root)["gen_ai.conversation.id"]: root.context.trace_id
        for root in traces.roots
        if root.context is not None
    }
    assert 3 == len(threads)
    for span in traces.named("execute_tool look_up"):
        assert span.context is not None
        thread = next(
            name for name, trace_id in threads.items() if trace_id == span.context.trace_id
        )
        assert thread in facts(span)["gen_ai.tool.call.result"]
    parents = {parent_name(span, traces.spans) for span in traces.named("request")}
    assert {"execute_tool look_up"} == parents


def test_a_tool_that_raises(traces: Traces, process: pytest.MonkeyPatch) -> None:
    """The agent tells the model of it and goes on; the span says what it was."""

    async def look_up() -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span("request"):
            raise LookupError("no such sky")

    play(traces, process, look_up, Call(name="look_up"))
    span = traces.one("execute_tool look_up")
    assert ("exact", "LookupError") == (
        facts(span)["otel_realtime.tool.timing"],
        facts(span)["error.type"],
    )
    assert "execute_tool look_up" == parent_name(traces.one("request"), traces.spans)


def test_it_is_given_back() -> None:
    """Whatever was replaced."""
    before = _AgentLoop._run_tool, ToolResultEvent.__init__
    instrument()
    assert before[0] is not _AgentLoop._run_tool
    uninstrument()
    assert before == (_AgentLoop._run_tool, ToolResultEvent.__init__)
