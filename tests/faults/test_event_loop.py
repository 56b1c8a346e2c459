"""Nothing blocks the app's event loop: everything an app does there, under BlockBuster.

``langgraph dev`` and many test suites run an app that way: whatever could block raises.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import httpx_ws
import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from openai import AsyncOpenAI
from opentelemetry import trace
from websockets.asyncio.client import connect as websocket

import otel_realtime
from otel_realtime import diagnostics, langsmith_compat
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.fault_server import FaultServer, refusing
from tests.support.handmade_call import MESSAGES
from tests.support.readme import run, snippet
from tests.support.traces import Traces, facts, run_of

App = Callable[[str], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _no_fault() -> Iterator[None]:
    """A blocking call of ours would be swallowed by our own wall: it counts as a fault."""
    yield
    assert {} == diagnostics.faults()


def guarded(app: Coroutine[Any, Any, None]) -> None:
    """Run an app on an event loop on which nothing below our package may block."""

    async def main() -> None:
        # The sandbox stands for a server elsewhere: it is in this process for the test only.
        with blockbuster_ctx("otel_realtime", excluded_modules=["otel_realtime.sandbox"]):
            await app

    asyncio.run(main())


def delivered(traces: Traces, sandbox: Sandbox) -> dict[str, Any]:
    """The root's metadata in LangSmith, once everything has arrived."""
    assert otel_realtime.flush(20)
    assert not PROCESS.live
    root = traces.root
    assert root.end_time is not None
    found = sandbox.conversation(run_of(root))
    assert found is not None
    [run] = [run for run in found["runs"] if run["parent_id"] is None]
    assert run["end_ns"] is not None
    metadata: dict[str, Any] = run["metadata"]
    return metadata


def test_a_call_by_the_sdk(traces: Traces, sandbox: Sandbox) -> None:
    """Handshake, tools, barge-in and hang-up; the root ends and the recording is attached."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server:
        guarded(talking.weather_call(server.url))
    metadata = delivered(traces, sandbox)
    assert "attached" == metadata["ls_audio_attach_status"]
    assert metadata["user_talk_s"] > 0
    assert metadata["turns"] == facts(traces.root)["otel_realtime.turns"]


def test_the_lifespan_of_the_readme(
    traces: Traces, sandbox: Sandbox, process: pytest.MonkeyPatch
) -> None:
    """A server's whole life, with one call that ends by itself and one that is live when it stops."""
    process.setattr(trace, "_TRACER_PROVIDER", traces.provider)
    names = run(snippet("lifespan"))

    async def app(url: str) -> None:
        async with names["lifespan"](names["app"]):
            await talking.weather_call(url)
            connection = await talking.client_of(url).realtime.connect(model="m").enter()
            await connection.recv()

    with ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server:
        guarded(app(server.url))
    assert 2 == len([root for root in traces.roots if root.end_time is not None])
    listed = sandbox.conversations()
    assert ["success"] * 2 == [one["status"] for one in listed]
    assert [False, True] == sorted(one["has_recording"] for one in listed)


async def by_aiohttp(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url.replace("ws://", "http://") + "/realtime?model=m") as ws,
    ):
        await ws.send_str(json.dumps({"type": "response.create"}))
        await ws.receive()


async def by_websockets(url: str) -> None:
    async with websocket(url + "/realtime?model=m") as ws:
        await ws.recv()


async def by_the_legacy_client(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        legacy = import_module("websockets.legacy.client")
    async with legacy.connect(url + "/realtime?model=m") as ws:
        await ws.recv()


async def by_httpx_ws(url: str) -> None:
    address = url.replace("ws://", "http://") + "/realtime?model=m"
    async with httpx_ws.aconnect_ws(address) as ws:
        await ws.send_text(json.dumps({"type": "response.create"}))
        await ws.receive_text()


async def wrapped(url: str) -> None:
    async with (
        AsyncOpenAI(api_key="k", websocket_base_url=url) as client,
        client.realtime.connect(model="m") as raw,
        langsmith_compat.wrap_realtime(raw) as connection,
    ):
        await connection.recv()


async def one_after_the_other(url: str) -> None:
    with otel_realtime.using(thread_id="t"):
        for _ in range(2):
            await by_websockets(url)
        call = otel_realtime.current_conversation()
        assert call is not None
        assert call.thread_id == "t"


async def attached(url: str) -> None:
    async with otel_realtime.conversation(thread_id="t") as call:
        async with websocket(url + "/realtime?model=m") as ws:
            call.attach(ws)
            await ws.recv()


async def announced(url: str) -> None:
    async with websocket(url + "/realtime?model=m") as ws:
        async with otel_realtime.conversation(ws, thread_id="t") as call:
            await ws.recv()
            call.add_tags("late")


async def abandoned(url: str) -> None:
    async with AsyncOpenAI(api_key="k", websocket_base_url=url) as client:
        async with client.realtime.connect(model="m") as connection:
            await connection.recv()
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    "app",
    [
        by_aiohttp, by_websockets, by_the_legacy_client, by_httpx_ws, wrapped, one_after_the_other,
        attached, announced, abandoned,
    ],
)  # fmt: skip
def test_other_ways_in(app: App, traces: Traces, sandbox: Sandbox) -> None:
    """Every transport, a wrapped one, two sockets of one call, an announced call, a cancelled one."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server:
        try:
            guarded(app(server.url))
        except asyncio.CancelledError:
            pass
    assert "realtime_session" == traces.root.name
    delivered(traces, sandbox)


EARLY = """
import asyncio
from blockbuster import blockbuster_ctx
import otel_realtime
from otel_realtime import diagnostics
from tests.support.traces import Traces

traces = Traces()

async def app():
    with blockbuster_ctx("otel_realtime"):
        otel_realtime.instrument(tracer_provider=traces.provider)
        await asyncio.sleep(float({after_s}))
        async with otel_realtime.conversation() as call:
            call.received({{"type": "session.created", "session": {{}}}})

asyncio.run(app())
assert {{}} == diagnostics.faults()
assert {{"session.created", "realtime_session"}} == {{span.name for span in traces.spans}}
"""


@pytest.mark.parametrize("after_s", [0.0, 0.1])
def test_a_call_right_after_the_set_up(after_s: float) -> None:
    """What it needs is being imported on another thread, for whose lock nothing may wait here."""
    program = [sys.executable, "-c", EARLY.format(after_s=after_s)]
    subprocess.run(program, cwd=Path(__file__).parents[2], check=True, timeout=60)


def test_a_refused_handshake(traces: Traces, sandbox: Sandbox) -> None:
    """The root says so, and ends."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with FaultServer(refusing(401)) as server, pytest.raises(Exception, match="401"):
        guarded(by_websockets(server.url))
    assert "401" == facts(traces.root)["error.type"]


async def every_public_call(traces: Traces, *, open_for_s: float) -> None:
    """What ``Conversation`` offers, each once."""
    tone = np.full(2_400, 8_000, np.int16)
    async with otel_realtime.conversation(
        tracer_provider=traces.provider, thread_id="t", metadata={"a": 1}, tags=["b"]
    ) as call:
        for direction, message in MESSAGES:
            (call.received if direction == "r" else call.sent)(message)
            await asyncio.sleep(0)
        with call.tool("call_1", arguments="{}"):
            await asyncio.sleep(0)
        with call.pause_recording():
            call.record_user_audio(tone.tobytes())
        call.record_agent_audio(tone, item_id="item_2")
        call.played("item_2", 0, 50)
        call.redact_audio(0, 20)
        call.set_metadata(c=2)
        call.add_tags("d")
        _ = (call.thread_id, call.trace_id, call.langsmith_run_id, call.langsmith_url)
        assert otel_realtime.current_conversation() is call
        await asyncio.sleep(open_for_s)


@pytest.mark.parametrize("open_for_s", [0.0, 0.2])
def test_every_public_call(traces: Traces, sandbox: Sandbox, open_for_s: float) -> None:
    """Also right after the start, when the writer has not even made the folder."""
    guarded(every_public_call(traces, open_for_s=open_for_s))
    metadata = delivered(traces, sandbox)
    assert "attached" == metadata["ls_audio_attach_status"]
    assert 2 == metadata["c"]


def test_the_close_waits_for_nobody(
    traces: Traces, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that hangs on its disk costs the loop nothing; what it knew goes into the patch."""
    import threading

    from otel_realtime.state import journal

    goes_on = threading.Event()
    write = journal.Folder.write

    def hanging(self: journal.Folder, *given: Any) -> None:
        goes_on.wait(10)
        write(self, *given)

    monkeypatch.setattr(journal.Folder, "write", hanging)
    gaps: list[float] = []

    async def app() -> None:
        loop = asyncio.get_running_loop()
        call = otel_realtime.conversation(tracer_provider=traces.provider)
        opened = call.__enter__()
        for direction, message in MESSAGES:
            (opened.received if direction == "r" else opened.sent)(message)
        await asyncio.sleep(0.1)
        started = loop.time()
        call.__exit__(None, None, None)
        gaps.append(loop.time() - started)

    guarded(app())
    assert traces.root.end_time is not None
    goes_on.set()
    metadata = delivered(traces, sandbox)
    assert "attached" == metadata["ls_audio_attach_status"]
    assert gaps[0] < 0.1
