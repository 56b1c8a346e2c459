"""Tools of a live AG2 agent, against the scripted server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_realtime import current_conversation, instrument, uninstrument, using
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, client_of, scenario
from tests.support.traces import Traces, facts, parent_name

pytest.importorskip("ag2.live.openai")
from ag2.events import ModelResponse
from ag2.live import LiveAgent
from ag2.live.openai import RealTimeConfig, TextOutput
from ag2.tools import tool
from ag2.tools.final.function_tool import FunctionTool

TOOL_S = 0.4
LAST = Answer(text="Done.")


async def converse(url: str, function: Callable[..., Any]) -> None:
    """Ask once, and hang up after the answer that follows the tools."""
    asked = {
        "role": "user",
        "type": "message",
        "content": [{"type": "input_text", "text": "Well?"}],
    }
    connections: list[Any] = []
    async with client_of(url) as client:
        config = RealTimeConfig("gpt-realtime", client=client, output=TextOutput())
        agent = LiveAgent("agent", config=config, tools=[tool(function, name="look_up")])
        answered, responses = asyncio.Event(), []
        opened = client.realtime.connect

        def connect(**options: Any) -> Any:
            manager = opened(**options)
            enter = manager.__aenter__

            class Kept:  # the agent has no way of its own to send text
                async def __aenter__(self) -> Any:
                    connections.append(await enter())
                    return connections[-1]

                async def __aexit__(self, *error: Any) -> None:
                    await manager.__aexit__(*error)

            return Kept()

        client.realtime.connect = connect  # type: ignore[method-assign]
        async with agent.run() as context:

            async def on_response(event: ModelResponse) -> None:
                responses.append(event)
                if len(responses) == 2:
                    answered.set()

            with context.stream.where(ModelResponse).sub_scope(on_response):
                await connections[0].conversation.item.create(item=asked)
                await connections[0].response.create()
                await asyncio.wait_for(answered.wait(), 30)


def play(traces: Traces, function: Callable[..., Any], *calls: Call, sessions: int = 1) -> None:
    """Let as many agents as ``sessions`` converse at once, each in a ``using`` of its own."""

    async def one(url: str, number: int) -> None:
        with using(thread_id=f"thread {number}"):
            await converse(url, function)

    async def all_of_them(url: str) -> None:
        await asyncio.gather(*(one(url, number) for number in range(sessions)))

    instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=calls), *[LAST] * 4, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(all_of_them(server.url))


def test_two_tools_are_exact(traces: Traces) -> None:
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
        assert what in facts(span)["gen_ai.tool.call.result"]
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context is not None
        assert span.context.span_id == request.parent.span_id


def test_each_tool_knows_its_conversation(traces: Traces) -> None:
    """In a thread of the framework's, too."""

    def look_up() -> str:
        """Look something up."""
        call = current_conversation()
        with traces.tracer.start_as_current_span("request"):
            time.sleep(0.05)
        return "nothing" if call is None else call.thread_id

    play(traces, look_up, Call(name="look_up"), sessions=3)
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


def test_a_tool_that_raises(traces: Traces) -> None:
    """The agent tells the model of it and goes on; the span says what it was."""

    async def look_up() -> str:
        """Look something up."""
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
    before = vars(FunctionTool)["__call__"]
    instrument()
    assert before is not vars(FunctionTool)["__call__"]
    uninstrument()
    assert before is vars(FunctionTool)["__call__"]
