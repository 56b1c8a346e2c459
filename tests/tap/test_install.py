"""Putting the tap on and taking it off, for the process and for one connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.resources.beta.realtime import realtime as beta_realtime
from websockets.asyncio.client import ClientConnection, connect
from websockets.sync.client import ClientConnection as SyncClientConnection
from websockets.sync.client import connect as sync_connect

from otel_realtime import diagnostics, tap
from otel_realtime.tap.patches import Instrumentation, Method
from tests.support.realtime_server import Peer, ReplayServer
from tests.tap.recording import RecordingObserver
from tests.tap.versions import events

FRAMES = [json.dumps({"type": "session.created", "n": n}) for n in range(4)]
PATCHED = [
    (ClientConnection, "handshake"),
    (SyncClientConnection, "handshake"),
    (beta_realtime.AsyncRealtimeConnection, "__init__"),
    (beta_realtime.RealtimeConnection, "__init__"),
]


def _answer(peer: Peer) -> None:
    peer.recv()
    peer.send(*FRAMES)
    peer.close()


def test_uninstall_restores_every_class() -> None:
    """What was patched is the very function it was before."""
    before = [vars(owner)[name] for owner, name in PATCHED]

    tap.install(RecordingObserver())
    installed = [vars(owner)[name] for owner, name in PATCHED]
    tap.uninstall()
    after = [vars(owner)[name] for owner, name in PATCHED]

    assert all(old is not new for old, new in zip(before, installed, strict=True))
    assert before == after


def test_a_second_install_replaces_the_observer() -> None:
    """No frame is told twice, and the new observer opens what comes next."""
    first, second = RecordingObserver(), RecordingObserver()

    async def main(url: str) -> None:
        async with connect(url + "/realtime") as ws:
            _ = [frame async for frame in ws]

    tap.install(first)
    tap.install(first)
    with ReplayServer(FRAMES, close=(1000, "")) as server:
        asyncio.run(main(server.url))
        tap.install(second)
        asyncio.run(main(server.url))

    assert [sink.received_text for sink in first.sinks] == [FRAMES]
    assert [sink.received_text for sink in second.sinks] == [FRAMES]


def test_installing_again_after_uninstall_taps_once() -> None:
    """Taking the tap off and putting it on leaves nothing of the first time."""
    observer = RecordingObserver()
    tap.install(RecordingObserver())
    tap.uninstall()
    tap.install(observer)

    async def main(url: str) -> None:
        client = AsyncOpenAI(api_key="x", websocket_base_url=url)
        async with client.beta.realtime.connect(model="m") as connection:
            _ = [event async for event in connection]

    with ReplayServer(FRAMES, close=(1000, "")) as server:
        asyncio.run(main(server.url))

    assert observer.sink.received_text == FRAMES
    assert [observer.sink] == observer.sdk_sinks


def test_uninstall_takes_the_tap_off_open_sockets(observer: RecordingObserver) -> None:
    """An open connection goes on without us, even a recv() that is waiting at that moment."""

    async def main(url: str) -> list[Any]:
        async with connect(url + "/realtime") as ws:
            waiting = asyncio.ensure_future(ws.recv())
            await asyncio.sleep(0)
            tap.uninstall()
            await ws.send("go")
            got = [await waiting, *[frame async for frame in ws]]
            assert "recv" not in vars(ws)
        return got

    with ReplayServer(_answer) as server:
        got = asyncio.run(main(server.url))

    assert got == FRAMES
    assert (
        observer.sink.received_frames,
        observer.sink.sent_frames,
        observer.sink.closes,
    ) == ([], [], [])


def test_a_foreign_wrapper_over_ours_survives_uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another library's patch stays in place, and ours under it is inert."""
    observer = RecordingObserver()
    tap.install(observer)
    ours = ClientConnection.handshake
    calls = []

    async def theirs(self: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(self)
        await ours(self, *args, **kwargs)

    original = ours.__wrapped__  # type: ignore[attr-defined]
    monkeypatch.setattr(ClientConnection, "handshake", theirs)
    tap.uninstall()

    async def main(url: str) -> None:
        async with connect(url + "/realtime"):
            pass

    with ReplayServer() as server:
        asyncio.run(main(server.url))
    assert theirs is ClientConnection.handshake
    monkeypatch.undo()
    ClientConnection.handshake = original  # type: ignore[method-assign]

    assert len(calls) == 1
    assert observer.handshakes == []


def test_install_imports_no_library() -> None:
    """An app does not pay for the import of what it does not use; what it imports is tapped."""
    code = (
        "import sys; from otel_realtime import tap; tap.install(object());"
        "names = ('openai', 'agents', 'aiohttp', 'websockets');"
        "print([name for name in names if name in sys.modules]);"
        "from websockets.asyncio import client; from websockets.sync import client as sync;"
        "from openai.resources.beta.realtime import realtime as beta;"
        "wrapped = (client.ClientConnection.handshake, sync.ClientConnection.handshake,"
        " beta.RealtimeConnection.__init__, beta.AsyncRealtimeConnection.__init__);"
        "print([hasattr(method, '__wrapped__') for method in wrapped]);"
        "tap.uninstall();"
        "print([hasattr(method, '__wrapped__') for method in"
        " (client.ClientConnection.handshake, beta.RealtimeConnection.__init__)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ["[]", str([True] * 4), str([False] * 2)] == done.stdout.splitlines()


def test_what_is_imported_after_uninstall_is_left_alone() -> None:
    """An import hook cannot be removed, but it does nothing then."""
    code = (
        "from otel_realtime import tap; tap.install(object()); tap.uninstall();"
        "from websockets.asyncio.client import ClientConnection;"
        "print(hasattr(ClientConnection.handshake, '__wrapped__'));"
        "tap.install(object()); print(hasattr(ClientConnection.handshake, '__wrapped__'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ["False", "True"] == done.stdout.split()


def test_attach_taps_a_connection_that_was_opened_before() -> None:
    """Without install, one bare connection is tapped from now on, with what is known of it."""
    observer = RecordingObserver()

    async def main(url: str) -> None:
        async with connect(url + "/realtime?model=m&api-key=secret") as ws:
            sink = tap.attach(ws, observer)
            assert sink is observer.sink
            assert sink is tap.attach(ws, observer)
            await ws.send("hello")
            _ = [frame async for frame in ws]

    with ReplayServer(_answer) as server:
        asyncio.run(main(server.url))

    (handshake,) = observer.handshakes
    assert (handshake.path, handshake.query) == ("/v1/realtime", {"model": "m"})
    assert ("127.0.0.1", server.port) == (handshake.host, handshake.port)
    assert observer.sink.received_text == FRAMES
    assert observer.sink.sent_frames == ["hello"]
    assert [close.received_code for close in observer.sink.closes] == [1000]
    assert observer.sdk_sinks == []


def test_attach_taps_an_sdk_connection() -> None:
    """Async and sync SDK connections are tapped through the websocket they hold."""
    observer = RecordingObserver()

    async def main(url: str) -> None:
        client = AsyncOpenAI(api_key="x", websocket_base_url=url)
        async with client.beta.realtime.connect(model="m") as connection:
            tap.attach(connection, observer)
            _ = [event async for event in connection]

    with ReplayServer(FRAMES, close=(1000, "")) as server:
        asyncio.run(main(server.url))
        client = OpenAI(api_key="x", websocket_base_url=server.url)
        with client.beta.realtime.connect(model="m") as connection:
            tap.attach(connection, observer)
            _ = list(connection)

    assert [sink.received_text for sink in observer.sinks] == [FRAMES, FRAMES]
    assert observer.sinks == observer.sdk_sinks
    assert [len(sink.closes) for sink in observer.sinks] == [1, 1]


def test_attach_taps_a_sync_socket() -> None:
    """The threaded client can be attached, too."""
    observer = RecordingObserver()
    with ReplayServer(FRAMES, close=(1000, "")) as server:
        with sync_connect(server.url + "/realtime") as ws:
            tap.attach(ws, observer)
            got = list(ws)

    assert FRAMES == got == observer.sink.received_text
    assert len(observer.sink.closes) == 1


def test_attach_finds_the_conversation_that_install_opened(observer: RecordingObserver) -> None:
    """One connection is one conversation, however it came to be tapped."""

    async def main(url: str) -> None:
        client = AsyncOpenAI(api_key="x", websocket_base_url=url)
        async with client.beta.realtime.connect(model="m") as connection:
            assert observer.sink is tap.attach(connection, observer)
            assert observer.sink is tap.attach(connection._connection, observer)
            _ = [event async for event in connection]

    with ReplayServer(FRAMES, close=(1000, "")) as server:
        asyncio.run(main(server.url))

    assert observer.sink.received_text == FRAMES
    assert [observer.sink] == observer.sdk_sinks


@events
def test_attach_keeps_a_reconnecting_connection_together() -> None:
    """Without install, the socket that the SDK makes next joins the conversation."""
    observer = RecordingObserver()
    options: dict[str, Any] = {
        "on_reconnecting": lambda event: None,
        "initial_delay": 0.01,
        "max_delay": 0.01,
    }

    async def main(url: str) -> int:
        client = AsyncOpenAI(api_key="x", websocket_base_url=url)
        async with client.realtime.connect(model="m", **options) as connection:
            tap.attach(connection, observer)
            return len([event async for event in connection])

    def script(peer: Peer) -> None:
        peer.send(*FRAMES)
        peer.close(1000 if len(server.peers) > 1 else 1012)

    with ReplayServer(script) as server:
        count = asyncio.run(main(server.url))

    assert 2 * len(FRAMES) == count
    assert observer.sink.received_text == FRAMES * 2
    assert [close.received_code for close in observer.sink.closes] == [1000]


@pytest.mark.parametrize("connection", [None, object(), "ws://127.0.0.1"])
def test_attach_declines_what_it_does_not_know(connection: object) -> None:
    """Something else than a connection has no sink, and nothing is raised."""
    assert tap.attach(connection, RecordingObserver()) is None


def test_a_fault_of_ours_never_reaches_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer that fails is counted, and the connection works as without us."""

    class Failing(RecordingObserver):
        def opened(self, handshake: Any, *, sdk: bool) -> Any:
            raise RuntimeError("ours")

        def refused(self, handshake: Any) -> None:
            raise RuntimeError("ours")

    faults: list[str] = []
    monkeypatch.setattr(
        diagnostics, "fault", lambda where, error: faults.append(f"{where}: {error}")
    )
    tap.install(Failing())

    async def main(url: str) -> list[Any]:
        async with connect(url + "/realtime") as ws:
            assert tap.attach(ws, Failing()) is None
            return [frame async for frame in ws]

    with ReplayServer(FRAMES, close=(1000, "")) as server:
        got = asyncio.run(main(server.url))
        server.refuse = 401
        with pytest.raises(Exception, match="401"):
            asyncio.run(main(server.url))

    assert got == FRAMES
    assert faults == [
        "tap.handshakes.Transport._accepted: ours",
        "tap.attach: ours",
        "tap.handshakes.Transport._refused: ours",
    ]


def test_what_an_installed_version_has_is_said_without_replacing_it() -> None:
    """For each method whether it is there; nothing is patched by looking."""
    before = [vars(owner)[name] for owner, name in PATCHED]
    found = tap.websockets._transport.presence()
    names = [one["name"] for one in found]
    assert "websockets.asyncio.client.ClientConnection.handshake" in names
    assert {True} == {one["there"] for one in found}
    assert before == [vars(owner)[name] for owner, name in PATCHED]


def test_a_method_that_a_version_lacks_is_not_there() -> None:
    """Nor one of a module that it lacks; a module that cannot be imported is an error."""
    methods = [
        Method("json", "JSONDecoder", "absent", lambda original: original, "no spans"),
        Method("json.absent", "", "loads", lambda original: original),
    ]
    found = Instrumentation(*methods).presence()
    assert [False, False] == [one["there"] for one in found]
    assert "no spans" == found[0]["missed"]
