"""However the app is written and however it is told apart: the same trace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_sync

import otel_realtime
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import Connection, ScriptedServer
from otel_realtime.langsmith.ids import run_id
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.talking import SPEED, SPOKEN_S, client_of, sync_client_of, text_item, tone
from tests.support.traces import Traces, arrived, facts, outline, samples, stretches

TEXT = talking.scenario(Answer(text="Hello you."), answer_delay_ms=0, rate_limits=False)
TEXT_SESSION: Any = {"type": "realtime", "output_modalities": ["text"]}
TEXT_TREE = [
    "realtime_session",
    "  session.created",
    "  session.updated",
    "  conversation.item.added",
    "  conversation.item.done",
    "  response.created",
    "  chat gpt-realtime",
    "  response.output_item.added",
    "  conversation.item.added",
    "  response.content_part.added",
    "  response.output_text.done",
    "  response.content_part.done",
    "  conversation.item.done",
    "  response.output_item.done",
    "  response.done",
]
REQUESTS: list[dict[str, Any]] = [
    {"type": "session.update", "session": TEXT_SESSION},
    {"type": "conversation.item.create", "item": text_item("Hello?")},
    {"type": "response.create"},
]


@pytest.fixture
def server() -> Any:
    """A server that answers in text."""
    with ScriptedServer(TEXT, speed=SPEED) as running:
        yield running


def connecting(client: Any) -> Any:
    """The client's connection manager."""
    return client.realtime.connect(model="gpt-realtime")


# --- ten at once ------------------------------------------------------------------------------------

VOICES = [
    talking.scenario(Answer(text=f"Number {n}.", pcm=tone(2000, 300 + 40 * n))) for n in range(10)
]


async def _ten_async(url: str) -> None:
    await asyncio.gather(*(talking.one_turn(url, tone(600, 200 + n), SPOKEN_S) for n in range(10)))


def _ten_sync(url: str) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(
            pool.map(lambda n: talking.one_turn_sync(url, tone(600, 200 + n), SPOKEN_S), range(10))
        )


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_ten_conversations_at_once(kind: str, sandbox: Sandbox, traces: Traces) -> None:
    """Each has its own whole trace, thread and recording, with nothing of another's in it."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(VOICES, speed=SPEED) as server:
        if kind == "async":
            asyncio.run(_ten_async(server.url))
        else:
            _ten_sync(server.url)
        assert otel_realtime.flush(20)
        by_session = {one.session.session["id"]: one for one in server.connections}
    assert [] == sandbox.violations()
    assert 10 == len(sandbox.conversations())
    assert 10 == len({one["thread_id"] for one in sandbox.conversations()})
    roots = {facts(root)["otel_realtime.openai_session_id"]: root for root in traces.roots}
    assert by_session.keys() == roots.keys()
    for session_id, connection in by_session.items():
        assert roots[session_id].context is not None
        spans = traces.of(f"{roots[session_id].context.trace_id:032x}")
        conversation = arrived(sandbox, spans)
        assert _expected(connection) == _events(spans)
        _check_sound(sandbox, conversation["id"], connection, by_session)


def _expected(connection: Connection) -> list[str]:
    """Ids of the structural events up to the hang-up after the answer."""
    kept = [event for event in connection.sent if not event["type"].endswith(".delta")]
    last = [event["type"] for event in kept].index("response.done")
    return [event["event_id"] for event in kept[: last + 1]]


def _events(spans: Any) -> list[str]:
    return [
        facts(span)["otel_realtime.event.id"]
        for span in spans
        if "otel_realtime.event.id" in facts(span)
    ]


def _check_sound(sandbox: Sandbox, run: str, connection: Connection, everyone: Any) -> None:
    user, agent = samples(sandbox.recording(run))
    number = list(everyone.values()).index(connection)
    said = talking.pcm(VOICES[number].answers[0].pcm)
    # On a busy machine a delta or a frame may come late, which opens a gap; nothing else may differ.
    heard = np.concatenate([agent[first:after] for first, after in stretches(agent)])
    assert np.array_equal(said[: heard.size], heard)
    spoken = np.concatenate([user[first:after] for first, after in stretches(user)])
    questions = [talking.pcm(tone(600, 200 + n)) for n in range(10)]
    assert 1 == sum(np.array_equal(question[question != 0], spoken) for question in questions)


# --- however events are consumed ----------------------------------------------------------------------


async def _for(rt: Any) -> None:
    async for event in rt:
        if event.type == "response.done":
            return


async def _recv(rt: Any) -> None:
    while (await rt.recv()).type != "response.done":
        pass


async def _recv_bytes(rt: Any) -> None:
    while rt.parse_event(await rt.recv_bytes()).type != "response.done":
        pass


async def _dispatch(rt: Any) -> None:
    done = asyncio.Event()
    rt.on("response.done", lambda event: done.set())
    task = asyncio.ensure_future(rt.dispatch_events())
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("consume", [_for, _recv, _recv_bytes, _dispatch])
def test_the_async_client(
    consume: Callable[[Any], Awaitable[None]], server: ScriptedServer, traces: Traces
) -> None:
    """Every way to receive of the asynchronous client gives the same tree."""

    async def talk() -> None:
        async with client_of(server.url) as client, connecting(client) as rt:
            for request in REQUESTS:
                await rt.send(request)
            await consume(rt)

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert TEXT_TREE == outline(traces.spans)


def test_the_sync_client(server: ScriptedServer, traces: Traces) -> None:
    """The synchronous client gives the same tree."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with sync_client_of(server.url) as client, connecting(client) as rt:
        for request in REQUESTS:
            rt.send(request)
        for event in rt:
            if event.type == "response.done":
                break
    assert TEXT_TREE == outline(traces.spans)


def test_requests_before_the_connection(server: ScriptedServer, traces: Traces) -> None:
    """What the manager sends before there is a socket belongs to the conversation."""

    async def talk() -> None:
        async with client_of(server.url) as client:
            manager = connecting(client)
            for request in REQUESTS:
                manager.send(request)
            async with manager as rt:
                await _for(rt)

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert TEXT_TREE == outline(traces.spans)


def test_a_bare_websocket(server: ScriptedServer, traces: Traces) -> None:
    """An app without the SDK gives the same tree."""

    async def talk() -> None:
        async with connect(server.url + "/realtime?model=gpt-realtime") as socket:
            for request in REQUESTS:
                await socket.send(json.dumps(request))
            async for frame in socket:
                if json.loads(frame)["type"] == "response.done":
                    return

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert TEXT_TREE == outline(traces.spans)


def test_a_bare_sync_websocket(server: ScriptedServer, traces: Traces) -> None:
    """The same for a blocking one."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with connect_sync(server.url + "/realtime?model=gpt-realtime") as socket:
        for request in REQUESTS:
            socket.send(json.dumps(request))
        for frame in socket:
            if json.loads(frame)["type"] == "response.done":
                break
    assert TEXT_TREE == outline(traces.spans)


# --- announced, or not --------------------------------------------------------------------------------


async def _chat(rt: Any) -> None:
    for request in REQUESTS:
        await rt.send(request)
    await _for(rt)


def test_conversation_without_instrument(
    server: ScriptedServer, sandbox: Sandbox, traces: Traces
) -> None:
    """``conversation(connection)`` needs nothing else; its ids are there on the block's first line."""
    ids: dict[str, Any] = {}

    async def talk() -> None:
        async with client_of(server.url) as client, connecting(client) as rt:
            with otel_realtime.conversation(
                rt, thread_id="t-1", metadata={"plan": "pro"}, tracer_provider=traces.provider
            ) as call:
                ids.update(trace=call.trace_id, run=call.langsmith_run_id, thread=call.thread_id)
                await _chat(rt)

    asyncio.run(talk())
    assert otel_realtime.flush(20)
    conversation = arrived(sandbox, traces.spans)
    assert TEXT_TREE == outline(traces.spans)
    context = traces.root.context
    assert context is not None
    assert {
        "trace": f"{context.trace_id:032x}",
        "run": run_id(context.span_id),
        "thread": "t-1",
    } == ids
    assert "pro" == conversation["root"]["metadata"]["plan"]
    assert "t-1" == facts(traces.root)["gen_ai.conversation.id"]


def test_both_are_one_conversation(
    server: ScriptedServer, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """On a connection that is instrumented, ``conversation`` is the same one and says who it is."""

    async def talk() -> None:
        async with client_of(server.url) as client, connecting(client) as rt:
            async with otel_realtime.conversation(rt, thread_id="t-2", tags=["x"]) as call:
                await _chat(rt)
                assert otel_realtime.current_conversation() is call

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert TEXT_TREE == outline(traces.spans)
    assert ("t-2", "x") == (
        facts(traces.root)["otel_realtime.thread_id"],
        facts(traces.root)["langsmith.span.tags"],
    )
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_announced_late(
    server: ScriptedServer, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """After the first event metadata and tags still apply; the thread does not, said once."""

    async def talk() -> None:
        async with client_of(server.url) as client, connecting(client) as rt:
            await rt.recv()
            early = otel_realtime.current_conversation()
            with otel_realtime.conversation(
                rt, thread_id="late", metadata={"plan": "pro"}, tags=["y"]
            ) as call:
                assert early is call
                await _chat(rt)

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert TEXT_TREE == outline(traces.spans)
    root = facts(traces.root)
    assert ("pro", "y") == (root["otel_realtime.metadata.plan"], root["langsmith.span.tags"])
    assert "late" != root["otel_realtime.thread_id"]
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "ignoring thread_id in conversation" in warning.getMessage()


def test_using_reaches_a_connection_of_another_framework(
    server: ScriptedServer, traces: Traces
) -> None:
    """Every connection that is opened inside the block adopts what it says; blocks nest."""
    otel_realtime.instrument(tracer_provider=traces.provider)

    async def talk() -> None:
        async with client_of(server.url) as client:
            with otel_realtime.using(metadata={"tenant": 7}, tags=["outer"]):
                with otel_realtime.using(thread_id="t-3", tags=["inner"]):
                    manager = connecting(client)
                    rt = await manager.enter()
                await _chat(rt)  # outside of the inner block
                await rt.close()
            async with connecting(client) as rt:
                await _chat(rt)

    asyncio.run(talk())
    first, second = (facts(root) for root in traces.roots)
    assert ("t-3", 7, "outer,inner") == (
        first["otel_realtime.thread_id"],
        first["otel_realtime.metadata.tenant"],
        first["langsmith.span.tags"],
    )
    assert ("otel_realtime.metadata.tenant" in second, "langsmith.span.tags" in second) == (
        False,
        False,
    )


def test_after_uninstrument_nothing_is_traced(server: ScriptedServer, traces: Traces) -> None:
    """``uninstrument`` ends what is open and leaves new connections alone."""

    async def talk() -> None:
        async with client_of(server.url) as client, connecting(client) as rt:
            await rt.recv()
            otel_realtime.uninstrument()
            await _chat(rt)
        async with client_of(server.url) as client, connecting(client) as rt:
            await _chat(rt)
            assert "recv" not in vars(rt._connection)

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talk())
    assert ["realtime_session", "  session.created"] == outline(traces.spans)


def test_a_new_trace_linked_both_ways(server: ScriptedServer, traces: Traces) -> None:
    """The conversation has a trace of its own; it and the request that opened it point at each other."""
    otel_realtime.instrument(tracer_provider=traces.provider)

    async def talk() -> None:
        async with client_of(server.url) as client:
            with traces.tracer.start_as_current_span("request"):
                async with connecting(client) as rt:
                    await _chat(rt)

    asyncio.run(talk())
    request, root = traces.one("request"), traces.root
    assert (None, [request.context], [root.context]) == (
        root.parent,
        [link.context for link in root.links],
        [link.context for link in request.links],
    )
    assert request.context is not None
    assert f"{request.context.span_id:016x}" == facts(root)["otel_realtime.parent_span_id"]
