"""Whatever happens to the app's task, its conversation ends properly, once, and the app sees the same."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
import threading
import tracemalloc
from collections.abc import Coroutine, Generator, Iterator
from types import coroutine
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime.process.process import PROCESS
from otel_realtime.tracing import members
from tests.support.fault_server import HALF_A_TURN, HELLO, FaultServer, Peer, open_files
from tests.support.isolation import langsmith_variables
from tests.support.langsmith_server import LangSmithServer
from tests.support.traces import Traces, facts
from tests.support.waiting import wait_for

QUICK = {"close_timeout": 0.1}
CALL = {
    "type": "response.done",
    "response": {
        "id": "resp_2",
        "status": "completed",
        "output": [
            {
                "id": "item_call",
                "type": "function_call",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": "{}",
            }
        ],
    },
}


def scripted(peer: Peer) -> None:
    """Half a turn, a tool call, and then the answer to whatever comes."""
    peer.accept()
    peer.send(*HALF_A_TURN, CALL)
    peer.silent()


def connect(client: Any, **options: Any) -> Any:
    """The manager of a connection that does not wait long for a close."""
    return client.realtime.connect(
        model="gpt-realtime", websocket_connection_options={**QUICK, **options}
    )


async def call_with_tool(url: str) -> None:
    """A call with everything an app does: receive, run a tool under its span, send, hang up."""
    async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
        async with connect(client) as connection:
            async for event in connection:
                await asyncio.sleep(0)
                if event.type == "response.done" and event.response.output:
                    break
            conversation = otel_realtime.current_conversation()
            assert conversation is not None
            with conversation.tool("call_1"):
                await asyncio.sleep(0)
            item: Any = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
            await connection.conversation.item.create(item=item)
            await asyncio.sleep(0)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """The scripted server."""
    with FaultServer(scripted) as running:
        yield running


def check_whole(traces: Traces) -> None:
    """Every span of every conversation has ended, under a parent that is there."""
    assert not PROCESS.live
    for root in traces.roots:
        assert root.context is not None
        spans = traces.of(f"{root.context.trace_id:032x}")
        ids = [span.context.span_id for span in spans if span.context]
        assert len(ids) == len(set(ids))
        assert all(span.parent is None or span.parent.span_id in ids for span in spans)
        assert max(span.end_time or 0 for span in spans) == root.end_time
    assert otel_realtime.flush(10)
    assert 0 == len(members.TABLE)


@coroutine
def _cancelled_at(
    step: int, inner: Coroutine[Any, Any, None], reached: list[int]
) -> Generator[Any, Any, None]:
    """Run a coroutine and cancel the task it runs in when it waits for the ``step``-th time."""
    send: Any = None
    error: BaseException | None = None
    for count in itertools.count(1):
        try:
            waits_for = inner.send(send) if error is None else inner.throw(error)
        except StopIteration:
            return
        if count == step:
            reached.append(step)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        send = error = None
        try:
            send = yield waits_for
        except BaseException as thrown:
            error = thrown


async def _run_cancelled(step: int, url: str, reached: list[int]) -> None:
    await _cancelled_at(step, call_with_tool(url), reached)


def test_cancelled_at_every_await(server: FaultServer, traces: Traces) -> None:
    """A call cancelled at any of its awaits ends whole; what the libraries do of it is theirs."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    reached: list[int] = []
    for step in itertools.count(1):
        try:
            asyncio.run(_run_cancelled(step, server.url, reached))
        except asyncio.CancelledError:
            pass
        if step not in reached:
            break
    assert len(reached) > 10
    assert len(traces.roots) > len(reached) // 2
    assert all(StatusCode.UNSET is root.status.status_code for root in traces.roots)
    check_whole(traces)


def test_wait_for_and_kill(server: FaultServer, traces: Traces) -> None:
    """A timeout around the whole call, and a task that is cancelled from outside."""

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive_for_ever(server.url), 2)  # time enough to connect
        listens = asyncio.Event()
        task = asyncio.create_task(receive_for_ever(server.url, listens))
        await asyncio.wait_for(listens.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(main())
    assert 2 == len(traces.roots)
    check_whole(traces)


async def receive_for_ever(url: str, listens: asyncio.Event | None = None) -> None:
    """An app that only listens; ``listens`` is set at the first event."""
    async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
        async with connect(client) as connection:
            async for _ in connection:
                if listens is not None:
                    listens.set()


def test_generator_never_closed(server: FaultServer, traces: Traces) -> None:
    """An async generator around the connection that is left open ends with its loop."""

    async def events(url: str) -> Any:
        async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
            async with connect(client) as connection:
                async for event in connection:
                    yield event

    async def main() -> None:
        generator = events(server.url)
        assert "session.created" == (await anext(generator)).type

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(main())
    wait_for(lambda: not PROCESS.live, "end of the conversation", timeout_s=5)
    check_whole(traces)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_closed_early(server: FaultServer, traces: Traces) -> None:
    """A connection that its event loop leaves behind ends without anybody closing it."""

    async def main() -> None:
        client = AsyncOpenAI(api_key="any", websocket_base_url=server.url)
        connection = await connect(client).enter()
        assert "session.created" == (await connection.recv()).type

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(main())
    wait_for(lambda: not PROCESS.live, "end of the conversation", timeout_s=5)
    gc.collect()
    assert StatusCode.UNSET is traces.root.status.status_code
    check_whole(traces)


def call_that_raises(url: str, error: BaseException) -> None:
    """A sync call whose app raises after the first event."""
    with OpenAI(api_key="any", websocket_base_url=url) as client:
        with connect(client) as connection:
            connection.recv()
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), SystemExit(3), GeneratorExit()])
def test_not_errors(server: FaultServer, error: BaseException, traces: Traces) -> None:
    """An interrupt, an exit and a closed generator pass through and are no error of the call."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with pytest.raises(type(error)) as caught:
        call_that_raises(server.url, error)
    assert caught.value is error
    assert StatusCode.UNSET is traces.root.status.status_code
    check_whole(traces)


class OwnError(Exception):
    """An app's error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [ValueError("bad", 7), OwnError("x")])
def test_apps_error(server: FaultServer, error: Exception, traces: Traces) -> None:
    """The app's exception arrives untouched and is on the root."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    arguments, context = error.args, error.__context__
    with pytest.raises(type(error)) as caught:
        call_that_raises(server.url, error)
    assert caught.value is error
    assert (arguments, context, None) == (error.args, error.__context__, error.__cause__)
    assert type(error).__name__ == facts(traces.root)["error.type"]
    check_whole(traces)


def test_eight_threads(server: FaultServer, traces: Traces) -> None:
    """Sync clients in eight threads are eight conversations that do not mix."""

    def call(number: int) -> None:
        with otel_realtime.using(thread_id=f"thread-{number}"):
            with OpenAI(api_key="any", websocket_base_url=server.url) as client:
                with connect(client) as connection:
                    for event in connection:
                        if event.type == "response.done" and event.response.output:
                            break

    otel_realtime.instrument(tracer_provider=traces.provider)
    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    names = {facts(root)["otel_realtime.thread_id"] for root in traces.roots}
    assert {f"thread-{number}" for number in range(8)} == names
    outlines = [traces.of(f"{root.context.trace_id:032x}") for root in traces.roots if root.context]
    assert 1 == len({tuple(sorted(span.name for span in spans)) for spans in outlines})
    check_whole(traces)


def test_app_closes_again_and_again(traces: Traces) -> None:
    """Closing twice, closing inside the block and reporting afterwards change nothing."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        with call.tool(name="own"):
            call.close()
            call.close(ValueError("late"))
        call.received(HELLO)
        call.sent({"type": "response.create"})
        with call.tool("call_9", name="late"), call.pause_recording():
            call.received(HELLO)
        call.set_metadata(late=True)
    assert ["execute_tool own", "realtime_session", "session.created"] == sorted(
        span.name for span in traces.spans
    )
    assert StatusCode.UNSET is traces.root.status.status_code
    check_whole(traces)


async def _some_calls(url: str, count: int) -> None:
    async def one(client: AsyncOpenAI) -> None:
        async with connect(client) as connection:
            await connection.recv()
            await connection.input_audio_buffer.append(audio="AAAA" * 100)

    async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
        for _ in range(count // 10):
            await asyncio.gather(*(one(client) for _ in range(10)))
    assert 1 == len(asyncio.all_tasks())


def _hello(peer: Peer) -> None:
    peer.accept()
    peer.send(HELLO)
    peer.silent()


@pytest.mark.parametrize("count", [80, pytest.param(1000, marks=pytest.mark.soak)])
def test_nothing_leaks(count: int, process: pytest.MonkeyPatch) -> None:
    """Conversation after conversation, all delivered: no task, thread, file, stamp or memory is left."""
    with LangSmithServer() as langsmith, FaultServer(_hello) as server:
        for name, value in langsmith_variables(langsmith.url).items():
            process.setenv(name, value)
        otel_realtime.instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
        asyncio.run(_some_calls(server.url, 20))
        _settled_memory(langsmith)
        server.wait_until_quiet()
        threads, files = threading.active_count(), open_files()
        tracemalloc.start()
        try:
            held = [_settled_memory(langsmith)]
            for _ in range(4):
                asyncio.run(_some_calls(server.url, count // 4))
                held.append(_settled_memory(langsmith))
        finally:
            tracemalloc.stop()
        server.wait_until_quiet()
        assert not PROCESS.live
        assert 0 == len(members.TABLE)
        wait_for(lambda: threading.active_count() <= threads + 1, "end of threads", timeout_s=5)
        wait_for(lambda: open_files() <= files + 4, "end of descriptors", timeout_s=5)
    # What each call leaves is in every round; what the process makes once is not.
    grown = [later - earlier for earlier, later in itertools.pairwise(held)]
    assert min(grown) / (count // 4) < 4000, grown


def _settled_memory(langsmith: LangSmithServer) -> int:
    assert otel_realtime.flush(30)
    wait_for(lambda: not len(members.TABLE), "end of the deliveries", timeout_s=5)
    langsmith.requests.clear()
    re.purge()  # the server here parses headers with a pattern for each boundary
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_nothing_stays_current(server: FaultServer, traces: Traces) -> None:
    """After a call the app's task has its own context back, however the call ended."""

    async def failing() -> None:
        async with AsyncOpenAI(api_key="any", websocket_base_url=server.url) as client:
            async with connect(client) as connection:
                async for _ in connection:
                    raise ZeroDivisionError

    async def main() -> None:
        before = dict(otel_context.get_current())
        await call_with_tool(server.url)
        assert before == dict(otel_context.get_current())
        with pytest.raises(ZeroDivisionError):
            await failing()
        assert before == dict(otel_context.get_current())

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(main())
    check_whole(traces)
