"""The real programs of the end-to-end tests, each started once per module and only on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.support import talking
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector, Jaeger
from tests.support.programs import program
from tests.support.voice_process import VoiceProcess

StartCollector = Callable[..., Collector]


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """The Collector's program; the test is skipped (in CI: fails) where there is none."""
    return program(COLLECTOR)


@pytest.fixture(scope="session")
def jaeger_binary() -> Path:
    """Jaeger's program; the test is skipped (in CI: fails) where there is none."""
    return program(JAEGER)


@pytest.fixture
def langsmith() -> Iterator[OtlpRecorder]:
    """What stands where LangSmith is."""
    with OtlpRecorder() as recorder:
        yield recorder


@pytest.fixture(scope="session")
def jaeger(jaeger_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """One Jaeger for all tests: each looks for its own trace ids."""
    with Jaeger(jaeger_binary, tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture
def start_collector(collector_binary: Path, tmp_path: Path) -> Iterator[StartCollector]:
    """Start Collectors by ``start_collector("config.yaml", ..., VARIABLE="value")``; all end with the test."""
    started: list[Collector] = []

    def start(*configs: str, **env: str) -> Collector:
        folder = tmp_path / f"collector-{len(started)}"
        collector = Collector(collector_binary, folder, configs, **env)
        started.append(collector)
        collector.start()
        return collector

    yield start
    for collector in started:
        collector.process.stop()


@dataclass(frozen=True)
class Topology:
    """A Collector with both destinations behind it."""

    collector: Collector
    langsmith: OtlpRecorder
    jaeger: Jaeger


@pytest.fixture(scope="module")
def topology(
    collector_binary: Path, jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Topology]:
    """One Collector for a module's tests; they share its destinations and look for their own traces."""
    with OtlpRecorder() as recorder:
        with Collector(
            collector_binary,
            tmp_path_factory.mktemp("collector"),
            ["config.yaml", "config.jaeger.yaml"],
            LANGSMITH_API_KEY="lsv2_pt_test",
            LANGSMITH_PROJECT="calls",
            LANGSMITH_OTLP_ENDPOINT=recorder.endpoint,
            JAEGER_OTLP_ENDPOINT=jaeger.otlp,
        ) as collector:
            yield Topology(collector, recorder, jaeger)


KEY = "lsv2_pt_test"


@dataclass(frozen=True)
class Places:
    """A Collector with the sandbox and Jaeger behind it, and a Realtime server to talk to."""

    collector: Collector
    sandbox: Sandbox
    jaeger: Jaeger
    server: ScriptedServer

    def key(self) -> dict[str, str]:
        """The variables of a process that has LangSmith's key, and the address that goes with it."""
        return {
            "LANGSMITH_ENDPOINT": self.sandbox.url,
            "LANGSMITH_API_KEY": KEY,
            "LANGSMITH_PROJECT": "calls",
        }

    def otlp(self, protocol: str = "http/protobuf") -> dict[str, str]:
        """The variables of a process that exports to the Collector."""
        grpc = protocol == "grpc"
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.collector.grpc}"
            if grpc
            else self.collector.http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }

    def sent_to_langsmith(self) -> float:
        """How many spans the Collector has sent to LangSmith so far."""
        return self.collector.own_metric("otelcol_exporter_sent_spans", "otlp_http/langsmith")


@pytest.fixture
def places(
    start_collector: StartCollector, jaeger: Jaeger, process: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Places]:
    """Everything an app may send to, empty."""
    with (
        Sandbox(tmp_path / "sandbox") as sandbox,
        ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED) as server,
    ):
        collector = start_collector(
            "config.yaml",
            "config.jaeger.yaml",
            LANGSMITH_API_KEY=KEY,
            LANGSMITH_PROJECT="calls",
            LANGSMITH_OTLP_ENDPOINT=f"{sandbox.url}/otel",
            JAEGER_OTLP_ENDPOINT=jaeger.otlp,
        )
        yield Places(collector, sandbox, jaeger, server)
        collector.process.stop()


StartApp = Callable[..., VoiceProcess]


@pytest.fixture
def start_app(places: Places, tmp_path: Path) -> Iterator[StartApp]:
    """Start apps by ``start_app("--calls", "3", **variables)``; all end with the test."""
    started: list[VoiceProcess] = []

    def start(*arguments: str, **env: str) -> VoiceProcess:
        folder = tmp_path / f"app-{len(started)}"
        app = VoiceProcess(folder, places.server.url, *arguments, env=env)
        started.append(app)
        return app.__enter__()

    yield start
    for app in started:
        app.__exit__()
