"""Conversations that nobody wants: no run, no recording, nothing on disk, and a socket left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NoOpTracerProvider

import otel_realtime
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.support import talking
from tests.support.talking import SPEED, client_of, session, silence, tone
from tests.support.traces import Traces, facts
from tests.support.waiting import wait_for

TAPPED = ("recv", "send", "close")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that speaks."""
    with ScriptedServer(
        talking.scenario(Answer(text="Hi.", pcm=tone(300))), speed=SPEED
    ) as running:
        yield running


async def call(url: str) -> list[str]:
    """A spoken turn; returns which methods of the socket were still replaced after its first events."""
    async with client_of(url) as client, client.realtime.connect(model="gpt-realtime") as rt:
        await rt.session.update(session=session())
        await talking.say(rt, tone(300) + silence(talking.SILENCE_MS))
        async for event in rt:
            if event.type == "response.done":
                return [name for name in TAPPED if name in vars(rt._connection)]
    raise AssertionError("the call ended early")


def on_disk(tmp_path: Path) -> list[Path]:
    """Every file in the state directory."""
    return [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


def assert_nothing_came_of_it(sandbox: Sandbox, traces: Traces, tmp_path: Path) -> None:
    """No run, no span, no file, nobody live."""
    assert otel_realtime.flush(10)
    assert ([], [], []) == (sandbox.conversations(), traces.spans, on_disk(tmp_path))
    assert set() == PROCESS.live


def test_sampled_out(sandbox: Sandbox, server: ScriptedServer, tmp_path: Path) -> None:
    """A conversation that the sampler drops leaves nothing, and its socket is untapped."""
    traces = Traces(sampler=ALWAYS_OFF)
    otel_realtime.instrument(tracer_provider=traces.provider)
    assert [] == asyncio.run(call(server.url))
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_record_only(sandbox: Sandbox, server: ScriptedServer, tmp_path: Path) -> None:
    """A root that is recorded but not sampled would be exported nowhere: the same."""

    class RecordOnly(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            return SamplingResult(Decision.RECORD_ONLY)

        def get_description(self) -> str:
            return "record only"

    traces = Traces(sampler=RecordOnly())
    otel_realtime.instrument(tracer_provider=traces.provider)
    assert [] == asyncio.run(call(server.url))
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_a_sampler_sees_who_calls(sandbox: Sandbox, server: ScriptedServer, traces: Traces) -> None:
    """What a sampler may want to know is given when the root starts."""
    seen: dict[str, Any] = {}

    class Curious(Sampler):
        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any
        ) -> SamplingResult:
            if name == "realtime_session":
                seen.update(kwargs.get("attributes") or args[1])
            return ParentBased(ALWAYS_OFF).should_sample(
                parent_context, trace_id, name, *args, **kwargs
            )

        def get_description(self) -> str:
            return "curious"

    curious = Traces(sampler=Curious())
    otel_realtime.instrument(tracer_provider=curious.provider)
    with otel_realtime.using(thread_id="t-9", metadata={"tenant": "x"}):
        asyncio.run(call(server.url))
    expected = {
        "otel_realtime.thread_id": "t-9",
        "gen_ai.provider.name": "openai",
        "otel_realtime.model": "gpt-realtime",
        "server.address": "127.0.0.1",
        "otel_realtime.metadata.tenant": "x",
    }
    assert expected == {name: seen.get(name) for name in expected}


def test_suppressed(
    sandbox: Sandbox, server: ScriptedServer, traces: Traces, tmp_path: Path
) -> None:
    """Under ``suppress_instrumentation`` a connection is not even tapped."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with suppress_instrumentation():
        assert [] == asyncio.run(call(server.url))
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_suppressed_although_announced(
    sandbox: Sandbox, server: ScriptedServer, traces: Traces, tmp_path: Path
) -> None:
    """``conversation(...)`` is suppressed as well; the block runs as if it were not there."""

    async def main() -> None:
        async with client_of(server.url) as client, client.realtime.connect(model="m") as rt:
            with suppress_instrumentation(), otel_realtime.conversation(rt) as here:
                await rt.recv()
                with here.tool(name="x"):
                    pass
                here.set_metadata(a=1)

    otel_realtime.instrument(tracer_provider=traces.provider)
    with suppress_instrumentation():
        asyncio.run(main())
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_sdk_disabled(
    process: pytest.MonkeyPatch, sandbox: Sandbox, server: ScriptedServer, tmp_path: Path
) -> None:
    """``OTEL_SDK_DISABLED=true`` turns everything off, ours too."""
    process.setenv("OTEL_SDK_DISABLED", "true")
    traces = Traces()
    otel_realtime.instrument(tracer_provider=traces.provider)
    assert [] == asyncio.run(call(server.url))
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_no_provider_at_all(
    sandbox: Sandbox, server: ScriptedServer, traces: Traces, tmp_path: Path
) -> None:
    """An app whose OpenTelemetry is not set up is left alone."""
    otel_realtime.instrument(tracer_provider=NoOpTracerProvider())
    assert [] == asyncio.run(call(server.url))
    assert_nothing_came_of_it(sandbox, traces, tmp_path)


def test_left_out_by_langsmiths_rate(
    process: pytest.MonkeyPatch,
    sandbox: Sandbox,
    server: ScriptedServer,
    traces: Traces,
    tmp_path: Path,
) -> None:
    """``LANGSMITH_TRACING_SAMPLING_RATE=0``: other backends get the trace, LangSmith nothing."""
    process.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0")
    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(call(server.url))
    assert otel_realtime.flush(10)
    assert ([], []) == (sandbox.conversations(), on_disk(tmp_path))
    assert {"none"} == {facts(span)["otel_realtime.langsmith.leg"] for span in traces.spans}
    assert "none" == facts(traces.root)["langsmith.metadata.ls_audio_attach_status"]


def test_recorded_only_where_it_has_somewhere_to_go(
    process: pytest.MonkeyPatch, server: ScriptedServer, traces: Traces, tmp_path: Path
) -> None:
    """Without LangSmith and without a place of the app's, no sound touches the disk."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(call(server.url))
    assert otel_realtime.flush(10)
    assert [] == on_disk(tmp_path)
    assert "chat gpt-realtime" in {span.name for span in traces.spans}


def test_recordings_of_the_apps_own(server: ScriptedServer, traces: Traces, tmp_path: Path) -> None:
    """``recordings_dir`` and ``on_recording`` get the recording without any LangSmith."""
    told: list[tuple[Path, dict[str, Any], int]] = []
    kept = tmp_path / "kept"
    settings = Settings(
        recordings_dir=str(kept),
        on_recording=lambda path, info: told.append((path, info, path.stat().st_size)),
    )
    otel_realtime.instrument(tracer_provider=traces.provider, settings=settings)
    asyncio.run(call(server.url))
    assert otel_realtime.flush(10)
    ((path, info, size),) = told
    (file,) = kept.glob("*.wav")
    assert (size, facts(traces.root)["otel_realtime.thread_id"]) == (
        file.stat().st_size,
        info["thread_id"],
    )
    wait_for(lambda: not path.exists(), "end of the conversation's folder", every_s=0.01)
    assert {"owners"} == {file.parent.name for file in on_disk(tmp_path)}


def test_recording_switched_off(
    sandbox: Sandbox, server: ScriptedServer, traces: Traces, tmp_path: Path
) -> None:
    """``record_audio=False`` keeps the trace, heard times included, and no sound anywhere."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with otel_realtime.using(record_audio=False):
        asyncio.run(call(server.url))
    assert otel_realtime.flush(10)
    (conversation,) = sandbox.conversations()
    assert (False, 0) == (conversation["has_recording"], conversation["violations"])
    found = sandbox.conversation(conversation["id"])
    assert found is not None
    assert "disabled" == found["root"]["metadata"]["ls_audio_attach_status"]
    assert 300 == facts(traces.one("chat gpt-realtime"))["otel_realtime.generated_ms"]
