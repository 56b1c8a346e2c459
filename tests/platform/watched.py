"""A platform as its team watches it: real calls, a real Collector, and a real Prometheus that scrapes it.

Prometheus runs with ``collector/prometheus``, only its targets and intervals changed. Beside the
Collector there is a second one whose LangSmith refuses everything and whose queue is too small, so that
the metrics of losses exist as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Final

import requests
import yaml
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.e2e.binaries import COLLECTOR, JAEGER
from tests.platform.prometheus_build import PROMETHEUS
from tests.support import handmade, talking
from tests.support.processes import (
    CONFIGS,
    Collector,
    Jaeger,
    Process,
    clean_environment,
    free_ports,
)
from tests.support.programs import program
from tests.support.voice_process import VoiceProcess

KEY: Final = "lsv2_pt_test"
SHIPPED: Final = CONFIGS / "prometheus" / "prometheus.yml"
#: What the page tells to start Prometheus with.
FEATURES: Final = "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion"
#: Prometheus scrapes and evaluates that often.
EVERY: Final = "1s"


class Prometheus:
    """One Prometheus with the shipped files, asked by its HTTP API.

    Args:
        binary: the program.
        folder: a folder of its own.
        targets: addresses by the name of the job that scrapes them.
    """

    def __init__(self, binary: Path, folder: Path, targets: dict[str, list[str]]) -> None:
        folder.mkdir(parents=True)
        config = yaml.safe_load(SHIPPED.read_text())
        config["global"] = {
            "scrape_interval": EVERY,
            "evaluation_interval": EVERY,
        }
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copytree(SHIPPED.parent / "rules", folder / "rules")
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        command: list[str | Path] = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            FEATURES,
        ]
        self.process = Process(command, folder / "prometheus.log", clean_environment())

    def __enter__(self) -> Prometheus:
        self.process.launch(f"{self.url}/-/ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def get(self, path: str, **parameters: str | float) -> Any:
        """The ``data`` of an answer of the API.

        Raises:
            AssertionError: it says that something was wrong with the query.
        """
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert "success" == answer["status"], (parameters, answer.get("error"))
        return answer["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that a query has now."""
        return list(self.get("query", query=expr)["result"])

    def value(self, expr: str) -> float:
        """The one value of a query; 0 if it has none."""
        found = self.query(expr)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else 0.0

    def firing(self) -> set[str]:
        """The alerts that fire."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


class _Refusing(BaseHTTPRequestHandler):
    """A LangSmith that does not know the key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass(frozen=True)
class Watched:
    """What runs, and what it has seen.

    Attributes:
        prometheus: has scraped all that follows.
        collector: the one that works.
        troubled: the one that does not.
        jaeger: has the calls.
        traces: trace ids of the calls.
        start: starts another process that calls, by the arguments of ``voice_app`` and variables.
        variables: where such a process sends to.
    """

    prometheus: Prometheus
    collector: Collector
    troubled: Collector
    jaeger: Jaeger
    traces: frozenset[str]
    start: Callable[..., VoiceProcess]
    variables: Mapping[str, str]


def _address(url: str) -> str:
    return url.removeprefix("http://").removesuffix("/metrics")


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Hold calls of every kind, and wait until Prometheus has seen them.

    Args:
        folder: an empty folder.
    """
    with ExitStack() as running:
        enter = running.enter_context
        sandbox = enter(Sandbox(folder / "sandbox"))
        server = enter(ScriptedServer(talking.WEATHER_CALL, speed=talking.SPEED))
        jaeger = enter(Jaeger(program(JAEGER), folder / "jaeger"))
        binary = program(COLLECTOR)
        configs = ["config.yaml", "config.jaeger.yaml", "config.metrics.yaml"]
        collector = enter(
            Collector(
                *(binary, folder / "collector", configs),
                LANGSMITH_API_KEY=KEY,
                LANGSMITH_OTLP_ENDPOINT=f"{sandbox.url}/otel",
                JAEGER_OTLP_ENDPOINT=jaeger.otlp,
            )
        )
        troubled = enter(_troubled(binary, folder / "troubled"))
        prometheus = enter(
            Prometheus(
                *(program(PROMETHEUS), folder / "prometheus"),
                {
                    "otel-realtime": [_address(collector.metrics_url)],
                    "otelcol": [_address(one.own_metrics_url) for one in (collector, troubled)],
                },
            )
        )
        variables = {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": sandbox.url,
            "LANGSMITH_API_KEY": KEY,
            "LANGSMITH_PROJECT": "calls",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
            "OTEL_REALTIME_SPAN_LIMIT": "40",
        }
        numbers = count()

        def start(*arguments: str, **more: str) -> VoiceProcess:
            place = folder / f"app-{next(numbers)}"
            return enter(VoiceProcess(place, server.url, *arguments, env=variables | more))

        # They stay: at its exit a process exports once more, without the exemplars of before.
        kinds = (("--calls", "2"), ("--minute",), ("--failing",))
        apps = [start(*kind, "--stay=600") for kind in kinds]
        traces = frozenset(call.trace_id for app in apps for call in app.talked())
        for app in apps:
            assert app.flushed()["delivered"]
        yield Watched(prometheus, collector, troubled, jaeger, traces, start, variables)


@contextmanager
def _troubled(binary: Path, folder: Path) -> Iterator[Collector]:
    """A Collector that loses spans in each of the three ways."""
    folder.mkdir()
    small = folder / "small-queue.yaml"
    queue = {"queue_size": 20_000, "batch": {"min_size": 1_000, "max_size": 20_000}}
    small.write_text(json.dumps({"exporters": {"otlp_http/langsmith": {"sending_queue": queue}}}))
    with _refusing() as url:
        collector = Collector(
            *(binary, folder / "run", ["config.yaml", small]),
            LANGSMITH_API_KEY=KEY,
            LANGSMITH_OTLP_ENDPOINT=url,
        )
        with collector:
            sender = OTLPSpanExporter(f"{collector.http}/v1/traces", timeout=1)
            kept, too_large = handmade.conversation(events=1), handmade.conversation(events=200)
            assert SpanExportResult.SUCCESS is sender.export(kept.spans)
            assert SpanExportResult.FAILURE is sender.export(too_large.spans)
            sender.shutdown()
            yield collector
