"""The real Collector and the real Jaeger as child processes on loopback, for the end-to-end tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import requests

from tests.support.waiting import wait_for

ROOT: Final = Path(__file__).parents[2]
CONFIGS: Final = ROOT / "collector"

# What a machine's environment may set and a test must not inherit.
_OWN_PREFIXES: Final = ("OTELCOL_", "LANGSMITH_", "LANGCHAIN_", "JAEGER_", "OTEL_")


def free_ports(count: int) -> list[int]:
    """Return TCP ports of 127.0.0.1 that are free now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without settings of Collector, Jaeger, LangSmith or OpenTelemetry, plus ``extra``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OWN_PREFIXES)}
    return kept | extra


class Process:
    """A child process whose output goes to a file and which always ends with the test."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        self._command = [str(part) for part in command]
        self._env = dict(env)
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self, health_url: str, timeout_s: float = 30) -> None:
        """Start the process and wait until ``health_url`` answers 200."""
        self.spawn()
        wait_for(lambda: self._healthy(health_url), f"answer of {health_url}", timeout_s=timeout_s)

    def spawn(self) -> None:
        """Start the process."""
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                self._command, env=self._env, stdout=out, stderr=subprocess.STDOUT
            )

    def running(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    def used(self) -> tuple[float, int]:
        """Its CPU seconds and the most bytes of memory that it had, so far."""
        assert self._child is not None
        found = Path(f"/proc/{self._child.pid}")
        fields = (found / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        status = (found / "status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return ticks / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) * 1024

    def _healthy(self, url: str) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"ended at once: {self.text()[-2000:]}"
        try:
            return requests.get(url, timeout=1).status_code == 200
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM)."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """Its log's JSON lines."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]


class Collector:
    """One Collector with configs of this repository, every port moved to a free one.

    Args:
        binary: the program.
        folder: a folder of this Collector's own; its queue and log live there.
        configs: files relative to ``collector/`` (or absolute), in order.
        env: the variables of the configs; nothing else of their kind is inherited.
    """

    def __init__(
        self, binary: Path, folder: Path, configs: Sequence[str | Path], **env: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        grpc, http, health, own, metrics = free_ports(5)
        self.grpc = f"127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.own_metrics_url = f"http://127.0.0.1:{own}/metrics"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self._health = f"http://127.0.0.1:{health}/"
        moved = {
            "receivers::otlp::protocols::grpc::endpoint": self.grpc,
            "receivers::otlp::protocols::http::endpoint": f"127.0.0.1:{http}",
            "extensions::health_check::endpoint": f"127.0.0.1:{health}",
        }
        readers = [{"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": own}}}}]
        moved["service::telemetry::metrics::readers"] = json.dumps(readers)
        command: list[str | Path] = [
            binary,
            *(f"--config={CONFIGS / config}" for config in configs),
            *(f"--config=yaml:{key}: {value}" for key, value in moved.items()),
        ]
        environment = clean_environment(
            OTELCOL_LISTEN_HOST="127.0.0.1",
            OTELCOL_QUEUE_DIR=str(folder / "queue"),
            OTELCOL_METRICS_PORT=str(metrics),
            **env,
        )
        self.process = Process(command, folder / "collector.log", environment)

    def __enter__(self) -> Collector:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def start(self) -> None:
        """Start it (again, after :meth:`kill`) and wait until it is healthy."""
        self.process.launch(self._health)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()

    def own_metric(self, name: str, exporter: str = "") -> float:
        """The sum of one of its own metrics over all label sets, or those of one exporter.

        0 while there is none. A counter is found with and without its ``_total``.
        """
        text = requests.get(self.own_metrics_url, timeout=5).text
        starts = tuple(name + end for end in ("{", " ", "_total{", "_total "))
        rows = [line for line in text.splitlines() if line.startswith(starts)]
        wanted = [row for row in rows if not exporter or f'exporter="{exporter}"' in row]
        return sum(float(row.rsplit(" ", 1)[1]) for row in wanted)


class Jaeger:
    """One Jaeger with ``collector/jaeger.yaml``, asked by its HTTP query API."""

    def __init__(self, binary: Path, folder: Path, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        otlp, query, query_grpc, health = free_ports(4)
        self.otlp = f"127.0.0.1:{otlp}"
        self.url = f"http://127.0.0.1:{query}"
        self._health = f"http://127.0.0.1:{health}/status"
        environment = clean_environment(
            JAEGER_LISTEN_HOST="127.0.0.1",
            JAEGER_OTLP_GRPC_PORT=str(otlp),
            JAEGER_QUERY_PORT=str(query),
            JAEGER_QUERY_GRPC_PORT=str(query_grpc),
            JAEGER_HEALTH_PORT=str(health),
            **env,
        )
        command: list[str | Path] = [binary, f"--config={CONFIGS / 'jaeger.yaml'}"]
        self.process = Process(command, folder / "jaeger.log", environment)

    def __enter__(self) -> Jaeger:
        self.process.launch(self._health)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The trace's spans in Jaeger's own JSON; empty while it has none."""
        answer = requests.get(f"{self.url}/api/traces/{trace_id}", timeout=10)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        (trace,) = answer.json()["data"]
        return list(trace["spans"])

    def wait(self, trace_id: str, count: int, *, timeout_s: float = 20) -> list[dict[str, Any]]:
        """Wait until the trace has at least ``count`` spans and return them all."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = self.spans(trace_id)
            return len(found) >= count

        wait_for(enough, f"{count} spans in Jaeger", timeout_s=timeout_s, every_s=0.2)
        return found

    def find(self, service: str, tags: Mapping[str, str]) -> set[str]:
        """The ids of the service's traces that have a span with all these tags."""
        answer = requests.get(
            f"{self.url}/api/traces",
            params={"service": service, "tags": json.dumps(dict(tags)), "lookback": "1h"},
            timeout=10,
        )
        answer.raise_for_status()
        return {trace["traceID"] for trace in answer.json()["data"]}


def tags(span: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a span of Jaeger's JSON by name."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}
