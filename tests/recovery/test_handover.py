"""What was open goes to the app's own span processors, or stays until there is somebody to have it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_realtime
from otel_realtime import cli
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.handover import Relay
from otel_realtime.recovery.sweep import recover
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.recovery.conftest import NOWHERE, end, one_turn
from tests.support.traces import Traces
from tests.support.victims import files_below
from tests.support.waiting import wait_for

Snapshot = Callable[[otel_realtime.Conversation], Path]
OPEN = {"realtime_session", "rate_limits.updated"}


class Pairs(SpanProcessor):
    """Sees each span twice, as a processor may expect, and adds to it."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.began.append(span.get_span_context().span_id)
        span.set_attribute("app.tenant", "acme")

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        self.began.remove(span.context.span_id)
        self.ended.append(span.name)


class Broken(SpanProcessor):
    """Raises wherever it can."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        raise ValueError("on_start")

    def on_end(self, span: ReadableSpan) -> None:
        raise ValueError("on_end")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        raise ValueError("force_flush")


@pytest.fixture
def left(
    away: None,
    process: pytest.MonkeyPatch,
    traces: Traces,
    snapshot: Snapshot,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Path:
    """A state directory with one call that was killed after its first turn, its event still open."""
    process.setenv("OTEL_REALTIME_LANGSMITH", getattr(request, "param", "auto"))
    kept = str(tmp_path / "wavs")
    call = one_turn(traces, settings=otel_realtime.Settings(recordings_dir=kept))
    call.received({"type": "rate_limits.updated", "rate_limits": []})
    snapshot(call)
    end(call)
    otel_realtime.shutdown(0.1)
    PROCESS.deactivate_processors()  # another process would not know its provider
    process.setenv("OTEL_REALTIME_STATE_DIR", str(tmp_path / "left"))
    process.setenv("OTEL_REALTIME_RECOVER_ON_START", "true")
    process.setenv("OTEL_REALTIME_RECORDINGS_DIR", kept)
    return tmp_path / "left"


def to(sandbox: Sandbox, state: Path) -> None:
    """Let what is left be meant for the sandbox."""
    for path in files_below(state):
        if path.suffix in (".jsonl", ".spans"):
            path.write_bytes(path.read_bytes().replace(NOWHERE.encode(), sandbox.url.encode()))


def finished(memory: InMemorySpanExporter) -> set[str]:
    """Names of what was exported."""
    return {span.name for span in memory.get_finished_spans()}


def gone(state: Path) -> bool:
    """Whether everything was delivered."""
    return [] == [path for path in files_below(state) if path.suffix != ".lock"]


@pytest.mark.parametrize("first", ["instrument", "configure"])
def test_set_up_recovers_without_a_call(
    first: str, left: Path, sandbox: Sandbox, process: pytest.MonkeyPatch
) -> None:
    """LangSmith gets its part, and the exporter that the app adds in code later the open spans."""
    to(sandbox, left)
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    process.setattr(trace, "get_tracer_provider", lambda: provider)
    otel_realtime.instrument() if first == "instrument" else otel_realtime.configure()
    time.sleep(1.5)  # longer than the recovery waits at first
    provider.add_span_processor(BatchSpanProcessor(memory))
    wait_for(lambda: gone(left), "recovery")
    assert OPEN <= finished(memory)
    assert len(memory.get_finished_spans()) == len(
        {s.context.span_id for s in memory.get_finished_spans() if s.context}
    )
    [root] = [span for span in memory.get_finished_spans() if span.name == "realtime_session"]
    assert "process_died" == (root.attributes or {})["error.type"]
    [found] = sandbox.conversations()
    assert "error" == found["status"]
    assert [] == sandbox.violations()


@pytest.mark.parametrize("left", ["off", "auto"], indirect=True)
def test_processors_see_each_span_from_its_start(
    left: Path, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """As they would in the live process; one that raises costs the others nothing."""
    to(sandbox, left)
    pairs, memory = Pairs(), InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in (Broken(), pairs, SimpleSpanProcessor(memory)):
        provider.add_span_processor(processor)
    report = recover(Settings(state_dir=left), timeout_s=10, provider=provider)
    assert report.complete
    assert [] == pairs.began
    assert OPEN <= {*pairs.ended}
    attributes = [span.attributes or {} for span in memory.get_finished_spans()]
    assert {"acme"} == {found["app.tenant"] for found in attributes}
    assert "on_start" in caplog.text


@pytest.mark.parametrize("left", ["off"], indirect=True)
def test_a_command_without_a_destination_keeps_what_it_holds(
    left: Path, process: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It says so and fails, each time; once there is a destination it delivers, and only then deletes."""
    for _ in range(2):
        assert 1 == cli.main(["recover", "--state-dir", str(left)])
        told = capsys.readouterr().out
        assert "left: its spans have nowhere to go: set OTEL_EXPORTER_OTLP_ENDPOINT" in told
        assert "0 conversations and 0 spans delivered, 1 and 0 left" in told
    assert not gone(left)
    assert 1 == len([*(tmp_path / "wavs").glob("*.wav")])
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    assert recover(Settings(state_dir=left), timeout_s=10, provider=provider).complete
    assert OPEN <= finished(memory)
    assert gone(left)


def test_a_command_with_langsmith_alone_says_who_gets_nothing(
    left: Path, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """LangSmith gets all of it; that the app's own exporters get nothing is told."""
    to(sandbox, left)
    assert 0 == cli.main(["recover", "--state-dir", str(left)])
    told = capsys.readouterr().out
    assert "recording: attached; what was open went to LangSmith only" in told


def test_each_state_directory_is_recovered_once(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of the set-up, and that of a conversation which has its own."""
    seen: list[Path] = []
    process.setattr(
        PROCESS.recoveries, "_run", lambda settings, until: seen.append(settings.state_dir)
    )
    process.setattr("otel_realtime.process.recoveries.DELAY_S", 0.0)
    first, second = (Settings(state_dir=tmp_path / name) for name in "ab")
    otel_realtime.instrument(settings=first)
    otel_realtime.instrument(settings=first)
    for _ in range(2):
        with otel_realtime.conversation(settings=second, tracer_provider=TracerProvider()):
            pass
    wait_for(lambda: 2 == len(seen), "recoveries")
    otel_realtime.instrument(settings=Settings(state_dir=tmp_path / "c", recover_on_start=False))
    assert [first.state_dir, second.state_dir] == seen


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (TracerProvider(shutdown_on_exit=False), False),
        (None, False),
        (trace.NoOpTracerProvider(), False),
    ],
)
def test_what_exports_nothing_is_of_no_use(provider: Any, expected: bool) -> None:
    """No provider, one of another SDK, one without an exporter."""
    assert expected is Relay.is_of_use(provider)
