"""`httpx-ws`: sessions of threads and of coroutines."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from otel_realtime import diagnostics, tap
from otel_realtime.tap import Close
from otel_realtime.tap.httpx_ws import SessionTap
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.waiting import wait_for
from tests.tap.recording import RecordingObserver

httpx_ws = pytest.importorskip("httpx_ws")
wsproto = pytest.importorskip("wsproto.events")

FRAMES = [json.dumps({"type": "session.created", "n": number}) for number in range(27)]
PATH = "/realtime?model=m&api-key=secret"
SECRET = {"Authorization": "Bearer sk-secret"}
SyncUse = Callable[[Any], Any]
Use = Callable[[Any], Awaitable[Any]]


def _script(peer: Peer) -> None:
    peer.recv()
    peer.send(*FRAMES)
    peer.close(1000, "that is all")


def _vanish(peer: Peer) -> None:
    peer.recv()
    peer.drop()


def _http(server: ReplayServer, path: str) -> str:
    return server.url.replace("ws", "http", 1) + path


def _sync(server: ReplayServer, use: SyncUse, path: str = PATH) -> Any:
    with httpx_ws.connect_ws(_http(server, path), headers=dict(SECRET)) as session:
        return use(session)


def _async(server: ReplayServer, use: Use, path: str = PATH) -> Any:
    async def run() -> Any:
        async with httpx_ws.aconnect_ws(_http(server, path), headers=dict(SECRET)) as session:
            return await use(session)

    return asyncio.run(run())


def _receive_text(session: Any) -> list[str]:
    session.send_text("hello")
    got = []
    try:
        while True:
            got.append(session.receive_text())
    except httpx_ws.WebSocketDisconnect:
        return got


def _receive_json(session: Any) -> list[str]:
    session.send_bytes(b"hello")
    got = [json.dumps(session.receive_json()) for _ in FRAMES]
    with pytest.raises(httpx_ws.WebSocketDisconnect):
        session.receive()
    return got


async def _areceive_text(session: Any) -> list[str]:
    await session.send_text("hello")
    got = []
    try:
        while True:
            got.append(await session.receive_text())
    except httpx_ws.WebSocketDisconnect:
        return got


async def _areceive_json(session: Any) -> list[str]:
    await session.send(wsproto.BytesMessage(b"hello"))
    got = [json.dumps(await session.receive_json()) for _ in FRAMES]
    with pytest.raises(httpx_ws.WebSocketDisconnect):
        await session.receive(timeout=5)
    return got


def _text(frame: str | bytes) -> str:
    return frame if isinstance(frame, str) else frame.decode()


@pytest.mark.parametrize(
    ("call", "use"),
    [
        (_sync, _receive_text),
        (_sync, _receive_json),
        (_async, _areceive_text),
        (_async, _areceive_json),
    ],
)
def test_each_frame_passes_once(observer: RecordingObserver, call: Any, use: Any) -> None:
    """However the app reads and writes; the handshake tells no header."""
    with ReplayServer(_script) as server:
        before = time.time_ns()
        assert FRAMES == call(server, use)
        assert ["Bearer sk-secret"] == server.peers[0].headers.get_all("Authorization")
    sink = observer.sink
    assert FRAMES == sink.received_frames
    assert ["hello"] == [_text(frame) for frame in server.received]
    assert ["hello"] == [_text(frame) for frame in sink.sent_frames]
    assert len(FRAMES) + 1 == sink.asked
    (close,) = sink.closes
    assert (1000, "that is all", False) == (
        close.received_code,
        close.received_reason,
        close.by_client,
    )
    (handshake,) = observer.handshakes
    assert (handshake.path, handshake.query) == ("/v1/realtime", {"model": "m"})
    assert (handshake.host, handshake.port) == ("127.0.0.1", server.port)
    assert before <= handshake.started_ns <= time.time_ns()


@pytest.mark.parametrize("call", [_sync, _async])
def test_the_root_can_start_with_the_handshake(observer: RecordingObserver, call: Any) -> None:
    """Not only when the server has answered."""

    def script(peer: Peer) -> None:
        peer.close()

    def use(session: Any) -> None:
        pass

    async def ause(session: Any) -> None:
        pass

    with ReplayServer(script) as server:
        answer = server._server.handler

        def slowly(*args: Any) -> None:
            time.sleep(0.2)
            answer(*args)

        server._server.handler = slowly
        call(server, use if call is _sync else ause)
        opened_ns = time.time_ns()
    assert opened_ns - observer.handshakes[0].started_ns > 0.15e9


def by_the_app(code: int, observer: RecordingObserver) -> bool:
    """Whether the one close is the app's, with a code; the server's answer may have come by then."""
    (close,) = observer.sink.closes
    assert close.received_code in (None, code)
    own = Close(received_code=None, received_reason="", sent_code=code, by_client=True)
    return own == replace(close, received_code=None, received_reason="")


@pytest.mark.parametrize("call", [_sync, _async])
def test_the_apps_close_is_told(observer: RecordingObserver, call: Any) -> None:
    """With its code, before ``close`` returns."""

    def use(session: Any) -> int:
        session.close(1001, "bye")
        return len(observer.sink.closes)

    async def ause(session: Any) -> int:
        await session.close(1001, "bye")
        return len(observer.sink.closes)

    with ReplayServer() as server:
        assert 1 == call(server, use if call is _sync else ause)
    assert by_the_app(1001, observer)


@pytest.mark.parametrize("call", [_sync, _async])
def test_leaving_the_block_is_the_apps_close(observer: RecordingObserver, call: Any) -> None:
    """It closes with 1000."""

    def use(session: Any) -> None:
        session.send_text("hello")

    async def ause(session: Any) -> None:
        await session.send_text("hello")

    with ReplayServer() as server:
        call(server, use if call is _sync else ause)
    assert by_the_app(1000, observer)


@pytest.mark.parametrize("call", [_sync, _async])
def test_the_exception_of_the_block_is_told(observer: RecordingObserver, call: Any) -> None:
    """And passes through, as the library wraps it."""

    def use(session: Any) -> None:
        raise ValueError("the app's")

    async def ause(session: Any) -> None:
        raise ValueError("the app's")

    with ReplayServer() as server, pytest.raises(Exception, match=r".*"):
        call(server, use if call is _sync else ause)
    (close,) = observer.sink.closes
    assert isinstance(close.error, ValueError)


@pytest.mark.parametrize("call", [_sync, _async])
def test_a_lost_connection_ends_it(observer: RecordingObserver, call: Any) -> None:
    """A reset that the reader sees; the library's own close is not the app's."""

    def use(session: Any) -> None:
        session.send_text("hello")
        with pytest.raises(httpx_ws.WebSocketNetworkError):
            session.receive()

    async def ause(session: Any) -> None:
        await session.send_text("hello")
        with pytest.raises(httpx_ws.WebSocketNetworkError):
            await session.receive()

    with ReplayServer(_vanish) as server:
        call(server, use if call is _sync else ause)
    (close,) = observer.sink.closes
    assert (None, False) == (close.received_code, close.by_client)


@pytest.mark.parametrize(("script", "code"), [(_vanish, None), (_script, 1000)])
def test_an_end_that_nobody_reads_is_seen(
    observer: RecordingObserver, script: Any, code: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the library's own thread, and once."""
    monkeypatch.setattr("otel_realtime.tap.link.UNREAD_S", 0.05)

    def use(session: Any) -> None:
        session.send_text("hello")
        wait_for(lambda: observer.sink.closes, "end", every_s=0.005)

    with ReplayServer(script) as server:
        _sync(server, use)
    (close,) = observer.sink.closes
    assert (code, False) == (close.received_code, close.by_client)


def test_a_receive_that_times_out_loses_nothing(observer: RecordingObserver) -> None:
    """It is not the end, and the frame comes with the next call."""

    def use(session: Any) -> list[str]:
        with pytest.raises(queue.Empty):
            session.receive(timeout=0.01)
        return _receive_text(session)

    async def ause(session: Any) -> list[str]:
        with pytest.raises(TimeoutError):
            await session.receive(timeout=0.01)
        return await _areceive_text(session)

    with ReplayServer(_script) as server:
        assert FRAMES == _sync(server, use)
        assert FRAMES == _async(server, ause)
    assert [FRAMES] * 2 == [sink.received_frames for sink in observer.sinks]


def test_only_messages_are_reported(observer: RecordingObserver) -> None:
    """Pings are none; a message in parts is one when it is received, and none when it is sent."""

    def script(peer: Peer) -> None:
        peer.recv()
        peer.connection.send(iter(["a", "b", "c"]))
        peer.close()

    def use(session: Any) -> None:
        session.ping()
        session.send(wsproto.TextMessage("x", message_finished=False))
        session.send(wsproto.TextMessage("y"))
        assert "abc" == session.receive_text()

    with ReplayServer(script) as server:
        _sync(server, use)
    assert (["xy"], ["abc"]) == (server.received, observer.sink.received_frames)
    assert ["y"] == observer.sink.sent_frames


@pytest.mark.parametrize(("call", "use"), [(_sync, _receive_text), (_async, _areceive_text)])
def test_a_refused_handshake_is_told(observer: RecordingObserver, call: Any, use: Any) -> None:
    """With its status; the app's exception is its own, and no header is kept."""
    with ReplayServer(refuse=401) as server:
        with pytest.raises(httpx_ws.WebSocketUpgradeError) as caught:
            call(server, use)
        with pytest.raises(httpx_ws.WebSocketUpgradeError):
            call(server, use, "/chat")
    (refusal,) = observer.refusals
    assert (401, caught.value, "/v1/realtime") == (refusal.status, refusal.error, refusal.path)
    assert {"model": "m"} == refusal.query


@pytest.mark.parametrize(("call", "use"), [(_sync, _receive_text), (_async, _areceive_text)])
def test_other_sockets_are_left_alone(observer: RecordingObserver, call: Any, use: Any) -> None:
    """Paths that are none of ours, and everything after ``uninstall``."""
    with ReplayServer(_script) as server:
        call(server, use, "/chat")
        tap.uninstall()
        call(server, use)
    assert [] == observer.sinks


def test_a_socket_that_is_released_is_as_it_was() -> None:
    """The library's own methods are back on it."""
    observer = RecordingObserver(released_after=3)
    tap.install(observer)

    def use(session: Any) -> list[str]:
        got = _receive_text(session)
        assert not {"receive", "send", "close", "_background_receive"} & set(vars(session))
        return got

    with ReplayServer(_script) as server:
        assert FRAMES == _sync(server, use)
    assert 0 == observer.sink.calls_after_released


def test_an_open_session_can_be_attached() -> None:
    """Without ``install``; the second time the sink is the same."""
    observer, sinks = RecordingObserver(), []

    def use(session: Any) -> list[str]:
        sinks.extend(tap.attach(session, observer) for _ in range(2))
        return _receive_text(session)

    async def ause(session: Any) -> list[str]:
        sinks.extend(tap.attach(session, observer) for _ in range(2))
        return await _areceive_text(session)

    with ReplayServer(_script) as server:
        assert FRAMES == _sync(server, use)
        assert FRAMES == _async(server, ause)
    assert [observer.sinks[0]] * 2 + [observer.sinks[1]] * 2 == sinks
    assert [FRAMES] * 2 == [sink.received_frames for sink in observer.sinks]


def test_a_version_that_is_not_known_is_said_once(
    observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sessions are left alone, and nothing is opened for them."""
    monkeypatch.setattr(SessionTap, "reads", (*SessionTap.reads, "renamed"))
    diagnostics.REGISTER.clear()
    with ReplayServer(_script) as server:
        for _ in range(2):
            assert FRAMES == _sync(server, _receive_text)
    assert [] == observer.sinks
    ours = [record for record in caplog.records if record.name.startswith("otel_realtime")]
    assert ["this version of httpx_ws has sockets that we do not know"] == [
        record.getMessage().partition(":")[0] for record in ours
    ]


def test_the_library_may_be_imported_later() -> None:
    """It is not imported for the tap, and tapped when the app does."""
    code = (
        "import sys; from otel_realtime import tap; tap.install(object());"
        "assert 'httpx_ws' not in sys.modules;"
        "import httpx_ws; print(hasattr(httpx_ws.WebSocketSession.__init__, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "True" == done.stdout.strip()
