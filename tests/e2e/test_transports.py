"""Every client library gives the same trace of the same conversation, with no code in the app."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.sync.client import connect as sync_connect

import otel_realtime
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.e2e.test_ways_in import REQUESTS, TEXT, TEXT_TREE
from tests.support import talking
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.talking import SPEED, tone
from tests.support.traces import Traces, arrived, facts, outline, samples, stretches

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    legacy = pytest.importorskip("websockets.legacy.client", exc_type=ImportError)

httpx_ws = pytest.importorskip("httpx_ws")
websocket = pytest.importorskip("websocket")

FRAMES = [json.dumps(request) for request in REQUESTS]
QUERY = "/realtime?model=gpt-realtime"
CREATED = {"type": "session.created", "event_id": "e1", "session": {"id": "s1", "model": "m"}}


def _is_last(frame: str | bytes) -> bool:
    return json.loads(frame)["type"] == "response.done"


def _websockets(url: str, frames: list[str]) -> None:
    async def run() -> None:
        async with connect(url + QUERY, max_size=None) as socket:
            for frame in frames:
                await socket.send(frame)
            async for frame in socket:
                if _is_last(frame):
                    return

    asyncio.run(run())


def _sync_websockets(url: str, frames: list[str]) -> None:
    with sync_connect(url + QUERY, max_size=None) as socket:
        for frame in frames:
            socket.send(frame)
        for received in socket:
            if _is_last(received):
                return


def _legacy(url: str, frames: list[str]) -> None:
    async def run() -> None:
        async with legacy.connect(url + QUERY, extra_headers={"x": "y"}, max_size=None) as socket:
            for frame in frames:
                await socket.send(frame)
            async for frame in socket:
                if _is_last(frame):
                    return

    asyncio.run(run())


def _aiohttp(url: str, frames: list[str]) -> None:
    async def run() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url.replace("ws", "http", 1) + QUERY, max_msg_size=0) as socket,
        ):
            for frame in frames:
                await socket.send_str(frame)
            async for message in socket:
                if _is_last(message.data):
                    return

    asyncio.run(run())


def _websocket_client(url: str, frames: list[str]) -> None:
    with closing(websocket.create_connection(url + QUERY)) as socket:
        for frame in frames:
            socket.send(frame)
        while not _is_last(socket.recv()):
            pass


def _websocket_app(url: str, frames: list[str]) -> None:
    def on_message(app: Any, message: str) -> None:
        if _is_last(message):
            app.close()

    def on_open(app: Any) -> None:
        for frame in frames:
            app.send(frame)

    websocket.WebSocketApp(url + QUERY, on_open=on_open, on_message=on_message).run_forever()


def _sync_httpx_ws(url: str, frames: list[str]) -> None:
    with httpx_ws.connect_ws(url.replace("ws", "http", 1) + QUERY) as session:
        for frame in frames:
            session.send_text(frame)
        while not _is_last(session.receive_text()):
            pass


def _httpx_ws(url: str, frames: list[str]) -> None:
    async def run() -> None:
        async with httpx_ws.aconnect_ws(url.replace("ws", "http", 1) + QUERY) as session:
            for frame in frames:
                await session.send_text(frame)
            while not _is_last(await session.receive_text()):
                pass

    asyncio.run(run())


CLIENTS = [
    _websockets,
    _sync_websockets,
    _legacy,
    _aiohttp,
    _websocket_client,
    _websocket_app,
    _sync_httpx_ws,
    _httpx_ws,
]
Client = Callable[[str, list[str]], None]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_typed_question(client: Client, sandbox: Sandbox, traces: Traces) -> None:
    """One root, every event once, ended without an error."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(TEXT, speed=SPEED) as server:
        client(server.url, FRAMES)
    assert TEXT_TREE == outline(traces.spans)
    assert traces.root.status.is_unset
    assert otel_realtime.flush(20)
    assert "success" == arrived(sandbox, traces.spans)["status"]


@pytest.mark.parametrize("client", [_legacy, _websocket_client, _sync_httpx_ws, _httpx_ws])
def test_a_spoken_answer_is_recorded(client: Client, sandbox: Sandbox, traces: Traces) -> None:
    """Bit for bit, though frames of these libraries come as text or as bytes."""
    voice = tone(400)
    spoken = talking.scenario(Answer(text="Hello you.", pcm=voice), answer_delay_ms=0)
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(spoken, speed=SPEED) as server:
        client(server.url, FRAMES[1:])
    assert otel_realtime.flush(20)
    conversation = arrived(sandbox, traces.spans)
    _, agent = samples(sandbox.recording(conversation["id"]))
    heard = b"".join(agent[first:after].tobytes() for first, after in stretches(agent))
    said = talking.pcm(voice).tobytes()
    assert said[: len(heard)] == heard
    assert heard


def test_the_callback_of_an_app_is_its_handling(traces: Traces) -> None:
    """Spans that it makes nest below the event, whose span ends as it returns."""

    def script(peer: Peer) -> None:
        peer.send(CREATED)
        peer.recv()
        time.sleep(0.5)
        peer.close()

    def on_message(app: Any, message: str) -> None:
        with traces.tracer.start_as_current_span("mine"):
            app.send(json.dumps({"type": "input_audio_buffer.clear"}))
        assert otel_realtime.current_conversation() is not None

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer(script) as server:
        websocket.WebSocketApp(server.url + QUERY, on_message=on_message).run_forever()
    assert ["realtime_session", "  session.created", "    mine"] == outline(traces.spans)
    event = traces.one("session.created")
    assert event.end_time is not None
    assert event.start_time is not None
    assert (event.end_time - event.start_time) / 1e9 < 0.4


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_handshake(client: Client, traces: Traces) -> None:
    """Is a root with the status, and nothing else."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer(refuse=401) as server:
        with suppress(Exception):  # a ``WebSocketApp`` tells its ``on_error`` instead
            client(server.url, FRAMES)
    assert ["realtime_session"] == outline(traces.spans)
    assert "401" == facts(traces.root)["error.type"]
