"""A voice app that real servers serve: it holds live calls from its start to its end.

``SERVED`` says how it is set up: ``recipe`` as the page on operating says, ``import`` when the module is imported
and ``startup`` when the server starts, both without any shutdown.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import otel_realtime
from tests.support.readme import run, snippet
from tests.support.talking import ask, client_of

WAY, URL, READY = os.environ["SERVED"], os.environ["SERVER"], Path(os.environ["READY"])
CALLS = int(os.environ["CALLS"])


def set_up() -> None:
    """What an app without the recipe does."""
    otel_realtime.configure()
    otel_realtime.instrument()


if WAY == "import":
    set_up()


async def hold(name: str) -> None:
    """One question and its answer, and then the line stays open."""
    async with client_of(URL) as client, client.realtime.connect(model="gpt-realtime") as rt:
        await ask(rt)
        (READY / f"{os.getpid()}-{name}").touch()
        async for _ in rt:
            pass


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Begin the calls."""
    async with AsyncExitStack() as stack:
        if WAY == "recipe":
            recipe = run(snippet("lifespan"))["lifespan"]
            await stack.enter_async_context(recipe(app))
        elif WAY == "startup":
            set_up()
        app.state.calls = [asyncio.create_task(hold(str(number))) for number in range(CALLS)]
        yield


app = FastAPI(lifespan=lifespan)


@app.websocket("/call")
async def call(caller: WebSocket) -> None:
    """One call for as long as the caller is on the line."""
    await caller.accept()
    talk = asyncio.create_task(hold("caller"))
    try:
        while True:
            await caller.receive_bytes()
    except WebSocketDisconnect:
        talk.cancel()
