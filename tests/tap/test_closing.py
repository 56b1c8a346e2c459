"""How the end of a connection is seen: once, with its codes, in the right task."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as sync_connect

from otel_realtime.tap import Close
from otel_realtime.tap import link as link_module
from tests.support.realtime_server import Peer, ReplayServer
from tests.tap.recording import RecordingObserver, RecordingSink, text
from tests.tap.versions import ga, keeps_unread

FRAMES = [{"type": "session.created"}, {"type": "response.created"}]


def _facts(close: Close) -> tuple[int | None, str, int | None, bool]:
    return close.received_code, close.received_reason, close.sent_code, close.by_client


async def _ended(server: ReplayServer, sink: RecordingSink) -> Close:
    await asyncio.to_thread(server.wait, lambda: sink.closes)
    return sink.closes[0]


def test_the_apps_close_ends_in_its_own_task_with_the_codes(observer: RecordingObserver) -> None:
    """close() returns only after the sink was told, in the task that closed, with both codes."""

    async def main(url: str) -> tuple[bool, int]:
        ws = await connect(url + "/realtime")
        observer.sink.teller = asyncio.current_task
        reader = asyncio.ensure_future(_read_to_the_end(ws))
        await asyncio.sleep(0.01)
        await ws.close(1001, "bye")
        told = len(observer.sink.closes)
        await reader
        await ws.close()
        return observer.sink.closed_in == [asyncio.current_task()], told

    with ReplayServer() as server:
        in_own_task, told = asyncio.run(main(server.url))

    assert told == 1
    assert in_own_task
    assert [_facts(close) for close in observer.sink.closes] == [(1001, "bye", 1001, True)]
    assert observer.sink.closes[0].error is None


async def _read_to_the_end(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(await ws.recv()))
    except ConnectionClosed:
        return got


def test_the_servers_close_ends_in_the_task_that_receives(observer: RecordingObserver) -> None:
    """recv() raising is the end, with the server's code and reason."""

    async def main(url: str) -> bool:
        async with connect(url + "/realtime") as ws:
            observer.sink.teller = asyncio.current_task
            await _read_to_the_end(ws)
            return observer.sink.closed_in == [asyncio.current_task()]

    with ReplayServer(FRAMES, close=(1011, "boom")) as server:
        assert asyncio.run(main(server.url))

    assert [_facts(close) for close in observer.sink.closes] == [(1011, "boom", 1011, False)]
    assert len(FRAMES) == len(observer.sink.received_frames)


def test_a_close_that_nobody_reads_is_seen(observer: RecordingObserver) -> None:
    """The library's own connection_lost ends a conversation that the app neglects."""

    async def main(url: str) -> Close:
        ws = await connect(url + "/realtime")
        close = await _ended(server, observer.sink)
        await ws.close()
        return close

    with ReplayServer([], close=(1000, "done")) as server:
        close = asyncio.run(main(server.url))

    assert _facts(close) == (1000, "done", 1000, False)
    assert len(observer.sink.closes) == 1


@keeps_unread
def test_frames_that_were_received_before_the_close_still_count(
    observer: RecordingObserver,
) -> None:
    """A lost socket is not the end while the app has frames to read."""

    async def main(url: str) -> list[str]:
        ws = await connect(url + "/realtime")
        await ws.recv()
        await ws.wait_closed()
        await asyncio.sleep(0.02)
        assert observer.sink.closes == []
        return await _read_to_the_end(ws)

    with ReplayServer(FRAMES * 5, close=(1000, "")) as server:
        got = asyncio.run(main(server.url))

    assert len(got) == 9
    assert len(observer.sink.received_frames) == 10
    assert len(observer.sink.closes) == 1


@keeps_unread
def test_frames_that_are_never_read_do_not_hold_up_the_end(
    observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while without progress, the end is told all the same."""
    monkeypatch.setattr(link_module, "UNREAD_S", 0.02)

    async def main(url: str) -> Close:
        ws = await connect(url + "/realtime")
        await ws.recv()
        return await _ended(server, observer.sink)

    with ReplayServer(FRAMES * 5, close=(1000, "")) as server:
        assert _facts(asyncio.run(main(server.url))) == (1000, "", 1000, False)


@pytest.mark.parametrize("frames", [[], FRAMES])
def test_a_dropped_connection_has_no_received_code(
    observer: RecordingObserver, frames: list[dict[str, str]]
) -> None:
    """A reset TCP connection ends with no close frame from either side."""

    def script(peer: Peer) -> None:
        peer.send(*frames)
        peer.drop()

    async def main(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            await _read_to_the_end(ws)

    with ReplayServer(script) as server:
        asyncio.run(main(server.url))

    (close,) = observer.sink.closes
    assert _facts(close) == (None, "", None, False)


def test_a_cancelled_close_still_ends_the_conversation(observer: RecordingObserver) -> None:
    """A server that never answers the close frame, and an app that waits no longer."""
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.connection.protocol_mutex.acquire()  # the server reads, but does not answer
        release.wait(5)
        peer.connection.protocol_mutex.release()

    async def main(url: str) -> tuple[bool, list[Close]]:
        ws = await connect(url + "/realtime")
        observer.sink.teller = asyncio.current_task
        await asyncio.sleep(0.02)
        task = asyncio.ensure_future(ws.close())
        await asyncio.sleep(0.02)
        assert observer.sink.closes == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = observer.sink.closed_in == [task], list(observer.sink.closes)
        release.set()
        return result

    with ReplayServer(script) as server:
        in_own_task, closes = asyncio.run(main(server.url))

    assert in_own_task
    assert [_facts(close) for close in closes] == [(None, "", 1000, True)]


class AppError(Exception):
    """Raised by the app in these tests."""


async def _raw(url: str) -> None:
    async with connect(url + "/realtime") as ws:
        await ws.recv()
        raise AppError


async def _raw_socket(url: str) -> None:
    ws = await connect(url + "/realtime")
    async with ws:
        await ws.recv()
        raise AppError


async def _ga(url: str) -> None:
    client = AsyncOpenAI(api_key="x", websocket_base_url=url)
    async with client.realtime.connect(model="m") as connection:
        await connection.recv()
        raise AppError


async def _beta(url: str) -> None:
    client = AsyncOpenAI(api_key="x", websocket_base_url=url)
    async with client.beta.realtime.connect(model="m") as connection:
        await connection.recv()
        raise AppError


async def _sync_raw(url: str) -> None:
    with sync_connect(url + "/realtime") as ws:
        ws.recv()
        raise AppError


async def _sync_ga(url: str) -> None:
    with OpenAI(api_key="x", websocket_base_url=url).realtime.connect(model="m") as connection:
        connection.recv()
        raise AppError


async def _sync_beta(url: str) -> None:
    client = OpenAI(api_key="x", websocket_base_url=url)
    with client.beta.realtime.connect(model="m") as connection:
        connection.recv()
        raise AppError


@pytest.mark.parametrize(
    "app",
    [
        _raw,
        _raw_socket,
        _beta,
        _sync_raw,
        _sync_beta,
        pytest.param(_ga, marks=ga),
        pytest.param(_sync_ga, marks=ga),
    ],
)
def test_the_apps_exception_is_seen_when_it_leaves_the_connections_block(
    observer: RecordingObserver, app: Any
) -> None:
    """Every connection's own with block tells the exception that ended it, and lets it pass."""
    with ReplayServer(FRAMES[:1]) as server:
        with pytest.raises(AppError) as caught:
            asyncio.run(app(server.url))

    (close,) = observer.sink.closes
    assert caught.value is close.error
    assert close.by_client


def test_an_exception_that_the_app_handled_is_no_error(observer: RecordingObserver) -> None:
    """Closing in an except block, or working inside one, is a normal end."""

    async def main(url: str) -> None:
        try:
            raise AppError
        except AppError:
            ws = await connect(url + "/realtime")
            await ws.close()
            async with connect(url + "/realtime"):
                pass
            client = AsyncOpenAI(api_key="x", websocket_base_url=url)
            async with client.beta.realtime.connect(model="m"):
                pass

    with ReplayServer() as server:
        asyncio.run(main(server.url))

    assert [sink.closes[0].error for sink in observer.sinks] == [None, None, None]


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_being_stopped_is_no_error(observer: RecordingObserver, error: type[BaseException]) -> None:
    """Cancellation and its like end a conversation without an error."""

    async def main(url: str) -> None:
        try:
            async with connect(url + "/realtime"):
                raise error
        except error:
            pass

    with ReplayServer() as server:
        asyncio.run(main(server.url))

    (close,) = observer.sink.closes
    assert (close.error, close.by_client) == (None, True)


def test_a_cancelled_task_ends_in_itself(observer: RecordingObserver) -> None:
    """Cancelling the task of a with block closes the connection, and that is no error."""

    async def app(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            await ws.recv()

    async def main(url: str) -> bool:
        task = asyncio.ensure_future(app(url))
        await asyncio.to_thread(server.wait, lambda: observer.sinks)
        observer.sink.teller = asyncio.current_task
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled() and observer.sink.closed_in == [task]

    with ReplayServer() as server:
        assert asyncio.run(main(server.url))

    assert (observer.sink.closes[0].error, observer.sink.closes[0].by_client) == (None, True)


def test_a_sync_close_ends_in_the_thread_that_closes(observer: RecordingObserver) -> None:
    """The threaded client's close() tells the sink before it returns."""
    with ReplayServer() as server:
        ws = sync_connect(server.url + "/realtime")
        ws.close(1001, "bye")

    assert [threading.get_ident()] == observer.sink.closed_in
    assert [_facts(close) for close in observer.sink.closes] == [(1001, "bye", 1001, True)]


def test_a_sync_servers_close_ends_in_the_thread_that_receives(
    observer: RecordingObserver,
) -> None:
    """The reading thread of the library leaves the end to the app's thread."""
    with ReplayServer(FRAMES * 5, close=(1011, "boom")) as server:
        with sync_connect(server.url + "/realtime") as ws:
            got = _read_slowly(ws)

    assert 10 == len(got) == len(observer.sink.received_frames)
    assert [threading.get_ident()] == observer.sink.closed_in
    assert [_facts(close) for close in observer.sink.closes] == [(1011, "boom", 1011, False)]


def _read_slowly(ws: Any) -> list[str]:
    got = []
    try:
        while True:
            got.append(text(ws.recv()))
            time.sleep(0.002)
    except ConnectionClosed:
        return got


def test_a_sync_close_that_nobody_reads_is_seen(observer: RecordingObserver) -> None:
    """The end of the library's reading thread ends a conversation that the app neglects."""
    with ReplayServer([], close=(1000, "done")) as server:
        ws = sync_connect(server.url + "/realtime")
        server.wait(lambda: observer.sink.closes)
        ws.close()

    assert [_facts(close) for close in observer.sink.closes] == [(1000, "done", 1000, False)]
