"""Apps that read in one task and run their tools in another, or in threads."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

import otel_realtime
from otel_realtime import attributes as names
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, client_of, result, scenario, text_item
from tests.support.traces import Traces, facts, parent_name

Start = Callable[["App"], Callable[[Any], Any]]

CALL, LAST = Call(name="look_up"), Answer(text="Blue.")


class App:
    """A reader, and a worker that was there before anything was received.

    Args:
        traces: where the app's own spans go.
        start: starts the worker, which takes the work that it is given from a queue.
        together: the tools of several apps run at the same time.
    """

    def __init__(
        self,
        traces: Traces,
        start: Start,
        together: threading.Barrier | None = None,
    ) -> None:
        self.traces = traces
        self.start = start
        self.together = together
        self.knew: list[str | None] = []

    def run_tool(self, call_id: str) -> str:
        """The tool, wherever it runs."""
        if self.together is not None:
            self.together.wait()
        call = otel_realtime.current_conversation()
        self.knew.append(call.thread_id if call is not None else None)
        with nullcontext() if call is None else call.tool(call_id):
            with self.traces.tracer.start_as_current_span("request"):
                if self.together is not None:
                    self.together.wait()
                return "blue"

    async def converse(self, url: str) -> None:
        """Ask once, and hang up after the answer that follows the tool."""
        work = self.start(self)
        async with client_of(url) as client, client.realtime.connect(model="gpt-realtime") as rt:
            await rt.conversation.item.create(item=text_item("Well?"))
            await rt.response.create()
            async for event in rt:
                if event.type == "response.function_call_arguments.done":
                    said = await work(event.call_id)
                    await rt.conversation.item.create(item=result(event.call_id, said))
                elif event.type == "response.done":
                    if event.response.output[0].type != "function_call":
                        return
                    await rt.response.create()


def a_task(app: App) -> Callable[[Any], Any]:
    """A task with a queue."""
    calls: asyncio.Queue[Any] = asyncio.Queue()

    async def work() -> None:
        while True:
            call_id, said = await calls.get()
            said.set_result(app.run_tool(call_id))

    async def give(call_id: str) -> Any:
        said = asyncio.get_running_loop().create_future()
        calls.put_nowait((call_id, said))
        return await said

    give.worker = asyncio.create_task(work())  # type: ignore[attr-defined]
    return give


def a_thread_of_its_own(app: App) -> Callable[[Any], Any]:
    """A thread with a queue, which inherits nothing."""
    calls: queue.Queue[Any] = queue.Queue()
    loop = asyncio.get_running_loop()

    def work() -> None:
        call_id, said = calls.get(timeout=30)
        loop.call_soon_threadsafe(said.set_result, app.run_tool(call_id))

    async def give(call_id: str) -> Any:
        said = loop.create_future()
        calls.put_nowait((call_id, said))
        return await said

    threading.Thread(target=work, daemon=True).start()
    return give


def a_thread_of_the_pool(app: App) -> Callable[[Any], Any]:
    """``asyncio.to_thread``, from the task that receives."""
    return lambda call_id: asyncio.to_thread(app.run_tool, call_id)


def an_executor(app: App) -> Callable[[Any], Any]:
    """``loop.run_in_executor``, which takes no context along."""
    return lambda call_id: asyncio.get_running_loop().run_in_executor(None, app.run_tool, call_id)


def play(traces: Traces, run: Callable[[str], Any]) -> None:
    otel_realtime.instrument(tracer_provider=traces.provider)
    script = scenario(Answer(calls=(CALL,)), *[LAST] * 4, answer_delay_ms=0)
    with ScriptedServer(script, speed=SPEED) as server:
        asyncio.run(run(server.url))


def each_in_its_thread(apps: Sequence[App]) -> Callable[[str], Any]:
    """All apps at the same time, each inside ``using(...)`` with a thread of its own."""

    async def one(url: str, number: int) -> None:
        with otel_realtime.using(thread_id=f"thread {number}"):
            await apps[number].converse(url)

    async def all_of_them(url: str) -> None:
        await asyncio.gather(*(one(url, number) for number in range(len(apps))))

    return all_of_them


def assert_below_the_tool(traces: Traces) -> None:
    """The app's span and the tool's, which has the times of the run and the result of the send."""
    for request in traces.named("request"):
        assert "execute_tool look_up" == parent_name(request, traces.spans)
    for tool in traces.named("execute_tool look_up"):
        told = facts(tool)
        assert ("exact", "blue") == (
            told["otel_realtime.tool.timing"],
            json.loads(told["gen_ai.tool.call.result"]),
        )


@pytest.mark.parametrize("start", [a_task, a_thread_of_its_own, a_thread_of_the_pool, an_executor])
def test_the_only_call_of_the_process(traces: Traces, start: Start) -> None:
    """Needs nothing from the app."""
    app = App(traces, start)
    play(traces, app.converse)
    assert [facts(traces.root)[names.LS_THREAD_ID]] == app.knew
    assert_below_the_tool(traces)


@pytest.mark.parametrize("start", [a_task, a_thread_of_the_pool])
def test_one_of_several(traces: Traces, start: Start) -> None:
    """Inside ``using(...)``, whatever else the process talks."""
    apps = [App(traces, start) for _ in range(3)]

    play(traces, each_in_its_thread(apps))
    assert [["thread 0"], ["thread 1"], ["thread 2"]] == [app.knew for app in apps]
    assert 3 == len(traces.named("execute_tool look_up"))
    assert_below_the_tool(traces)


@pytest.mark.parametrize("start", [a_thread_of_its_own, an_executor])
def test_a_thread_that_may_be_either_calls(traces: Traces, start: Start) -> None:
    """Is given none, rather than the wrong one."""
    together = threading.Barrier(2, timeout=20)
    apps = [App(traces, start, together) for _ in range(2)]

    async def both(url: str) -> None:
        await asyncio.gather(*(app.converse(url) for app in apps))

    play(traces, both)
    assert [[None], [None]] == [app.knew for app in apps]
    assert 2 == len(traces.named("execute_tool look_up"))


# -- workers that do not say which tool they run -----------------------------------------------------


class Silent(App):
    """Its tool has a span of its own, and nothing of ours.

    Args:
        asks: the tool asks for its conversation first.
    """

    def __init__(self, traces: Traces, start: Start, *, asks: bool = False) -> None:
        super().__init__(traces, start)
        self.asks = asks

    def run_tool(self, call_id: str) -> str:
        """The tool, wherever it runs."""
        if self.asks:
            call = otel_realtime.current_conversation()
            self.knew.append(call.thread_id if call is not None else None)
        with self.traces.tracer.start_as_current_span("request"):
            with self.traces.tracer.start_as_current_span("query"):
                return "blue"


def assert_below_the_tools(traces: Traces, calls: int) -> None:
    """The app's spans are in the conversations' traces, each below a tool of its own."""
    assert [calls] * 3 == [
        len(traces.named(name)) for name in ("execute_tool look_up", "request", "query")
    ]
    above = [request.parent.span_id for request in traces.named("request") if request.parent]
    tools = traces.named("execute_tool look_up")
    assert sorted(tool.context.span_id for tool in tools if tool.context) == sorted(above)
    assert calls == len({span.context.trace_id for span in traces.spans if span.context})


def test_a_silent_worker_inside_using(traces: Traces) -> None:
    """Its spans are below the tool of its own call, whatever else the process talks."""
    apps = [Silent(traces, a_task) for _ in range(3)]

    play(traces, each_in_its_thread(apps))
    assert_below_the_tools(traces, 3)
    told = [facts(request)[names.LS_THREAD_ID] for request in traces.named("request")]
    assert ["thread 0", "thread 1", "thread 2"] == sorted(told)


@pytest.mark.parametrize("start", [a_task, a_thread_of_its_own, an_executor])
def test_a_silent_worker_that_asked_for_the_only_call(traces: Traces, start: Start) -> None:
    """Its spans are below the tool."""
    app = Silent(traces, start, asks=True)
    play(traces, app.converse)
    assert [facts(traces.root)[names.LS_THREAD_ID]] == app.knew
    assert_below_the_tools(traces, 1)


def test_work_of_something_else(traces: Traces) -> None:
    """A thread that neither stands in a block nor asked keeps a trace of its own."""
    app = Silent(traces, a_thread_of_its_own)
    play(traces, app.converse)
    (request,) = traces.named("request")
    assert request.parent is None
    assert traces.root.context is not None
    assert request.context is not None
    assert traces.root.context.trace_id != request.context.trace_id
