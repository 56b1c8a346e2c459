"""The replaced methods take and return what the library's own do, and each frame is reported once."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.sync.client import connect as sync_connect

from otel_realtime import tap
from otel_realtime.tap.link import MAX_ASKS
from tests.support.realtime_server import ReplayServer
from tests.tap.recording import RecordingObserver, RecordingSink
from tests.tap.versions import takes_text

FRAMES = [json.dumps({"type": "session.created", "n": number}) for number in range(4)]


def _http(server: ReplayServer) -> str:
    return server.url.replace("ws", "http", 1) + "/realtime"


@takes_text
def test_arguments_of_an_asyncio_connection(observer: RecordingObserver) -> None:
    """By position and by name, as a message and as fragments."""

    async def main(url: str) -> list[str | bytes]:
        async with connect(url + "/realtime") as ws:
            got = [await ws.recv(), await ws.recv(False), await ws.recv(decode=False)]
            got.append(await ws.recv(decode=None))
            await ws.send("a")
            await ws.send(message="b")
            await ws.send(b"c", text=True)
            await ws.send("d", text=False)
            await ws.send(["e", "f"])
            with pytest.raises(TypeError):
                await ws.recv(nothing=1)  # type: ignore[call-overload]
            with pytest.raises(TypeError):
                await ws.send()  # type: ignore[call-arg]
            return got

    with ReplayServer(FRAMES) as server:
        got = asyncio.run(main(server.url))
        server.wait(lambda: len(server.received) == 5)
    first, *encoded, last = got
    assert [FRAMES[0], FRAMES[3]] == [first, last]
    assert [frame.encode() for frame in FRAMES[1:3]] == encoded
    assert got == observer.sink.received_frames
    assert ["a", "b", "c", b"d", "ef"] == server.received
    assert ["a", "b", b"c", "d"] == observer.sink.sent_frames


@takes_text
def test_arguments_of_a_threading_connection(observer: RecordingObserver) -> None:
    """The same for the client that blocks; its first parameter is the timeout."""
    with ReplayServer(FRAMES) as server, sync_connect(server.url + "/realtime") as ws:
        got = [ws.recv(), ws.recv(5), ws.recv(timeout=5), ws.recv(5, False)]
        ws.send("a")
        ws.send(message="b")
        ws.send(b"c", text=True)
        ws.send(["d", "e"])
        with pytest.raises(TypeError):
            ws.send()  # type: ignore[call-arg]
        server.wait(lambda: len(server.received) == 4)
    assert [*FRAMES[:3], FRAMES[3].encode()] == got == observer.sink.received_frames
    assert ["a", "b", "c", "de"] == server.received
    assert ["a", "b", b"c"] == observer.sink.sent_frames


def test_arguments_of_aiohttp(observer: RecordingObserver) -> None:
    """Its methods have other parameters."""

    async def main(url: str) -> list[str]:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            messages = [await ws.receive(), await ws.receive(5), await ws.receive(timeout=5)]
            await ws.send_str("a")
            await ws.send_str(data="b", compress=None)
            await ws.send_bytes(data=memoryview(b"c"))  # type: ignore[arg-type]
            await ws.send_bytes(bytearray(b"d"), None)  # type: ignore[arg-type]
            for wrong in ({"message": "e"}, {}):
                with pytest.raises(TypeError):
                    await ws.send_str(**wrong)  # type: ignore[arg-type]
            return [message.data for message in messages]

    with ReplayServer(FRAMES) as server:
        got = asyncio.run(main(_http(server)))
        server.wait(lambda: len(server.received) == 4)
    assert FRAMES[:3] == got == observer.sink.received_frames
    assert ["a", "b", b"c", b"d"] == server.received == observer.sink.sent_frames


class Plain(ClientConnection):
    """An app's own connection, without the library's parameters."""

    async def recv(self) -> Any:  # type: ignore[override]
        return await super().recv()


class PlainResponse(aiohttp.ClientWebSocketResponse):
    """An app's own response, without the library's parameters, and with results of its own."""

    async def receive(self) -> Any:  # type: ignore[override]
        message = await super().receive()
        return message if message.data == FRAMES[0] else message.data


def test_a_subclass_with_parameters_of_its_own(observer: RecordingObserver) -> None:
    """Nothing is passed that the app did not pass; a result that is no message is not looked at."""

    async def by_websockets(url: str) -> list[Any]:
        async with connect(url + "/realtime", create_connection=Plain) as ws:
            return [await ws.recv() for _ in FRAMES]

    async def by_aiohttp(url: str) -> list[Any]:
        async with aiohttp.ClientSession(ws_response_class=PlainResponse) as session:
            async with session.ws_connect(url) as ws:
                return [await ws.receive() for _ in FRAMES]

    with ReplayServer(FRAMES) as server:
        assert FRAMES == asyncio.run(by_websockets(server.url))
        first, *rest = asyncio.run(by_aiohttp(_http(server)))
    assert [FRAMES[0], *FRAMES[1:]] == [first.data, *rest]
    assert [FRAMES, FRAMES[:1]] == [sink.received_frames for sink in observer.sinks]


def test_the_replaced_methods_look_like_the_librarys(observer: RecordingObserver) -> None:
    """Other tools inspect them."""

    async def main(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            for name in ("recv", "send", "close"):
                original = getattr(type(ws), name)
                replaced = vars(ws)[name]
                assert original is replaced.__wrapped__.__func__
                assert (original.__name__, original.__doc__) == (
                    replaced.__name__,
                    replaced.__doc__,
                )
                assert inspect.iscoroutinefunction(replaced)

    with ReplayServer() as server:
        asyncio.run(main(server.url))


class CountingSink(RecordingSink):
    """Counts the questions, and what reaches its fast calls."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        super().__init__()
        self.questions = 0
        self.fast: list[str | bytes] = []
        self._raises = error

    def calls(self) -> Any:
        return self.before_receive, self.fast.append, self.fast.append

    def released(self) -> bool:
        self.questions += 1
        if self._raises is not None:
            raise self._raises
        return False


@pytest.mark.parametrize("library", ["websockets", "aiohttp"])
def test_a_sink_is_asked_while_it_can_be_undecided(library: str) -> None:
    """Then its fast calls get the frames, without a detour."""
    sink = CountingSink()
    observer = RecordingObserver()
    observer.opened = lambda handshake, *, sdk: sink  # type: ignore[method-assign]
    tap.install(observer)
    frames = [f'{{"n": {number}}}' for number in range(MAX_ASKS + 4)]

    async def by_websockets(server: ReplayServer) -> None:
        async with connect(server.url + "/realtime") as ws:
            await ws.send("first")
            for _ in frames:
                await ws.recv()
            await ws.send("last")

    async def by_aiohttp(server: ReplayServer) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(_http(server)) as ws:
            await ws.send_str("first")
            for _ in frames:
                await ws.receive()
            await ws.send_str("last")

    with ReplayServer(frames) as server:
        asyncio.run((by_websockets if library == "websockets" else by_aiohttp)(server))
    assert MAX_ASKS == sink.questions
    assert ["first"] == sink.sent_frames
    assert frames[: MAX_ASKS - 1] == sink.received_frames
    assert [*frames[MAX_ASKS - 1 :], "last"] == sink.fast


def test_a_sink_that_raises_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is counted once; the frames go on."""
    faults: list[str] = []
    monkeypatch.setattr("otel_realtime.diagnostics.fault", lambda where, _: faults.append(where))
    sink = CountingSink(ValueError)
    observer = RecordingObserver()
    observer.opened = lambda handshake, *, sdk: sink  # type: ignore[method-assign]
    tap.install(observer)

    async def main(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            for _ in FRAMES:
                await ws.recv()

    with ReplayServer(FRAMES) as server:
        asyncio.run(main(server.url))
    assert ["tap.link.Tap._ask"] == faults
    assert FRAMES == sink.received_frames


# aiohttp's own __del__ fails on a closed loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("library", ["websockets", "aiohttp"])
def test_a_socket_whose_loop_was_closed_is_abandoned(
    observer: RecordingObserver, library: str
) -> None:
    """No callback of the loop comes any more, so somebody has to ask."""
    kept: list[Any] = []

    async def by_websockets(server: ReplayServer) -> None:
        kept.append(await connect(server.url + "/realtime"))

    async def by_aiohttp(server: ReplayServer) -> None:
        session = aiohttp.ClientSession()
        kept.extend((session, await session.ws_connect(_http(server))))

    use = by_websockets if library == "websockets" else by_aiohttp
    with ReplayServer() as server:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use(server))
        tap.end_abandoned()
        assert [] == observer.sink.closes
        loop.close()
        tap.end_abandoned()
        kept.clear()
        gc.collect()
    (close,) = observer.sink.closes
    assert (True, None) == (close.by_client, close.error)
