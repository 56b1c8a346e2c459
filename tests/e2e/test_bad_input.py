"""Frames, keys, folders and sockets that are not as they should be: the app never notices."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import otel_realtime
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.support import talking
from tests.support.isolation import langsmith_variables, leave_no_trace
from tests.support.realtime_server import Frame, ReplayServer
from tests.support.talking import SPEED, client_of, tone
from tests.support.traces import Traces, arrived, facts, outline, run_of

CREATED = {"type": "session.created", "event_id": "e1", "session": {"id": "s1", "model": "m"}}


@pytest.fixture
def speaking() -> Iterator[ScriptedServer]:
    """A server that speaks."""
    with ScriptedServer(
        talking.scenario(Answer(text="Hi.", pcm=tone(300))), speed=SPEED
    ) as running:
        yield running


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What we logged at WARNING or above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("otel_realtime") and record.levelno >= logging.WARNING
    ]


async def receive_all(url: str) -> list[Frame]:
    """Everything a bare websocket receives until the server closes."""
    got: list[Frame] = []
    async with connect(url + "/realtime?model=m") as socket:
        try:
            while True:
                got.append(await socket.recv())
        except ConnectionClosed:
            return got


# --- frames -------------------------------------------------------------------------------------------

BAD_FRAMES: list[Frame] = [
    "not json",
    "[1, 2]",
    '"text"',
    "null",
    "",
    "{}",
    '{"type": 7}',
    '{"type": "session.upd',
    b"\x00\xff\xfe",
    b"[]",
    "[" * 5000,
    '{"type": "response.done", "response": "none"}',
    '{"type": "conversation.item.added", "item": [1]}',
    '{"type": "response.output_audio.delta", "delta": 5}',
    '{"type": "response.output_audio.delta", "item_id": "i", "delta": "%%%"}',
    '{"type": "error", "error": null}',
    '{"type": "\\ud800.x", "a": "\\udfff"}',
    '{"type": "x.y", "n": 123456789012345678901234567890, "f": 1e999}',
]


def test_unreadable_frames_reach_the_app_unchanged(sandbox: Sandbox, traces: Traces) -> None:
    """Whatever the server sends, the app gets it as it is; it is counted and the trace goes on."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    good = json.dumps({"type": "session.updated", "event_id": "e2", "session": {"id": "s1"}})
    with ReplayServer([CREATED, *BAD_FRAMES, good], close=(1000, "")) as server:
        got = asyncio.run(receive_all(server.url))
    assert [json.dumps(CREATED), *BAD_FRAMES, good] == got
    assert otel_realtime.flush(20)
    arrived(sandbox, traces.spans)
    assert [
        "realtime_session",
        "  session.created",
        "  response.done",
        "  conversation.item.added",
        "  error",
        "  \ufffd.x",
        "  x.y",
        "  session.updated",
    ] == outline(traces.spans)
    assert len(got) == facts(traces.root)["otel_realtime.event_count"]


def test_unreadable_frames_that_the_app_sends(traces: Traces) -> None:
    """What the app sends reaches the server unchanged, in whatever form it was sent."""
    frames: list[Any] = ["not json", "[]", b"\x01", bytearray(b"\x02"), '{"type": 1}', ["a", "b"]]

    async def main() -> None:
        async with connect(server.url + "/realtime") as socket:
            await socket.recv()
            for frame in frames:
                await socket.send(frame)

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer([CREATED]) as server:
        asyncio.run(main())
        server.wait(lambda: len(server.received) == len(frames))
    assert ["not json", "[]", b"\x01", b"\x02", '{"type": 1}', "ab"] == server.received
    assert ["realtime_session", "  session.created"] == outline(traces.spans)


# --- sockets that speak something else ---------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [{"type": "connection_ack"}, *({"type": "next", "id": "1", "payload": {}},) * 9],
        [b"\x93\x01\x02"],
        ['[null, null, "phoenix", "phx_reply", {}]'] * 9,
    ],
    ids=["graphql", "binary", "phoenix"],
)
def test_a_socket_that_speaks_something_else(frames: list[Any], traces: Traces) -> None:
    """It is let go: no span, and its methods are the library's own again."""
    left: list[str] = []

    async def main() -> None:
        async with connect(server.url + "/realtime", subprotocols=None) as socket:
            await socket.send('{"type": "connection_init"}')
            for _ in frames:
                await socket.recv()
            left.extend(name for name in ("recv", "send", "close") if name in vars(socket))

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer(frames) as server:
        asyncio.run(main())
    assert ([], []) == (left, traces.spans)


@pytest.mark.parametrize("path", ["/realtime/v1/websocket", "/v1/realtime-x", "/v1/live"])
def test_other_paths_are_never_tapped(path: str, traces: Traces) -> None:
    """Only a path of ``Settings.realtime_paths`` is looked at, whatever its query says."""
    left: list[str] = []

    async def main() -> None:
        async with connect(server.url + path + "?next=/realtime") as socket:
            left.extend(name for name in ("recv", "send", "close") if name in vars(socket))
            await socket.recv()

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer([CREATED]) as server:
        asyncio.run(main())
    assert ([], []) == (left, traces.spans)


@pytest.mark.parametrize(("path", "roots"), [("/llm/7/voice?model=m", 1), ("/v1/realtime", 0)])
def test_a_gateway_with_a_path_of_its_own(path: str, roots: int, traces: Traces) -> None:
    """It is traced once its path is in ``Settings.realtime_paths``; then no other is."""

    async def main() -> None:
        async with connect(server.url.removesuffix("/v1") + path) as socket:
            await socket.recv()

    settings = Settings(realtime_paths=("/llm/*/voice",))
    otel_realtime.instrument(tracer_provider=traces.provider, settings=settings)
    with ReplayServer([CREATED]) as server:
        asyncio.run(main())
    assert roots == len(traces.roots)


def test_a_foreign_socket_of_a_realtime_path(traces: Traces) -> None:
    """``*`` looks at every socket, and lets go of those that speak something else."""

    async def main() -> bool:
        async with connect(server.url + "/chat") as socket:
            await socket.recv()
            return "recv" in vars(socket)

    settings = Settings(realtime_paths=("*",))
    otel_realtime.instrument(tracer_provider=traces.provider, settings=settings)
    with ReplayServer(["hello"]) as server:
        assert not asyncio.run(main())
    assert [] == traces.spans


# --- connections that fail ----------------------------------------------------------------------------


def test_a_refused_handshake(sandbox: Sandbox, traces: Traces) -> None:
    """The app's exception is its own; the trace is a root with the status, and no header."""

    async def main() -> None:
        async with client_of(server.url) as client, client.realtime.connect(model="m"):
            raise AssertionError("it was refused")

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer(refuse=401) as server, pytest.raises((InvalidStatus, openai.OpenAIError)):
        asyncio.run(main())
    assert otel_realtime.flush(10)
    conversation = arrived(sandbox, traces.spans)
    assert ("401", "error") == (facts(traces.root)["error.type"], conversation["status"])
    assert "HTTP 401" in conversation["root"]["error"]


def test_an_sdk_connection_that_never_spoke(sandbox: Sandbox, traces: Traces) -> None:
    """Closed before the first event: a root that says with which code and why."""

    async def main() -> None:
        async with client_of(server.url) as client, client.realtime.connect(model="m") as rt:
            with pytest.raises(ConnectionClosed):
                await rt.recv()

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer([], close=(4000, "no model")) as server:
        asyncio.run(main())
    assert otel_realtime.flush(10)
    conversation = arrived(sandbox, traces.spans)
    metadata = conversation["root"]["metadata"]
    assert (4000, "no model", "error") == (
        metadata["close_code"],
        metadata["close_reason"],
        conversation["status"],
    )


@pytest.mark.parametrize(
    ("code", "status"), [(1000, "success"), (1001, "success"), (1011, "error"), (3000, "error")]
)
def test_close_codes(code: int, status: str, sandbox: Sandbox, traces: Traces) -> None:
    """A close by the server is an error unless its code says that all is well."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer([CREATED], close=(code, "why")) as server:
        asyncio.run(receive_all(server.url))
    assert otel_realtime.flush(10)
    conversation = arrived(sandbox, traces.spans)
    assert (status, code) == (
        conversation["status"],
        conversation["root"]["metadata"]["close_code"],
    )


def test_a_lost_connection(sandbox: Sandbox, traces: Traces) -> None:
    """A connection that breaks without a close frame is an error of the conversation."""

    def drop(peer: Any) -> None:
        peer.send(CREATED)
        peer.recv()
        peer.drop()

    async def main() -> None:
        async with client_of(server.url) as client, client.realtime.connect(model="m") as rt:
            await rt.recv()
            await rt.response.create()
            with pytest.raises(ConnectionClosed):
                await rt.recv()

    otel_realtime.instrument(tracer_provider=traces.provider)
    with ReplayServer(drop) as server:
        asyncio.run(main())
    assert otel_realtime.flush(10)
    assert "error" == arrived(sandbox, traces.spans)["status"]
    assert "connection_lost" == facts(traces.root)["error.type"]


# --- keys ---------------------------------------------------------------------------------------------


def test_a_missing_key(
    process: pytest.MonkeyPatch,
    sandbox: Sandbox,
    speaking: ScriptedServer,
    traces: Traces,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line that names the variable, however many calls; roots go by OTLP, without the marker."""
    process.delenv("LANGSMITH_API_KEY")
    otel_realtime.instrument(tracer_provider=traces.provider)
    for _ in range(2):
        asyncio.run(talking.one_turn(speaking.url))
    assert otel_realtime.flush(10)
    (line,) = complaints(caplog)
    assert "LANGSMITH_API_KEY" in line
    assert [] == sandbox.conversations()
    for root in traces.roots:
        assert ("collector", None, "no_credentials") == (
            facts(root)["otel_realtime.langsmith.leg"],
            facts(root).get("otel_realtime.langsmith.root"),
            facts(root)["langsmith.metadata.ls_audio_attach_status"],
        )


def test_without_a_key_the_apps_exporter_delivers_the_whole_trace(
    process: pytest.MonkeyPatch, sandbox: Sandbox, speaking: ScriptedServer, traces: Traces
) -> None:
    """What LangSmith gets by OTLP alone (from a Collector with a key) is a whole conversation."""
    for name in ("LANGSMITH_API_KEY", "LANGSMITH_ENDPOINT"):
        process.delenv(name)
    exporter = OTLPSpanExporter(
        endpoint=f"{sandbox.url}/otel/v1/traces",
        headers={"x-api-key": "the-collectors", "Langsmith-Project": "calls"},
    )
    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(talking.one_turn(speaking.url))
    exporter.export(traces.spans)
    exporter.shutdown()
    conversation = sandbox.conversation(run_of(traces.root))
    assert conversation is not None
    assert {"duplicate_messages"} >= {one["kind"] for one in conversation["violations"]}
    assert len(traces.spans) == len(conversation["runs"])
    assert {"otlp"} == {run["delivered_by"] for run in conversation["runs"]}


def test_a_wrong_key(
    process: pytest.MonkeyPatch,
    speaking: ScriptedServer,
    traces: Traces,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line that says what to correct; the root goes by OTLP unmarked, with the same ids."""
    ids: dict[str, str] = {}

    async def main() -> None:
        async with client_of(speaking.url) as client, client.realtime.connect(model="m") as rt:
            with otel_realtime.conversation(rt) as call:
                ids["run"] = call.langsmith_run_id
                await talking.ask(rt)

    with Sandbox(tmp_path / "strict", keys={"another"}) as strict:
        for name, value in langsmith_variables(strict.url).items():
            process.setenv(name, value)
        otel_realtime.instrument(tracer_provider=traces.provider)
        asyncio.run(main())
        assert otel_realtime.flush(10) is False
        assert [] == strict.conversations()
        leave_no_trace()
    (line,) = complaints(caplog)
    assert "LANGSMITH_API_KEY" in line
    root = facts(traces.root)
    assert (None, ids["run"], ids["run"]) == (
        root.get("otel_realtime.langsmith.root"),
        root["langsmith.span.id"],
        run_of(traces.root),
    )


# --- folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a file is in the way", "read-only"])
def test_an_unwritable_state_directory(
    how: str,
    sandbox: Sandbox,
    speaking: ScriptedServer,
    traces: Traces,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call goes on and is traced; there is no recording, and the root says why."""
    blocked = tmp_path / "blocked"
    if how == "read-only":
        if os.geteuid() == 0:
            blocked = Path("/proc/otel-realtime")  # root may write anywhere else
        else:
            blocked.mkdir(mode=0o500)
    else:
        blocked.write_text("not a folder")
    otel_realtime.instrument(
        tracer_provider=traces.provider, settings=Settings(state_dir=blocked / "state")
    )
    asyncio.run(talking.one_turn(speaking.url))
    assert otel_realtime.flush(10)
    conversation = arrived(sandbox, traces.spans)
    metadata = conversation["root"]["metadata"]
    assert ("success", False, "failed") == (
        conversation["status"],
        conversation["has_recording"],
        metadata["ls_audio_attach_status"],
    )
    assert "cannot write to the state directory" in metadata["recording_error"]
    assert 1 == sum("its recording ends here" in line for line in complaints(caplog))
    assert 300 == facts(traces.one("chat gpt-realtime"))["otel_realtime.generated_ms"]


# --- the app's own mistakes ---------------------------------------------------------------------------


def test_a_failing_redact_hides_the_payload(
    sandbox: Sandbox,
    speaking: ScriptedServer,
    traces: Traces,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hook of the app's that raises never lets a payload through, and is named once per call."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("redactor down")

    otel_realtime.instrument(
        tracer_provider=traces.provider, settings=Settings(redact=redact, record_audio=False)
    )
    asyncio.run(talking.one_turn(speaking.url))
    assert otel_realtime.flush(10)
    arrived(sandbox, traces.spans)
    (line,) = complaints(caplog)
    assert "Settings.redact failed (LookupError); the payload is hidden" in line
    texts = json.dumps([dict(facts(span)) for span in traces.spans])
    assert "friendly assistant" not in texts
    assert "Hi." not in texts


def test_metadata_that_langsmith_would_misread(
    sandbox: Sandbox, speaking: ScriptedServer, traces: Traces
) -> None:
    """Reserved keys are refused, odd values become text; nothing breaks the contract."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    metadata = {
        "session_id": "x",
        "thread_id": "y",
        "conversation_id": "z",
        "big": 2**70,
        "nan": float("nan"),
        "none": None,
        "list": [1, {"a": 2}],
        "surrogate": "\ud800",
        7: "seven",
    }
    with otel_realtime.using(metadata=metadata, tags=["a,b", "\ud800"]):  # type: ignore[arg-type]
        asyncio.run(talking.one_turn(speaking.url))
    assert otel_realtime.flush(10)
    conversation = arrived(sandbox, traces.spans)
    found = conversation["root"]["metadata"]
    assert {"session_id", "conversation_id"}.isdisjoint(found)
    assert "y" != conversation["thread_id"]
    assert "seven" == found["7"]
