"""A Celery app whose task holds a call; set up as the README says."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from celery import Celery

from tests.support.readme import run, snippet
from tests.support.talking import ask, client_of

FOLDER = Path(os.environ["BROKER"])
#: How long the line stays open after the answer.
HOLDS_S = 1.0

app = Celery("voice", broker="filesystem://", set_as_current=False)
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER),
    "data_folder_out": str(FOLDER),
    "control_folder": str(FOLDER / "control"),
}
# Kept: Celery refers to the functions that are connected to a signal weakly.
RECIPE = run(snippet("worker_process_init"))


@app.task(name="call")  # type: ignore[untyped-decorator]
def call(number: int) -> None:
    """One question and its answer, and then the line stays open for a while."""

    async def talk() -> None:
        async with (
            client_of(os.environ["SERVER"]) as client,
            client.realtime.connect(model="gpt-realtime") as rt,
        ):
            await ask(rt)
            (Path(os.environ["READY"]) / f"{os.getpid()}-{number}").touch()
            await asyncio.sleep(HOLDS_S)

    asyncio.run(talk())
