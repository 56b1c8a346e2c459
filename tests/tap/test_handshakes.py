"""What an app's tests put in the place of a socket is left alone, and nobody is alarmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import aiohttp
import pytest
from openai.resources.beta.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import ClientConnection
from websockets.sync.client import ClientConnection as SyncClientConnection

from otel_realtime import tap
from otel_realtime.tap import sdk
from otel_realtime.tap.handshakes import Request
from otel_realtime.tap.link import Link, tap_of
from otel_realtime.tap.websockets import AsyncioTap
from tests.support.realtime_server import ReplayServer
from tests.tap.recording import RecordingObserver, RecordingSink

URL = "http://127.0.0.1:9/v1/realtime?model=m"
Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged. That no fault is counted, and none raised, holds for every test here."""
    with caplog.at_level(logging.DEBUG, "otel_realtime"):
        yield
    ours = [record for record in caplog.records if record.name.startswith("otel_realtime")]
    assert [] == [record.getMessage() for record in ours]


class Bare(Socket):
    """A socket of a test: it is one by name, and has nothing of the library's."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def _with_a_mocked_response() -> Socket:
    """A socket with every private attribute, the request of which is a mock."""
    socket = Bare()
    for name in ("_closed", "_closing", "_loop", "_reader", "_response"):
        setattr(socket, name, MagicMock())
    return socket


def _with_a_text_as_url() -> Socket:
    socket = _with_a_mocked_response()
    socket._response.url = URL  # type: ignore[assignment]
    return socket


AIOHTTP = [
    pytest.param(MagicMock, id="mock"),
    pytest.param(lambda: create_autospec(Socket, instance=True), id="autospec"),
    pytest.param(object, id="object"),
    pytest.param(Bare, id="subclass"),
    pytest.param(_with_a_mocked_response, id="mocked-response"),
    pytest.param(_with_a_text_as_url, id="text-as-url"),
]


@pytest.mark.parametrize("make", AIOHTTP)
def test_a_stand_in_that_aiohttp_returns(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """The app's test replaced ``_ws_connect`` before the tap was installed."""
    socket = make()
    monkeypatch.setattr(aiohttp.ClientSession, "_ws_connect", AsyncMock(return_value=socket))
    observer = RecordingObserver()
    tap.install(observer)

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            assert socket is await session.ws_connect(URL)

    asyncio.run(main())
    tap.uninstall()
    assert tap_of(socket) is None
    assert [] == observer.handshakes


def test_a_stand_in_that_aiohttp_makes(observer: RecordingObserver) -> None:
    """The app's test gave the session a class of its own."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession(ws_response_class=Bare) as session:
            socket = await session._ws_connect(url.replace("ws", "http", 1) + "/realtime")
            assert isinstance(socket, Bare)

    with ReplayServer() as server:
        asyncio.run(main(server.url))
    assert [] == observer.handshakes


def test_a_url_that_aiohttp_refuses(observer: RecordingObserver) -> None:
    """The app's mistake is the app's."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            for url in ("http://[/v1/realtime", None):
                with pytest.raises((TypeError, ValueError)):
                    await session.ws_connect(url)  # type: ignore[arg-type]

    asyncio.run(main())
    assert [] == observer.refusals


def test_a_stand_in_for_a_session(observer: RecordingObserver) -> None:
    """``_ws_connect`` of a session whose ``__init__`` was skipped, and of a mock."""

    async def main() -> None:
        for session in (aiohttp.ClientSession.__new__(aiohttp.ClientSession), object()):
            with pytest.raises((AttributeError, RuntimeError)):
                await aiohttp.ClientSession._ws_connect(session, URL)  # type: ignore[arg-type]

    asyncio.run(main())
    assert [] == observer.refusals


def _with_a_mocked_request(owner: Any) -> Any:
    socket = owner.__new__(owner)
    socket.request = MagicMock()
    return socket


@pytest.mark.parametrize("owner", [ClientConnection, SyncClientConnection])
def test_a_stand_in_for_a_connection_of_websockets(
    monkeypatch: pytest.MonkeyPatch, owner: Any
) -> None:
    """The app's test replaced ``handshake``, or calls it with something else than a connection."""
    is_async = owner is ClientConnection
    handshake = AsyncMock(return_value=None) if is_async else MagicMock(return_value=None)
    monkeypatch.setattr(owner, "handshake", handshake)
    observer = RecordingObserver()
    tap.install(observer)

    async def main(socket: Any) -> None:
        result = owner.handshake(socket)
        assert (await result if is_async else result) is None
        handshake.side_effect = ConnectionError
        with pytest.raises(ConnectionError):
            await owner.handshake(socket)
        handshake.side_effect = None

    mock = MagicMock()
    mock.request.path = "/v1/realtime"
    bare = owner.__new__(owner)
    for socket in (MagicMock(), mock, object(), bare, _with_a_mocked_request(owner)):
        asyncio.run(main(socket))
    tap.uninstall()
    assert [] == observer.handshakes
    assert [] == observer.refusals


@pytest.mark.parametrize(
    "make",
    [
        *AIOHTTP,
        pytest.param(lambda: ClientConnection.__new__(ClientConnection), id="connection"),
        pytest.param(lambda: _with_a_mocked_request(ClientConnection), id="mocked-request"),
        pytest.param(lambda: SyncClientConnection.__new__(SyncClientConnection), id="sync"),
        pytest.param(lambda: AsyncRealtimeConnection(MagicMock()), id="sdk"),
    ],
)
def test_a_stand_in_that_is_attached(make: Any) -> None:
    """It has no sink, whether it is given by itself or as the socket of a connection object."""
    observer = RecordingObserver()
    tap.install(observer)
    connection = MagicMock(_connection=make())
    assert tap.attach(make(), observer) is None
    assert tap.attach(connection, observer) is None
    assert [] == observer.handshakes


def test_a_stand_in_for_the_next_socket_of_a_connection() -> None:
    """The app's test of its reconnects replaced the SDK's ``_make_ws``."""

    async def main() -> None:
        link = Link(RecordingSink())
        link.socket = AsyncioTap.__new__(AsyncioTap)
        for make_ws in (AsyncMock(return_value=MagicMock()), AsyncMock(return_value=object())):
            socket = await sdk._make_async(make_ws, link)()
            assert tap_of(socket) is None
        link.drop()

    asyncio.run(main())


def test_only_a_request_that_says_what_it_asks_for_is_sound() -> None:
    """Values of a mock are of no type that a request has."""
    assert Request("/v1/realtime", "", "127.0.0.1", None).is_sound()
    assert not Request("/v1/realtime", "", MagicMock(), None).is_sound()
    assert not Request("/v1/realtime", "", "127.0.0.1", MagicMock()).is_sound()
