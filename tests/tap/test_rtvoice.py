"""Tools of an rtvoice agent, against the scripted server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from otel_realtime import current_conversation, instrument, uninstrument, using
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, scenario
from tests.support.traces import Traces, facts, parent_name

pytest.importorskip("rtvoice")
from rtvoice.agent.realtime_agent import RealtimeAgent
from rtvoice.audio import AudioInput, AudioOutput
from rtvoice.events.views import AgentSessionConnectedEvent
from rtvoice.handler.tool_call_executor import ToolCallExecutor
from rtvoice.realtime import RealtimeProvider
from rtvoice.realtime.schemas import ResponseDoneEvent
from rtvoice.tools import Tools

TOOL_S = 0.4
LAST = Answer(text="Done.")


class Silence(AudioInput):  # type: ignore[misc]
    """A microphone that nobody speaks into."""

    is_active = True

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def stream_chunks(self) -> AsyncIterator[bytes]:
        return
        yield b""


class Nowhere(AudioOutput):  # type: ignore[misc]
    """A speaker that plays nothing."""

    is_playing = False

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def play_chunk(self, chunk: bytes) -> None: ...

    async def clear_buffer(self) -> None: ...


class Local(RealtimeProvider):  # type: ignore[misc]
    """Leads to the scripted server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def build_url(self, model: str) -> str:
        return f"{self._url}/realtime?model={model}"

    def build_headers(self) -> dict[str, str]:
        return {"Authorization": "Bearer any"}


async def converse(url: str, tool: Callable[..., Any]) -> None:
    """Ask once, and hang up after the answer that follows the tools."""
    tools = Tools()
    tools.action("Look something up.", name="look_up")(tool)
    agent = RealtimeAgent(
        system_prompt="",
        tools=tools,
        provider=Local(url),
        audio_input=Silence(),
        audio_output=Nowhere(),
    )
    answered, connected = asyncio.Event(), asyncio.Event()
    responses: list[Any] = []

    def on_done(event: Any) -> None:
        responses.append(event)
        if len(responses) == 2:
            answered.set()

    agent._event_bus.on(ResponseDoneEvent, on_done)
    agent._event_bus.on(AgentSessionConnectedEvent, lambda event: connected.set())
    running = asyncio.create_task(agent.start())
    await asyncio.wait_for(connected.wait(), 30)
    await agent.send_message("Well?")
    await asyncio.wait_for(answered.wait(), 30)
    await agent.stop()
    await running


def play(traces: Traces, tool: Callable[..., Any], *calls: Call, sessions: int = 1) -> None:
    """Let as many agents as ``sessions`` converse at once, each in a ``using`` of its own."""

    async def one(url: str, number: int) -> None:
        with using(thread_id=f"thread {number}"):
            await converse(url, tool)

    async def all_of_them(url: str) -> None:
        await asyncio.gather(*(one(url, number) for number in range(sessions)))

    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(all_of_them(server.url))


def test_two_tools_at_once_are_exact(traces: Traces) -> None:
    """Each from its own entry to its own exit; the app's spans inside."""

    async def look_up(what: str) -> str:
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
        assert what in facts(span)["gen_ai.tool.call.result"]
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context is not None
        assert span.context.span_id == request.parent.span_id


def test_each_tool_knows_its_conversation(traces: Traces) -> None:
    """Though tasks of the framework stand between it and the task that receives."""

    async def look_up() -> str:
        call = current_conversation()
        return "nothing" if call is None else call.thread_id

    play(traces, look_up, Call(name="look_up"), sessions=3)
    threads = {
        facts(root)["gen_ai.conversation.id"]: root.context.trace_id
        for root in traces.roots
        if root.context is not None
    }
    found = {
        json.loads(facts(span)["gen_ai.tool.call.result"]): span.context.trace_id
        for span in traces.named("execute_tool look_up")
        if span.context is not None
    }
    assert 3 == len(threads)
    assert threads == found


def test_a_tool_that_raises(traces: Traces) -> None:
    """The session tells the model of it and goes on; the span says what it was."""

    async def look_up() -> str:
        with traces.tracer.start_as_current_span("request"):
            raise LookupError("no such sky")

    play(traces, look_up, Call(name="look_up"))
    span = traces.one("execute_tool look_up")
    assert ("exact", "LookupError") == (
        facts(span)["otel_realtime.tool.timing"],
        facts(span)["error.type"],
    )
    assert "execute_tool look_up" == parent_name(traces.one("request"), traces.spans)


def test_it_is_given_back() -> None:
    """Whatever was replaced."""
    before = ToolCallExecutor._on_function_call, Tools.execute
    instrument()
    assert before[0] is not ToolCallExecutor._on_function_call
    uninstrument()
    assert before == (ToolCallExecutor._on_function_call, Tools.execute)
