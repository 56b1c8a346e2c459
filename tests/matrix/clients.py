"""Clients that the app drives itself: sockets of every library, and the ``openai`` SDK.

Each is what its library's documentation shows, without a line about telemetry. Libraries are imported
when a client is run: no environment has them all.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

from tests.matrix.flow import QUERY, Client, Flow, Talk


async def _talk_async(flow: Flow, socket: Any) -> None:
    async for frame in socket:
        for reply in flow.on_text(frame):
            await socket.send(reply)
        if flow.over:
            return


def _talk_sync(flow: Flow, send: Any, receive: Any) -> None:
    while not flow.over:
        for reply in flow.on_text(receive()):
            send(reply)


# --- websockets ------------------------------------------------------------------------------------


def websockets_asyncio(talk: Talk) -> None:
    """``websockets.asyncio.client.connect``, which is ``websockets.connect`` from 14 on."""
    from websockets.asyncio.client import connect

    async def run() -> None:
        async with connect(talk.url + QUERY) as socket:
            await _talk_async(Flow(talk), socket)

    asyncio.run(run())


def websockets_by_name(talk: Talk) -> None:
    """``websockets.connect``, whatever that is in the installed version."""
    import websockets

    async def run() -> None:
        async with websockets.connect(talk.url + QUERY) as socket:
            await _talk_async(Flow(talk), socket)

    asyncio.run(run())


def websockets_sync(talk: Talk) -> None:
    """``websockets.sync.client.connect``."""
    from websockets.sync.client import connect

    with connect(talk.url + QUERY) as socket:
        _talk_sync(Flow(talk), socket.send, socket.recv)


def websockets_legacy(talk: Talk) -> None:
    """The legacy client with ``extra_headers=``, as in Twilio's sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from websockets.legacy.client import connect

    async def run() -> None:
        async with connect(talk.url + QUERY, extra_headers={"Authorization": "Bearer x"}) as socket:
            await _talk_async(Flow(talk), socket)

    asyncio.run(run())


def websockets_on_uvloop(talk: Talk) -> None:
    """``websockets.connect`` on uvloop's event loop."""
    import uvloop
    import websockets

    async def run() -> None:
        async with websockets.connect(talk.url + QUERY) as socket:
            await _talk_async(Flow(talk), socket)

    uvloop.run(run())


# --- other sockets ---------------------------------------------------------------------------------


def aiohttp_client(talk: Talk) -> None:
    """``ClientSession.ws_connect``."""
    asyncio.run(_aiohttp(talk))


def aiohttp_on_uvloop(talk: Talk) -> None:
    """The same on uvloop's event loop."""
    import uvloop

    uvloop.run(_aiohttp(talk))


async def _aiohttp(talk: Talk) -> None:
    import aiohttp

    flow = Flow(talk)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(talk.http + QUERY) as socket,
    ):
        async for message in socket:
            for reply in flow.on_text(message.data):
                await socket.send_str(reply)
            if flow.over:
                return


def websocket_client(talk: Talk) -> None:
    """``websocket.create_connection``."""
    import websocket

    socket = websocket.create_connection(talk.url + QUERY)
    _talk_sync(Flow(talk), socket.send, socket.recv)
    socket.close()


def websocket_app(talk: Talk) -> None:
    """``websocket.WebSocketApp``, as in OpenAI's documentation."""
    import websocket

    flow = Flow(talk)

    def on_message(app: Any, frame: str) -> None:
        for reply in flow.on_text(frame):
            app.send(reply)
        if flow.over:
            app.close()

    websocket.WebSocketApp(talk.url + QUERY, on_message=on_message).run_forever()


def httpx_ws_async(talk: Talk) -> None:
    """``aconnect_ws``."""
    import httpx_ws

    async def run() -> None:
        flow = Flow(talk)
        async with httpx_ws.aconnect_ws(talk.http + QUERY) as socket:
            while not flow.over:
                for reply in flow.on_text(await socket.receive_text()):
                    await socket.send_text(reply)

    asyncio.run(run())


def httpx_ws_sync(talk: Talk) -> None:
    """``connect_ws``."""
    import httpx_ws

    with httpx_ws.connect_ws(talk.http + QUERY) as socket:
        _talk_sync(Flow(talk), socket.send_text, socket.receive_text)


def gevent_websocket_client(talk: Talk) -> None:
    """``websocket-client`` in a process that gevent has patched."""
    websocket_client(talk)


def gevent_websockets_sync(talk: Talk) -> None:
    """``websockets.sync`` in a process that gevent has patched."""
    websockets_sync(talk)


# --- the openai SDK --------------------------------------------------------------------------------


async def _talk_openai(flow: Flow, connection: Any) -> None:
    async for event in connection:
        for reply in flow.on(event.to_dict()):
            await connection.send(reply)
        if flow.over:
            return


def openai_async(talk: Talk) -> None:
    """``async with client.realtime.connect()``."""
    from openai import AsyncOpenAI

    async def run() -> None:
        client = AsyncOpenAI(api_key="any", websocket_base_url=talk.url)
        async with client, client.realtime.connect(model="gpt-realtime") as connection:
            await _talk_openai(Flow(talk), connection)

    asyncio.run(run())


def openai_sync(talk: Talk) -> None:
    """``with client.realtime.connect()``."""
    from openai import OpenAI

    client, flow = OpenAI(api_key="any", websocket_base_url=talk.url), Flow(talk)
    with client, client.realtime.connect(model="gpt-realtime") as connection:
        for event in connection:
            for reply in flow.on(event.to_dict()):
                connection.send(reply)  # type: ignore[arg-type]
            if flow.over:
                return


def openai_bytes(talk: Talk) -> None:
    """``enter()``, ``recv_bytes()`` and ``close()``."""
    from openai import AsyncOpenAI

    async def run() -> None:
        client, flow = AsyncOpenAI(api_key="any", websocket_base_url=talk.url), Flow(talk)
        connection: Any = await client.realtime.connect(model="gpt-realtime").enter()
        while not flow.over:
            for reply in flow.on(json.loads(await connection.recv_bytes())):
                await connection.send(reply)
        await connection.close()
        await client.close()

    asyncio.run(run())


def openai_handlers(talk: Talk) -> None:
    """``connection.on(...)`` and ``dispatch_events()``."""
    from openai import AsyncOpenAI

    async def run() -> None:
        client, flow = AsyncOpenAI(api_key="any", websocket_base_url=talk.url), Flow(talk)
        async with client, client.realtime.connect(model="gpt-realtime") as opened:
            connection: Any = opened

            async def handle(event: Any) -> None:
                for reply in flow.on(event.to_dict()):
                    await connection.send(reply)
                if flow.over:
                    await connection.close()

            connection.on("event", handle)
            await connection.dispatch_events()

    asyncio.run(run())


def openai_beta(talk: Talk) -> None:
    """``client.beta.realtime.connect()``."""
    from openai import AsyncOpenAI

    async def run() -> None:
        client: Any = AsyncOpenAI(api_key="any", websocket_base_url=talk.url)
        async with client, client.beta.realtime.connect(model="gpt-realtime") as connection:
            await _talk_openai(Flow(talk), connection)

    asyncio.run(run())


def openai_beta_sync(talk: Talk) -> None:
    """``client.beta.realtime.connect()``, the synchronous client."""
    from openai import OpenAI

    client: Any = OpenAI(api_key="any", websocket_base_url=talk.url)
    flow = Flow(talk)
    with client, client.beta.realtime.connect(model="gpt-realtime") as connection:
        for event in connection:
            for reply in flow.on(event.to_dict()):
                connection.send(reply)
            if flow.over:
                return


CLIENTS: dict[str, Client] = {
    client.__name__: client
    for client in (
        websockets_asyncio,
        websockets_by_name,
        websockets_sync,
        websockets_legacy,
        websockets_on_uvloop,
        aiohttp_client,
        aiohttp_on_uvloop,
        websocket_client,
        websocket_app,
        httpx_ws_async,
        httpx_ws_sync,
        gevent_websocket_client,
        gevent_websockets_sync,
        openai_async,
        openai_sync,
        openai_bytes,
        openai_handlers,
        openai_beta,
        openai_beta_sync,
    )
}
