"""Tool spans, without the app's code and with ``call.tool()``, in every order that happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langsmith import get_current_run_tree, traceable
from langsmith.run_trees import get_cached_client
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.talking import SPEED, calls_of, client_of, result, text_item
from tests.support.traces import Traces, arrived, facts, outline, parent_name

Step = Callable[[Any, Any], Awaitable[bool]]
ONE = Answer(calls=(Call(name="look_up", arguments='{"what": "sky"}'),))
TWO = Answer(calls=(*ONE.calls, Call(name="count", arguments="[1, 2]")))
LAST = Answer(text="Blue.")


def play(traces: Traces, answers: tuple[Answer, ...], step: Step) -> None:
    """Ask in text; ``step`` gets the connection and each event, and returns True to hang up."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    script = talking.scenario(*answers, answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(_play(server.url, step))
    assert otel_realtime.flush(20)


async def _play(url: str, step: Step) -> None:
    async with client_of(url) as client, client.realtime.connect(model="gpt-realtime") as rt:
        await rt.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await rt.conversation.item.create(item=text_item("What is the sky?"))
        await rt.response.create()
        async for event in rt:
            if await step(rt, event):
                return


async def answer(rt: Any, call: Any, output: object = "blue") -> None:
    """Send a call's result."""
    await rt.conversation.item.create(item=result(call.call_id, output))


async def at_done(rt: Any, event: Any) -> bool:
    """Answer every call when its response is done; hang up after the last answer."""
    if event.type != "response.done":
        return False
    calls = calls_of(event.response)
    for call in calls:
        await answer(rt, call)
    if calls:
        await rt.response.create()
    return not calls


async def early(rt: Any, event: Any) -> bool:
    """Answer a call as soon as its arguments are known, before its response is done."""
    if event.type == "response.function_call_arguments.done":
        await answer(rt, event)
    elif event.type == "response.done":
        calls = calls_of(event.response)
        if calls:
            await rt.response.create()
        return not calls
    return False


def test_answered_after_its_response(sandbox: Sandbox, traces: Traces) -> None:
    """The span is a child of the response.done, from there to the send, with what went in and out."""
    play(traces, (ONE, LAST), at_done)
    arrived(sandbox, traces.spans)
    tool, done = traces.one("execute_tool look_up"), traces.named("response.done")[0]
    assert (done.context.span_id, done.start_time) == (tool.parent.span_id, tool.start_time)
    assert {
        "gen_ai.tool.name": "look_up",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": '{"what": "sky"}',
        "gen_ai.tool.call.result": '"blue"',
        "gen_ai.prompt": '{"what": "sky"}',
        "gen_ai.completion": '"blue"',
        "otel_realtime.turn": 1,
    } == {
        name: facts(tool).get(name)
        for name in (
            "gen_ai.tool.name",
            "gen_ai.tool.type",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "gen_ai.prompt",
            "gen_ai.completion",
            "otel_realtime.turn",
        )
    }


def test_answered_before_its_response_is_done(sandbox: Sandbox, traces: Traces) -> None:
    """The span is a child of the event that had the whole arguments, and there is only one."""
    play(traces, (ONE, LAST), early)
    arrived(sandbox, traces.spans)
    tool = traces.one("execute_tool look_up")
    told = traces.one("response.function_call_arguments.done")
    assert (told.context.span_id, told.start_time) == (tool.parent.span_id, tool.start_time)
    assert '"blue"' == facts(tool)["gen_ai.tool.call.result"]


def test_two_calls_in_parallel(sandbox: Sandbox, traces: Traces) -> None:
    """Two calls of one response are siblings that both begin with it; each ends with its own answer."""

    async def both(rt: Any, event: Any) -> bool:
        if event.type != "response.done" or not calls_of(event.response):
            return bool(event.type == "response.done")
        first, second = calls_of(event.response)

        async def slow() -> None:
            await asyncio.sleep(0.05)
            await answer(rt, first, "slow")

        await asyncio.gather(slow(), answer(rt, second, "quick"))
        await rt.response.create()
        return False

    play(traces, (TWO, LAST), both)
    arrived(sandbox, traces.spans)
    slow, quick = traces.one("execute_tool look_up"), traces.one("execute_tool count")
    done = traces.named("response.done")[0]
    assert [done.start_time] * 2 == [slow.start_time, quick.start_time]
    assert ("response.done", "response.done") == (
        parent_name(slow, traces.spans),
        parent_name(quick, traces.spans),
    )
    assert slow.end_time - quick.end_time >= 40_000_000
    assert ['"slow"', '"quick"'] == [
        facts(span)["gen_ai.tool.call.result"] for span in (slow, quick)
    ]


def test_the_apps_spans_nest_under_the_only_pending_call(sandbox: Sandbox, traces: Traces) -> None:
    """With one call pending its span is current while the app handles the response."""

    async def look_up(rt: Any, event: Any) -> bool:
        if event.type == "response.done" and calls_of(event.response):
            with traces.tracer.start_as_current_span("database"):
                await asyncio.sleep(0)
        return await at_done(rt, event)

    play(traces, (ONE, LAST), look_up)
    arrived(sandbox, traces.spans)
    assert ["    execute_tool look_up", "      database"] == [
        line for line in outline(traces.spans) if line.startswith("    ")
    ]


def test_with_two_calls_pending_the_event_is_current(sandbox: Sandbox, traces: Traces) -> None:
    """Nobody can tell which call a span is for, so it nests under the event."""

    async def look_up(rt: Any, event: Any) -> bool:
        if event.type == "response.done" and calls_of(event.response):
            with traces.tracer.start_as_current_span("database"):
                pass
        return await at_done(rt, event)

    play(traces, (TWO, LAST), look_up)
    arrived(sandbox, traces.spans)
    assert "response.done" == parent_name(traces.one("database"), traces.spans)


@pytest.mark.parametrize("when", ["response.function_call_arguments.done", "response.done"])
def test_the_exact_span(when: str, sandbox: Sandbox, traces: Traces) -> None:
    """``call.tool()`` is the tool from entry to exit, with the app's spans inside; no second span."""

    async def exact(rt: Any, event: Any) -> bool:
        if event.type == "response.done" and not calls_of(event.response):
            return True
        if event.type == when:
            calls = [event] if when != "response.done" else calls_of(event.response)
            for call in calls:
                await run(rt, call)
        if event.type == "response.done":
            await rt.response.create()
        return False

    async def run(rt: Any, call: Any) -> None:
        here = otel_realtime.current_conversation()
        assert here is not None
        with here.tool(call.call_id) as span:
            assert span is trace.get_current_span()
            with traces.tracer.start_as_current_span("database"):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        await answer(rt, call)

    play(traces, (ONE, LAST), exact)
    arrived(sandbox, traces.spans)
    tool, inner = traces.one("execute_tool look_up"), traces.one("database")
    assert (when, "execute_tool look_up") == (
        parent_name(tool, traces.spans),
        parent_name(inner, traces.spans),
    )
    assert tool.start_time <= inner.start_time <= inner.end_time <= tool.end_time
    assert tool.end_time - inner.end_time < 15_000_000, "it ended with the block, not with the send"
    assert '"blue"' == facts(tool)["gen_ai.tool.call.result"]


def test_a_tool_of_the_apps_own(sandbox: Sandbox, traces: Traces) -> None:
    """A tool that no call of the model names stands under the event that is handled."""

    async def own(rt: Any, event: Any) -> bool:
        here = otel_realtime.current_conversation()
        assert here is not None
        if event.type == "response.done":
            with here.tool(name="log", arguments='{"a": 1}'):
                pass
            return True
        return False

    play(traces, (LAST,), own)
    arrived(sandbox, traces.spans)
    tool = traces.one("execute_tool log")
    assert ("response.done", "log", '{"a": 1}') == (
        parent_name(tool, traces.spans),
        facts(tool)["gen_ai.tool.name"],
        facts(tool)["gen_ai.tool.call.arguments"],
    )


def test_a_tool_that_raises(sandbox: Sandbox, traces: Traces) -> None:
    """The exception marks the tool's span, reaches the app and is the root's error if it ends the call."""

    async def failing(rt: Any, event: Any) -> bool:
        here = otel_realtime.current_conversation()
        assert here is not None
        if event.type == "response.done":
            with here.tool(calls_of(event.response)[0].call_id):
                raise LookupError("no such sky")
        return False

    with pytest.raises(LookupError, match="no such sky"):
        play(traces, (ONE, LAST), failing)
    assert otel_realtime.flush(20)
    conversation = arrived(sandbox, traces.spans)
    errors = {run["name"]: run["error"] for run in conversation["runs"] if run["error"]}
    assert {"execute_tool look_up", "realtime_session"} == errors.keys()
    assert ["LookupError"] * 2 == [
        facts(span)["error.type"] for span in (traces.root, traces.one("execute_tool look_up"))
    ]


def test_never_answered(sandbox: Sandbox, traces: Traces) -> None:
    """A call that the app never answers ends with the conversation, as an error that says so."""

    async def leave(rt: Any, event: Any) -> bool:
        return bool(event.type == "response.done")

    play(traces, (ONE,), leave)
    conversation = arrived(sandbox, traces.spans)
    tool = traces.one("execute_tool look_up")
    assert (StatusCode.ERROR, "tool_not_answered") == (
        tool.status.status_code,
        facts(tool)["error.type"],
    )
    (run,) = [run for run in conversation["runs"] if run["run_type"] == "tool"]
    assert "the conversation ended before the app sent this call's result" in run["error"]
    assert "success" == conversation["status"]


@pytest.mark.parametrize("is_async", [True, False])
def test_traceable_functions_nest(is_async: bool, sandbox: Sandbox, traces: Traces) -> None:
    """LangSmith's own ``@traceable`` functions hang under the tool's run, by its own client."""

    @traceable(run_type="retriever")
    async def search(what: str) -> str:
        return what + "!"

    @traceable(run_type="retriever")
    def search_sync(what: str) -> str:
        return what + "!"

    async def look_up(rt: Any, event: Any) -> bool:
        if event.type == "response.done" and calls_of(event.response):
            _ = await search("sky") if is_async else search_sync("sky")
        elif event.type == "conversation.item.done":
            assert get_current_run_tree() is None
        return await at_done(rt, event)

    play(traces, (ONE, LAST), look_up)
    get_cached_client().flush()
    (listed,) = sandbox.conversations()
    conversation = sandbox.conversation(listed["id"])
    assert conversation is not None
    assert [] == conversation["violations"]
    by_id = {run["id"]: run for run in conversation["runs"]}
    (found,) = [run for run in by_id.values() if run["run_type"] == "retriever"]
    assert ("execute_tool look_up", {"output": "sky!"}) == (
        by_id[found["parent_id"]]["name"],
        found["outputs"],
    )
    assert json.loads(facts(traces.one("execute_tool look_up"))["gen_ai.tool.call.result"])


@pytest.mark.parametrize("late_s", [0.0, 0.05])
def test_traceable_functions_of_a_task_nest(
    late_s: float, sandbox: Sandbox, traces: Traces
) -> None:
    """Of a task that the announcing event started, before and after the response is done."""

    @traceable(run_type="tool")
    async def search(what: str) -> str:
        await asyncio.sleep(0)
        return what + "!"

    tasks: list[asyncio.Task[None]] = []

    async def run(rt: Any, call: Any) -> None:
        await asyncio.sleep(late_s)
        await search("sky")
        await answer(rt, call)
        await rt.response.create()

    async def in_tasks(rt: Any, event: Any) -> bool:
        if event.type == "response.function_call_arguments.done":
            tasks.append(asyncio.create_task(run(rt, event)))
            await asyncio.sleep(0.01 if not late_s else 0)
        return bool(event.type == "response.done" and not calls_of(event.response))

    play(traces, (ONE, LAST), in_tasks)
    get_cached_client().flush()
    (listed,) = sandbox.conversations()
    conversation = sandbox.conversation(listed["id"])
    assert conversation is not None
    assert [] == conversation["violations"]
    by_id = {run["id"]: run for run in conversation["runs"]}
    (found,) = [run for run in by_id.values() if run["name"] == "search"]
    assert "execute_tool look_up" == by_id[found["parent_id"]]["name"]
    above = {0.0: "response.function_call_arguments.done", 0.05: "response.done"}[late_s]
    span = traces.one("execute_tool look_up")
    assert (above, "observed") == (
        parent_name(span, traces.spans),
        facts(span)["otel_realtime.tool.timing"],
    )
