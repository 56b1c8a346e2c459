"""A media websocket under FastAPI's real instrumentation, with and without what the recipe excludes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.matrix.environments import uv
from tests.support.processes import ROOT, clean_environment
from tests.support.readme import snippet

pytestmark = pytest.mark.platform

_RECIPE = dedent(snippet("exclude_spans="))
#: Talks to a websocket of the recipe's app as a media stream does; the spans by name are the result.
_DRIVER = """
import asyncio, json, sys
from collections import Counter
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
names = {"__name__": "recipe"}
exec(sys.stdin.read(), names)
from fastapi import WebSocket
import otel_realtime
from otel_realtime.demo.server import ScriptedServer
from tests.support.talking import SPEED, WEATHER_CALL, weather_call
from starlette.testclient import TestClient

otel_realtime.instrument()
server = ScriptedServer(WEATHER_CALL, speed=SPEED)
server.__enter__()
app = names["app"]

@app.websocket("/media")
async def media(caller: WebSocket):
    await caller.accept()
    for _ in range(50):
        await caller.receive_bytes()
    await weather_call(server.url)
    await caller.send_text("bye")
    await caller.close()

with TestClient(app) as client, client.websocket_connect("/media") as stream:
    for _ in range(50):
        stream.send_bytes(bytes(160))
    assert "bye" == stream.receive_text()
server.__exit__(None, None, None)
spans = memory.get_finished_spans()
(root,) = [span for span in spans if span.name == "realtime_session"]
(socket,) = [span for span in spans if span.name.endswith("/media") and span.kind.name == "SERVER"]
print(json.dumps({
    "messages": sum(span.name.endswith((" receive", " send")) for span in spans),
    "linked": [[link.context.span_id for link in socket.links] == [root.context.span_id],
               [link.context.span_id for link in root.links] == [socket.context.span_id]],
}))
"""


@pytest.fixture(scope="module")
def instrumentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The instrumentation in a folder of its own: beside the others it would trace their servers."""
    folder = tmp_path_factory.mktemp("fastapi")
    wanted = "opentelemetry-instrumentation-fastapi>=0.51b0"
    subprocess.run(
        [uv(), "pip", "install", "-q", "-p", sys.executable, "--target", folder, wanted], check=True
    )
    return folder


def spans_of(source: str, instrumentation: Path) -> dict[str, object]:
    """What an app with these lines traces of a stream of 50 messages with a call in it."""
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        input=source,
        env=clean_environment(
            PYTHONPATH=f"{ROOT}:{instrumentation}", OTEL_REALTIME_LANGSMITH="off"
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_messages_make_no_spans_and_the_call_is_linked(instrumentation: Path) -> None:
    """The span of the websocket and the root of the call know each other."""
    assert {"messages": 0, "linked": [True, True]} == spans_of(_RECIPE, instrumentation)


def test_without_the_recipe_each_message_is_a_span(instrumentation: Path) -> None:
    """Which is what it says."""
    source = _RECIPE.replace(', exclude_spans=["receive", "send"]', "")
    assert "exclude" not in source
    found = spans_of(source, instrumentation)["messages"]
    assert isinstance(found, int)
    assert found > 50
