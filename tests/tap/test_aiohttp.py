"""Client websockets of aiohttp: every frame once, both ways, and how the connection ended."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from otel_realtime import tap
from otel_realtime.tap import Close
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.waiting import wait_for
from tests.tap.recording import RecordingObserver

FRAMES = [json.dumps({"type": "session.created", "n": number}) for number in range(27)]
CLEAR = {"type": "input_audio_buffer.clear"}
Socket = aiohttp.ClientWebSocketResponse
Use = Callable[[Socket], Awaitable[int]]


def _script(peer: Peer) -> None:
    """Say everything once the client has said something, then close."""
    peer.recv()
    peer.send(*FRAMES)
    peer.close(1000, "that is all")


def _call(server: ReplayServer, use: Use, path: str = "/realtime?model=m&api-key=secret") -> int:
    async def run() -> int:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(server.url.replace("ws", "http", 1) + path) as socket:
                return await use(socket)

    return asyncio.run(run())


async def _iterate(socket: Socket) -> int:
    await socket.send_json(CLEAR)
    return len([message async for message in socket])


async def _receive(socket: Socket) -> int:
    await socket.send_str(json.dumps(CLEAR))
    count = 0
    while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        count += 1
    return count


async def _receive_json(socket: Socket) -> int:
    await socket.send_bytes(json.dumps(CLEAR).encode())
    return len([await socket.receive_json() for _ in FRAMES])


@pytest.mark.parametrize("use", [_iterate, _receive, _receive_json])
def test_each_frame_passes_once(observer: RecordingObserver, use: Use) -> None:
    """However the app reads and writes."""
    with ReplayServer(_script) as server:
        assert len(FRAMES) == _call(server, use)
    assert FRAMES == observer.sink.received_frames
    (sent,) = observer.sink.sent_frames
    assert json.loads(sent) == CLEAR
    assert len(observer.sink.closes) == 1
    handshake = observer.handshakes[0]
    assert (handshake.path, handshake.query) == ("/v1/realtime", {"model": "m"})
    assert (handshake.host, handshake.port) == ("127.0.0.1", server.port)


def test_the_servers_close_is_told_with_its_reason(observer: RecordingObserver) -> None:
    """Where the app reads it."""
    with ReplayServer(_script) as server:
        _call(server, _iterate)
    expected = Close(
        received_code=1000, received_reason="that is all", sent_code=1000, by_client=False
    )
    assert [expected] == observer.sink.closes


def test_the_apps_close_is_told(observer: RecordingObserver) -> None:
    """Also while another task waits in ``receive``."""

    async def use(socket: Socket) -> int:
        waiting = asyncio.ensure_future(socket.receive())
        await asyncio.sleep(0)
        await socket.close(code=1001)
        await waiting
        return 0

    with ReplayServer() as server:
        _call(server, use)
    (close,) = observer.sink.closes
    assert (close.by_client, close.sent_code, close.received_code) == (True, 1001, 1001)


def test_the_exception_of_the_block_is_told(observer: RecordingObserver) -> None:
    """And passes through."""

    async def use(socket: Socket) -> int:
        raise ValueError("the app's")

    with ReplayServer() as server, pytest.raises(ValueError, match="the app's"):
        _call(server, use)
    (close,) = observer.sink.closes
    assert isinstance(close.error, ValueError)


def test_a_lost_connection_ends_it(observer: RecordingObserver) -> None:
    """A reset, seen by a reader or by nobody."""

    async def reads(socket: Socket) -> int:
        await socket.send_json(CLEAR)
        await socket.receive()
        return 0

    async def does_not_read(socket: Socket) -> int:
        await socket.send_json(CLEAR)
        await asyncio.to_thread(wait_for, lambda: observer.sinks[-1].closes, "end", every_s=0.005)
        return 0

    def vanish(peer: Peer) -> None:
        peer.recv()
        peer.drop()

    for use in (reads, does_not_read):
        with ReplayServer(vanish) as server:
            _call(server, use)
        (close,) = observer.sinks[-1].closes
        assert (close.received_code, close.by_client) == (None, False)


def test_a_cancelled_receive_loses_nothing(observer: RecordingObserver) -> None:
    """The frame comes with the next call."""

    async def use(socket: Socket) -> int:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.01)
        return await _receive_json(socket)

    with ReplayServer(_script) as server:
        assert len(FRAMES) == _call(server, use)
    assert FRAMES == observer.sink.received_frames


def test_a_refused_handshake_is_told(observer: RecordingObserver) -> None:
    """With its status; the app's exception is its own."""
    with ReplayServer(refuse=401) as server, pytest.raises(aiohttp.WSServerHandshakeError):
        _call(server, _iterate)
    assert [401] == [refusal.status for refusal in observer.refusals]


def test_other_sockets_are_left_alone(observer: RecordingObserver) -> None:
    """Paths that do not end in /realtime, and everything after ``uninstall``."""
    with ReplayServer(_script) as server:
        _call(server, _iterate, "/realtime/v1/websocket")
        tap.uninstall()
        _call(server, _iterate)
    assert [] == observer.sinks


def test_a_socket_that_is_released_is_as_it_was() -> None:
    """The library's own methods are back on it."""
    observer = RecordingObserver(released_after=3)
    tap.install(observer)

    async def use(socket: Socket) -> int:
        count = await _iterate(socket)
        assert "receive" not in vars(socket)
        return count

    with ReplayServer(_script) as server:
        assert len(FRAMES) == _call(server, use)
    assert FRAMES[:3] == observer.sink.received_frames
    assert observer.sink.calls_after_released == 0


def test_an_open_socket_can_be_attached() -> None:
    """Without ``install``; the second time the sink is the same."""
    observer, sinks = RecordingObserver(), []

    async def use(socket: Socket) -> int:
        sinks.extend(tap.attach(socket, observer) for _ in range(2))
        return await _iterate(socket)

    with ReplayServer(_script) as server:
        assert len(FRAMES) == _call(server, use)
    assert [observer.sink] * 2 == sinks
    assert FRAMES == observer.sink.received_frames


def test_nothing_is_needed_of_the_session(observer: RecordingObserver) -> None:
    """A base URL and a relative path."""

    async def run(url: str) -> Any:
        async with aiohttp.ClientSession(url) as session:
            async with session.ws_connect("/v1/realtime") as socket:
                return await _iterate(socket)

    with ReplayServer(_script) as server:
        assert len(FRAMES) == asyncio.run(run(f"http://127.0.0.1:{server.port}"))
    assert FRAMES == observer.sink.received_frames


def test_the_library_may_be_imported_later() -> None:
    """It is not imported for the tap, and tapped when the app does."""
    code = (
        "import sys; from otel_realtime import tap; tap.install(object());"
        "assert 'aiohttp' not in sys.modules;"
        "import aiohttp; print(hasattr(aiohttp.ClientSession._ws_connect, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "True" == done.stdout.strip()
