"""The openai SDK's connection objects: every way to consume them, and their reconnects."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from websockets.exceptions import ConnectionClosed

from otel_realtime.tap import Close
from tests.support.realtime_server import Peer, ReplayServer
from tests.tap.recording import RecordingObserver, text
from tests.tap.versions import events, ga

FRAMES = [
    json.dumps({"type": "session.created", "event_id": "e0", "session": {"type": "realtime"}}),
    *(
        json.dumps({"type": "response.output_text.delta", "event_id": f"e{n}", "delta": "."})
        for n in range(1, 26)
    ),
    json.dumps({"type": "some.unknown", "event_id": "e26"}),
]
CLEAR: Any = {"type": "input_audio_buffer.clear"}


def _client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="x", websocket_base_url=url)


def _sync_client(url: str) -> OpenAI:
    return OpenAI(api_key="x", websocket_base_url=url)


def _script(peer: Peer) -> None:
    """Say everything once the client has said something, then close."""
    peer.recv()
    peer.send(*FRAMES)
    peer.close()


async def _iterate(manager: Any) -> int:
    async with manager as connection:
        await connection.input_audio_buffer.clear()
        return len([event async for event in connection])


async def _recv(manager: Any) -> int:
    count = 0
    async with manager as connection:
        await connection.input_audio_buffer.clear()
        try:
            while True:
                await connection.recv()
                count += 1
        except ConnectionClosed:
            return count


async def _recv_bytes(manager: Any) -> int:
    count = 0
    async with manager as connection:
        await connection.input_audio_buffer.clear()
        try:
            while True:
                connection.parse_event(await connection.recv_bytes())
                count += 1
        except ConnectionClosed:
            return count


async def _enter(manager: Any) -> int:
    connection = await manager.enter()
    await connection.send(CLEAR)
    count = len([event async for event in connection])
    await connection.close()
    return count


async def _websocket_itself(manager: Any) -> int:
    async with manager as connection:
        await connection._connection.send(json.dumps(CLEAR))
        return len([frame async for frame in connection._connection])


async def _handlers(manager: Any) -> int:
    got: list[object] = []
    manager.on("event", got.append)
    async with manager as connection:
        await connection.send_raw(json.dumps(CLEAR))
        await connection.dispatch_events()
    return len(got)


async def _queued_send(manager: Any) -> int:
    manager.send(CLEAR)
    async with manager as connection:
        return len([event async for event in connection])


STYLES = [
    pytest.param(_iterate, id="async-for"),
    pytest.param(_recv, id="recv"),
    pytest.param(_recv_bytes, id="recv-bytes"),
    pytest.param(_enter, id="enter"),
    pytest.param(_websocket_itself, id="websocket"),
]
EVENT_STYLES = [
    pytest.param(_handlers, id="handlers", marks=events),
    pytest.param(_queued_send, id="queued-send", marks=events),
]


def _check_whole(observer: RecordingObserver, server: ReplayServer, count: int) -> None:
    sink = observer.sink
    assert len(FRAMES) == count
    assert sink.received_text == FRAMES
    assert [CLEAR["type"]] == [json.loads(text(frame))["type"] for frame in sink.sent_frames]
    assert [text(frame) for frame in server.received] == [text(f) for f in sink.sent_frames]
    assert [sink] == observer.sdk_sinks
    assert [close.received_code for close in sink.closes] == [1000]


@ga
@pytest.mark.parametrize("consume", [*STYLES, *EVENT_STYLES])
def test_each_event_of_a_connection_is_seen_once(
    observer: RecordingObserver, consume: Callable[[Any], Any]
) -> None:
    """Both directions, however the app consumes the connection; the socket is an SDK's."""

    async def main(url: str) -> int:
        count: int = await consume(_client(url).realtime.connect(model="gpt-realtime"))
        return count

    with ReplayServer(_script) as server:
        count = asyncio.run(main(server.url))
        _check_whole(observer, server, count)

    assert (
        observer.handshakes[0].path,
        observer.handshakes[0].query,
    ) == ("/v1/realtime", {"model": "gpt-realtime"})


@pytest.mark.parametrize("consume", STYLES)
def test_each_event_of_a_beta_connection_is_seen_once(
    observer: RecordingObserver, consume: Callable[[Any], Any]
) -> None:
    """The beta module's connections are the same to the tap."""

    async def main(url: str) -> int:
        count: int = await consume(_client(url).beta.realtime.connect(model="gpt-realtime"))
        return count

    with ReplayServer(_script) as server:
        count = asyncio.run(main(server.url))
        _check_whole(observer, server, count)


def _sync_iterate(manager: Any) -> int:
    with manager as connection:
        connection.input_audio_buffer.clear()
        return len(list(connection))


def _sync_recv(manager: Any) -> int:
    count = 0
    with manager as connection:
        connection.input_audio_buffer.clear()
        try:
            while True:
                connection.recv()
                count += 1
        except ConnectionClosed:
            return count


def _sync_recv_bytes(manager: Any) -> int:
    count = 0
    with manager as connection:
        connection.input_audio_buffer.clear()
        try:
            while True:
                connection.parse_event(connection.recv_bytes())
                count += 1
        except ConnectionClosed:
            return count


def _sync_enter(manager: Any) -> int:
    connection = manager.enter()
    connection.send(CLEAR)
    count = len(list(connection))
    connection.close()
    return count


def _sync_handlers(manager: Any) -> int:
    got: list[object] = []
    manager.on("event", got.append)
    with manager as connection:
        connection.send_raw(json.dumps(CLEAR))
        connection.dispatch_events()
    return len(got)


def _sync_queued_send(manager: Any) -> int:
    manager.send(CLEAR)
    with manager as connection:
        return len(list(connection))


SYNC_STYLES = [
    pytest.param(_sync_iterate, id="for"),
    pytest.param(_sync_recv, id="recv"),
    pytest.param(_sync_recv_bytes, id="recv-bytes"),
    pytest.param(_sync_enter, id="enter"),
]
SYNC_EVENT_STYLES = [
    pytest.param(_sync_handlers, id="handlers", marks=events),
    pytest.param(_sync_queued_send, id="queued-send", marks=events),
]


@ga
@pytest.mark.parametrize("consume", [*SYNC_STYLES, *SYNC_EVENT_STYLES])
def test_each_event_of_a_sync_connection_is_seen_once(
    observer: RecordingObserver, consume: Callable[[Any], int]
) -> None:
    """The synchronous client is tapped in both directions as well."""
    with ReplayServer(_script) as server:
        count = consume(_sync_client(server.url).realtime.connect(model="gpt-realtime"))
        _check_whole(observer, server, count)


@pytest.mark.parametrize("consume", SYNC_STYLES)
def test_each_event_of_a_sync_beta_connection_is_seen_once(
    observer: RecordingObserver, consume: Callable[[Any], int]
) -> None:
    """So is the beta module's synchronous client."""
    with ReplayServer(_script) as server:
        count = consume(_sync_client(server.url).beta.realtime.connect(model="gpt-realtime"))
        _check_whole(observer, server, count)


def test_ten_connections_at_once_are_ten_conversations(observer: RecordingObserver) -> None:
    """Each connection has its own sink, and none hears another's frames."""

    async def one(url: str, name: str) -> None:
        async with _client(url).beta.realtime.connect(model=name) as connection:
            await connection.send({"type": "input_audio_buffer.clear", "event_id": name})
            _ = [event async for event in connection]

    def echo(peer: Peer) -> None:
        peer.send(*[peer.recv()] * 5)
        peer.close()

    async def main(url: str) -> None:
        await asyncio.gather(*(one(url, f"m{n}") for n in range(10)))

    with ReplayServer(echo) as server:
        asyncio.run(main(server.url))

    seen = {
        handshake.query["model"]: sink
        for handshake, sink in zip(observer.handshakes, observer.sinks, strict=True)
    }
    assert {f"m{n}" for n in range(10)} == set(seen)
    for name, sink in seen.items():
        assert {name} == {json.loads(frame)["event_id"] for frame in sink.received_text}
        assert (len(sink.received_frames), len(sink.sent_frames)) == (5, 1)


async def _drain(connection: Any) -> None:
    async for _ in connection:
        pass


async def _receive_forever(connection: Any) -> None:
    while True:
        await connection.recv()


def _lose(peer: Peer) -> None:
    peer.recv()
    peer.send(*FRAMES)
    peer.close(1012, "restart")


def _options(**more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "on_reconnecting": lambda event: None,
        "initial_delay": 0.01,
        "max_delay": 0.01,
        **more,
    }


@events
def test_a_reconnect_stays_one_conversation(observer: RecordingObserver) -> None:
    """The next socket joins the sink, both directions go on, and the end is told once."""

    async def main(url: str) -> tuple[int, list[Close]]:
        async with _client(url).realtime.connect(**_options()) as connection:
            await connection.send(CLEAR)
            count = 0
            async for _ in connection:
                count += 1
                if count == len(FRAMES) + 1:
                    before = list(observer.sink.closes)
                    await connection.send(CLEAR)
        return count, before

    with ReplayServer([_lose, _twice]) as server:
        count, before = asyncio.run(main(server.url))

    assert before == []
    assert 2 * len(FRAMES) == count
    assert [*FRAMES, *FRAMES] == observer.sink.received_text
    assert 2 == len(server.peers) == len(observer.sink.sent_frames)
    assert [(c.received_code, c.by_client) for c in observer.sink.closes] == [(1000, False)]
    assert [observer.sink] == observer.sdk_sinks
    assert [1012, "regained", 1000] == observer.sink.gaps  # the last one is the end


def _twice(peer: Peer) -> None:
    peer.send(FRAMES[0])
    peer.recv()
    peer.send(*FRAMES[1:])
    peer.close()


@events
def test_a_sync_reconnect_stays_one_conversation(observer: RecordingObserver) -> None:
    """The synchronous client keeps its sink across sockets as well."""
    with ReplayServer([_lose, _twice]) as server:
        with _sync_client(server.url).realtime.connect(**_options()) as connection:
            connection.send(CLEAR)
            for count, _ in enumerate(connection, 1):
                if count == len(FRAMES) + 1:
                    before = list(observer.sink.closes)
                    connection.send(CLEAR)

    assert before == []
    assert [*FRAMES, *FRAMES] == observer.sink.received_text
    assert 2 == len(server.peers) == len(observer.sink.sent_frames)
    assert [(c.received_code, c.by_client) for c in observer.sink.closes] == [(1000, False)]


@events
@pytest.mark.parametrize("refuse", [False, True])
def test_a_reconnect_that_is_given_up_is_the_end(observer: RecordingObserver, refuse: bool) -> None:
    """The app aborts, or every attempt is refused: the lost socket's code is the end's."""

    async def main(server: ReplayServer) -> None:
        def reconnecting(event: Any) -> Any:
            if refuse:
                server.refuse = 503
                return None
            return {"abort": True}

        options = _options(on_reconnecting=reconnecting, max_retries=2)
        async with _client(server.url).realtime.connect(**options) as connection:
            observer.sink.teller = asyncio.current_task
            await connection.send(CLEAR)
            with pytest.raises(ConnectionClosed):
                await _drain(connection)
            assert [asyncio.current_task()] == observer.sink.closed_in

    with ReplayServer(_lose) as server:
        asyncio.run(main(server))

    assert [(c.received_code, c.by_client) for c in observer.sink.closes] == [(1012, False)]
    assert observer.refusals == []


@events
def test_recv_raising_out_of_a_connection_that_may_reconnect_is_the_end(
    observer: RecordingObserver,
) -> None:
    """Only the SDK's iteration reconnects; a bare recv() gives the exception to the app."""

    async def main(server: ReplayServer) -> None:
        connection = await _client(server.url).realtime.connect(**_options()).enter()
        await connection.send(CLEAR)
        with pytest.raises(ConnectionClosed):
            await _receive_forever(connection)
        await asyncio.sleep(0.01)
        assert [close.received_code for close in observer.sink.closes] == [1012]

    with ReplayServer(_lose) as server:
        asyncio.run(main(server))


@events
def test_closing_a_connection_that_is_reconnecting_is_the_end(
    observer: RecordingObserver,
) -> None:
    """close() in the middle of a reconnect ends the conversation, once."""
    delayed = threading.Event()

    async def main(server: ReplayServer) -> None:
        def reconnecting(event: Any) -> None:
            delayed.set()

        options = _options(on_reconnecting=reconnecting, initial_delay=0.2, max_delay=0.2)
        connection = await _client(server.url).realtime.connect(**options).enter()
        await connection.send(CLEAR)
        reader = asyncio.ensure_future(_drain(connection))
        await asyncio.to_thread(delayed.wait, 5)
        assert observer.sink.closes == []
        await connection.close()
        assert len(observer.sink.closes) == 1
        await asyncio.wait([reader])
        assert isinstance(reader.exception(), ConnectionClosed)

    with ReplayServer(_lose) as server:
        asyncio.run(main(server))

    assert len(observer.sink.closes) == 1
    assert len(observer.sinks) == 1


@ga
def test_a_refused_connection_is_told_with_its_status(observer: RecordingObserver) -> None:
    """A wrong key: the app gets its exception, the observer the status."""

    async def main(url: str) -> None:
        with pytest.raises(Exception, match="401"):
            async with _client(url).realtime.connect(model="m"):
                pass

    with ReplayServer(refuse=401) as server:
        asyncio.run(main(server.url))

    assert [refusal.status for refusal in observer.refusals] == [401]
    assert observer.sinks == []
