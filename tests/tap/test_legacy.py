"""The legacy client of `websockets`: `websockets.connect` up to 13, `websockets.legacy` later."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from otel_realtime import tap
from otel_realtime.tap import Close
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.waiting import wait_for
from tests.tap.recording import RecordingObserver
from tests.tap.versions import WEBSOCKETS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    legacy = pytest.importorskip("websockets.legacy.client", exc_type=ImportError)

FRAMES = [json.dumps({"type": "session.created", "n": number}) for number in range(27)]
SECRET = {"Authorization": "Bearer sk-secret"}
Use = Callable[[Any], Awaitable[Any]]


def _script(peer: Peer) -> None:
    peer.recv()
    peer.send(*FRAMES)
    peer.close(1000, "that is all")


def _call(server: ReplayServer, use: Use, path: str = "/realtime?model=m&api-key=secret") -> Any:
    async def run() -> Any:
        async with legacy.connect(server.url + path, extra_headers=SECRET) as socket:
            return await use(socket)

    return asyncio.run(run())


async def _iterate(socket: Any) -> list[Any]:
    await socket.send("hello")
    return [message async for message in socket]


async def _recv(socket: Any) -> list[Any]:
    await socket.send("hello")
    got = []
    try:
        while True:
            got.append(await socket.recv())
    except ConnectionClosed:
        return got


@pytest.mark.skipif(WEBSOCKETS > 13, reason="`connect` is the new client")
def test_the_door_of_version_13_is_the_legacy_client() -> None:
    """What Twilio's published sample imports is what is tapped here."""
    assert legacy.connect is websockets.connect


@pytest.mark.parametrize("use", [_iterate, _recv])
def test_each_frame_passes_once(observer: RecordingObserver, use: Use) -> None:
    """However the app reads; the handshake tells no header."""
    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
        assert ["Bearer sk-secret"] == server.peers[0].headers.get_all("Authorization")
    sink = observer.sink
    assert FRAMES == sink.received_frames
    assert ["hello"] == server.received == sink.sent_frames
    assert len(FRAMES) + 1 == sink.asked
    expected = Close(
        received_code=1000, received_reason="that is all", sent_code=1000, by_client=False
    )
    assert [expected] == sink.closes
    (handshake,) = observer.handshakes
    assert (handshake.path, handshake.query) == ("/v1/realtime", {"model": "m"})
    assert (handshake.host, handshake.port) == ("127.0.0.1", server.port)


def test_the_end_is_seen_in_the_task_that_receives(observer: RecordingObserver) -> None:
    """Although the library knows of the loss before ``recv`` raises."""

    async def use(socket: Any) -> bool:
        observer.sink.teller = asyncio.current_task
        await _recv(socket)
        return observer.sink.closed_in == [asyncio.current_task()]

    with ReplayServer(_script) as server:
        assert _call(server, use)


def test_the_apps_close_is_told(observer: RecordingObserver) -> None:
    """With both codes, before ``close`` returns."""

    async def use(socket: Any) -> int:
        await socket.close(1001, "bye")
        return len(observer.sink.closes)

    with ReplayServer() as server:
        assert 1 == _call(server, use)
    (close,) = observer.sink.closes
    assert (1001, "bye", 1001) == (close.received_code, close.received_reason, close.sent_code)
    assert (True, None) == (close.by_client, close.error)


def test_the_exception_of_the_block_is_told(observer: RecordingObserver) -> None:
    """And passes through."""

    async def use(socket: Any) -> None:
        raise ValueError("the app's")

    with ReplayServer() as server, pytest.raises(ValueError, match="the app's"):
        _call(server, use)
    (close,) = observer.sink.closes
    assert isinstance(close.error, ValueError)


@pytest.mark.parametrize("reads", [True, False])
def test_a_lost_connection_ends_it(observer: RecordingObserver, reads: bool) -> None:
    """A reset, seen by a reader or by nobody."""

    async def use(socket: Any) -> None:
        await socket.send("hello")
        if reads:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        await asyncio.to_thread(wait_for, lambda: observer.sink.closes, "end", every_s=0.005)

    def vanish(peer: Peer) -> None:
        peer.recv()
        peer.drop()

    with ReplayServer(vanish) as server:
        _call(server, use)
    (close,) = observer.sink.closes
    assert (None, False) == (close.received_code, close.by_client)


def test_every_form_of_message_is_reported_whole(observer: RecordingObserver) -> None:
    """Text and buffers; fragments reach the server unconsumed."""

    async def use(socket: Any) -> None:
        for message in ("text", b"bytes", bytearray(b"array"), iter(["a", "b"])):
            await socket.send(message)

    with ReplayServer() as server:
        _call(server, use)
        server.wait(lambda: len(server.received) == 4)
    assert ["text", b"bytes", b"array", "ab"] == server.received
    assert ["text", b"bytes", b"array"] == observer.sink.sent_frames


def test_recv_may_answer_none_at_the_end(observer: RecordingObserver) -> None:
    """An app of long ago asks for that by ``legacy_recv``."""

    async def run(url: str) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            socket = await legacy.connect(url + "/realtime", legacy_recv=True)
        await socket.send("hello")
        return [await socket.recv() for _ in range(len(FRAMES) + 1)]

    with ReplayServer(_script) as server:
        assert [*FRAMES, None] == asyncio.run(run(server.url))
    assert FRAMES == observer.sink.received_frames
    assert 1 == len(observer.sink.closes)


def test_a_refused_handshake_is_told(observer: RecordingObserver) -> None:
    """With its status; the app's exception is its own."""
    with ReplayServer(refuse=401) as server, pytest.raises(Exception, match="401") as caught:
        _call(server, _iterate)
    (refusal,) = observer.refusals
    assert (401, caught.value, "/v1/realtime") == (refusal.status, refusal.error, refusal.path)


def test_a_redirect_that_the_client_follows_is_no_refusal(observer: RecordingObserver) -> None:
    """The handshake that succeeds opens the conversation."""
    with ReplayServer(_script) as target:
        with ReplayServer(refuse=307, location=target.url + "/realtime?model=m") as server:
            assert FRAMES == _call(server, _iterate)
    assert [] == observer.refusals
    assert FRAMES == observer.sink.received_frames


def test_other_sockets_are_left_alone(observer: RecordingObserver) -> None:
    """Paths that are none of ours, and everything after ``uninstall``."""
    with ReplayServer(_script) as server:
        _call(server, _iterate, "/chat")
        tap.uninstall()
        _call(server, _iterate)
    assert [] == observer.sinks


def test_an_open_socket_can_be_attached() -> None:
    """Without ``install``; the second time the sink is the same."""
    observer, sinks = RecordingObserver(), []

    async def use(socket: Any) -> list[Any]:
        sinks.extend(tap.attach(socket, observer) for _ in range(2))
        return await _iterate(socket)

    with ReplayServer(_script) as server:
        assert FRAMES == _call(server, use)
    assert [observer.sink] * 2 == sinks
    assert FRAMES == observer.sink.received_frames
    assert {"model": "m"} == observer.handshakes[0].query
