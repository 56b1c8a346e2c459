"""Bare `websockets` connections, asyncio and threaded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect as sync_connect

from otel_realtime import tap
from tests.support.realtime_server import Peer, ReplayServer
from tests.tap.recording import RecordingObserver, text

FRAMES = [json.dumps({"type": "response.created", "n": n}) for n in range(27)]


def test_a_socket_is_tapped_by_its_path_without_the_query(observer: RecordingObserver) -> None:
    """The observer says which paths are; the query is not asked."""

    async def main(url: str) -> list[bool]:
        tapped = []
        for path in (
            "/v1/realtime",
            "/v1/realtime?model=m",
            "/openai/realtime?api-version=1&deployment=d",
            "/voice-live/realtime",
            "/realtime/v1/websocket",
            "/v1/realtime/translations",
            "/chat?next=/realtime",
            "/v1/notrealtime",
        ):
            async with connect(url + path) as ws:
                tapped.append("recv" in vars(ws))
        return tapped

    with ReplayServer() as server:
        tapped = asyncio.run(main(server.url.removesuffix("/v1")))

    assert tapped == [True, True, True, True, False, False, False, False]


def test_the_handshake_tells_path_and_the_harmless_part_of_the_query(
    observer: RecordingObserver,
) -> None:
    """Of the query only model, deployment, intent, call_id and api-version survive."""

    async def main(url: str) -> None:
        query = (
            "?model=gpt-x&intent=transcription&call_id=rtc_1&api-version=2&api-key=secret&token=s"
        )
        async with connect(url + "/realtime" + query):
            pass

    with ReplayServer() as server:
        asyncio.run(main(server.url))

    (handshake,) = observer.handshakes
    assert handshake.path == "/v1/realtime"
    assert handshake.query == {
        "model": "gpt-x",
        "intent": "transcription",
        "call_id": "rtc_1",
        "api-version": "2",
    }
    assert ("127.0.0.1", server.port) == (handshake.host, handshake.port)
    assert 0 < handshake.started_ns <= time.time_ns()
    assert (handshake.status, handshake.error) == (None, None)


async def _by_iteration(ws: Any) -> list[str]:
    return [text(frame) async for frame in ws]


async def _by_recv(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(await ws.recv()))
    except ConnectionClosedOK:
        return got


async def _by_bytes(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(await ws.recv(decode=False)))
    except ConnectionClosedOK:
        return got


async def _by_wait_for(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(await asyncio.wait_for(ws.recv(), 5)))
    except ConnectionClosedOK:
        return got


async def _by_bound_method(ws: Any) -> list[str]:
    recv, got = ws.recv, []
    try:
        while True:
            got.append(text(await recv()))
    except ConnectionClosedOK:
        return got


@pytest.mark.parametrize(
    "consume", [_by_iteration, _by_recv, _by_bytes, _by_wait_for, _by_bound_method]
)
def test_each_message_is_seen_once_however_it_is_read(
    observer: RecordingObserver, consume: Callable[[Any], Any]
) -> None:
    """The sink sees exactly what the app gets, in order, and each question for the next one."""

    async def main(url: str) -> list[str]:
        async with connect(url + "/realtime") as ws:
            await ws.send("hello")
            result: list[str] = await consume(ws)
            return result

    def script(peer: Peer) -> None:
        peer.recv()
        peer.send(*FRAMES)
        peer.close()

    with ReplayServer(script) as server:
        got = asyncio.run(main(server.url))

    assert got == FRAMES
    assert observer.sink.received_text == FRAMES
    assert len(FRAMES) + 1 == observer.sink.asked
    assert ["hello"] == server.received == observer.sink.sent_frames


def _sync_by_iteration(ws: Any) -> list[str]:
    return [text(frame) for frame in ws]


def _sync_by_recv(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(ws.recv()))
    except ConnectionClosedOK:
        return got


def _sync_with_timeout(ws: Any) -> list[str]:
    got = []
    while True:
        try:
            got.append(text(ws.recv(timeout=0.01)))
        except TimeoutError:
            continue
        except ConnectionClosedOK:
            return got


@pytest.mark.parametrize("consume", [_sync_by_iteration, _sync_by_recv, _sync_with_timeout])
def test_each_message_of_a_sync_socket_is_seen_once(
    observer: RecordingObserver, consume: Callable[[Any], list[str]]
) -> None:
    """The threaded client is tapped like the asyncio one."""

    def script(peer: Peer) -> None:
        peer.recv()
        peer.send(*FRAMES)
        peer.close()

    with ReplayServer(script) as server, sync_connect(server.url + "/realtime") as ws:
        ws.send("hello")
        got = consume(ws)

    assert got == FRAMES
    assert observer.sink.received_text == FRAMES
    assert ["hello"] == server.received == observer.sink.sent_frames


def test_every_form_of_message_is_reported_whole(observer: RecordingObserver) -> None:
    """Text and buffers are reported, as str or bytes; fragments reach the server unconsumed."""

    def fragments() -> Iterator[str]:
        yield from ("a", "b", "c")

    async def later() -> AsyncIterator[bytes]:
        for part in (b"d", b"e"):
            yield part

    async def main(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            messages: list[Any] = ["text", b"bytes", bytearray(b"array"), memoryview(b"view")]
            for message in messages:
                await ws.send(message)
            await ws.send(fragments())
            await ws.send(later())
            await ws.send("again")

    with ReplayServer() as server:
        asyncio.run(main(server.url))
        server.wait(lambda: len(server.received) == 7)

    assert server.received == ["text", b"bytes", b"array", b"view", "abc", b"de", "again"]
    assert observer.sink.sent_frames == ["text", b"bytes", b"array", b"view", "again"]


def test_a_cancelled_recv_loses_nothing(observer: RecordingObserver) -> None:
    """A recv() that was given up is not a message; the next one gets it, and it is seen once."""

    async def main(url: str, go: threading.Event) -> list[str]:
        async with connect(url + "/realtime") as ws:
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(ws.recv(), 0.01)
            task = asyncio.ensure_future(ws.recv())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go.set()
            return [text(frame) async for frame in ws]

    go = threading.Event()

    def script(peer: Peer) -> None:
        go.wait(5)
        peer.send(*FRAMES)
        peer.close()

    with ReplayServer(script) as server:
        got = asyncio.run(main(server.url, go))

    assert FRAMES == got == observer.sink.received_text
    assert len(FRAMES) + 5 == observer.sink.asked


def test_a_declined_socket_is_left_untouched() -> None:
    """Nothing is put on a socket that the observer does not want."""
    observer = RecordingObserver(declines=True)
    tap.install(observer)

    async def main(url: str) -> list[str]:
        async with connect(url + "/realtime") as ws:
            return [name for name in ("recv", "send", "close") if name in vars(ws)]

    with ReplayServer() as server:
        assert asyncio.run(main(server.url)) == []


def test_a_socket_that_is_released_is_as_the_library_made_it() -> None:
    """A GraphQL subscription under /realtime goes on untouched, and its sink hears no more."""
    observer = RecordingObserver(released_after=3)
    tap.install(observer)
    frames = ['{"type":"connection_ack"}'] * 10

    async def main(url: str) -> tuple[list[str], list[str]]:
        async with connect(url + "/realtime") as ws:
            before = set(vars(ws))
            recv = ws.recv  # an app may keep the method
            got = [text(await recv()) for _ in range(5)]
            await ws.send("after")
            got += [text(frame) async for frame in ws]
            left = set(vars(ws))
        return got, sorted(before - left)

    def script(peer: Peer) -> None:
        peer.send(*frames)
        peer.recv()
        peer.close()

    with ReplayServer(script) as server:
        got, restored = asyncio.run(main(server.url))

    assert frames == got
    assert restored == ["_otel_realtime_tap", "close", "recv", "send"]
    assert frames[:3] == observer.sink.received_text
    assert observer.sink.calls_after_released == 0
    assert observer.sink.closes == []


def test_a_sync_socket_that_is_released_is_as_the_library_made_it() -> None:
    """The threaded client is restored in the same way."""
    observer = RecordingObserver(released_after=3)
    tap.install(observer)
    frames = ['{"type":"connection_ack"}'] * 10

    with ReplayServer(frames, close=(1000, "")) as server:
        with sync_connect(server.url + "/realtime") as ws:
            before = set(vars(ws))
            got = [text(frame) for frame in ws]
            restored = sorted(before - set(vars(ws)))

    assert frames == got
    assert restored == ["_otel_realtime_tap", "close", "close_socket", "recv", "send"]
    assert observer.sink.calls_after_released == 0
    assert observer.sink.closes == []


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_refused_handshake_is_told_with_its_status(
    observer: RecordingObserver, status: int
) -> None:
    """The app gets the library's own exception; the observer the status, and no header."""

    async def main(url: str) -> BaseException:
        with pytest.raises(Exception, match=str(status)) as caught:
            await connect(url + "/realtime?model=m", additional_headers={"api-key": "secret"})
        return caught.value

    with ReplayServer(refuse=status) as server:
        error = asyncio.run(main(server.url))

    (refusal,) = observer.refusals
    assert (status, "/v1/realtime", {"model": "m"}) == (
        refusal.status,
        refusal.path,
        refusal.query,
    )
    assert error is refusal.error
    assert "secret" not in repr(refusal)
    assert observer.sinks == []


def test_a_refused_sync_handshake_is_told_with_its_status(observer: RecordingObserver) -> None:
    """The threaded client's refusals are told as well."""
    with ReplayServer(refuse=401) as server:
        with pytest.raises(Exception, match="401") as caught:
            sync_connect(server.url + "/realtime")

    (refusal,) = observer.refusals
    assert (401, caught.value) == (refusal.status, refusal.error)


def test_a_refused_foreign_handshake_is_none_of_ours(observer: RecordingObserver) -> None:
    """Failures elsewhere are not told."""

    async def main(url: str) -> None:
        with pytest.raises(Exception, match="401"):
            await connect(url + "/chat")

    with ReplayServer(refuse=401) as server:
        asyncio.run(main(server.url))

    assert observer.refusals == []


def test_a_redirect_that_the_client_follows_is_no_refusal(observer: RecordingObserver) -> None:
    """The handshake that succeeds opens the conversation."""

    async def main(url: str) -> None:
        async with connect(url + "/realtime"):
            pass

    with ReplayServer() as target:
        with ReplayServer(refuse=307, location=target.url + "/realtime?model=m") as server:
            asyncio.run(main(server.url))

    assert observer.refusals == []
    assert [handshake.query for handshake in observer.handshakes] == [{"model": "m"}]


def test_an_exception_of_recv_is_not_altered(observer: RecordingObserver) -> None:
    """What the app catches is the library's exception with its codes."""

    async def main(url: str) -> ConnectionClosedError:
        async with connect(url + "/realtime") as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            return caught.value

    with ReplayServer([], close=(1011, "boom")) as server:
        error = asyncio.run(main(server.url))

    assert error.rcvd is not None
    assert (error.rcvd.code, error.rcvd.reason) == (1011, "boom")
