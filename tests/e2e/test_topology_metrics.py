"""The metrics of real conversations, through the Collector to where Prometheus scrapes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.e2e.conftest import KEY, Places, StartApp, StartCollector
from tests.support.processes import Collector
from tests.support.prometheus_names import METRICS, PROCESS
from tests.support.voice_process import in_sandbox

pytestmark = pytest.mark.collector


@dataclass(frozen=True)
class Scraped:
    """What the endpoint for Prometheus says."""

    text: str

    @property
    def kinds(self) -> dict[str, str]:
        """Name -> kind, of the metrics of conversations."""
        found = re.findall(r"^# TYPE (\S+) (\S+)$", self.text, re.M)
        ours = (
            (name, kind) for name, kind in found if name.startswith(("gen_ai", "otel_realtime"))
        )
        return {name.removesuffix("_total"): kind for name, kind in ours}

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels, without the process's, and value of each series."""
        for line in self.text.splitlines():
            if line.startswith(name + "{"):
                inside, _, value = line[len(name) :].partition("} ")
                labels = dict(re.findall(r'([a-z_]+)="([^"]*)"', inside))
                own = {key: text for key, text in labels.items() if not PROCESS.fullmatch(key)}
                yield own, float(value.split()[0])

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        return sum(value for own, value in self.series(name) if labels.items() <= own.items())


@pytest.fixture
def collector(start_collector: StartCollector, places: Places) -> Collector:
    """A Collector with the metrics overlay."""
    return start_collector(
        *("config.yaml", "config.jaeger.yaml", "config.metrics.yaml"),
        LANGSMITH_API_KEY=KEY,
        LANGSMITH_OTLP_ENDPOINT=f"{places.sandbox.url}/otel",
        JAEGER_OTLP_ENDPOINT=places.jaeger.otlp,
    )


def scrape(collector: Collector) -> Scraped:
    """What Prometheus would get now."""
    return Scraped(requests.get(collector.metrics_url, timeout=5).text)


def test_every_metric_of_three_calls(
    places: Places, collector: Collector, start_app: StartApp
) -> None:
    """Each metric of the list comes out with its kind, unit and few labels, and adds up."""
    variables = {
        "LANGSMITH_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
        "OTEL_REALTIME_SPAN_LIMIT": "40",
        **places.key(),
    }
    apps = [start_app("--calls", "2", **variables), start_app("--minute", **variables)]
    calls = [call for app in apps for call in app.talked()]
    for app in apps:
        report = app.flushed()
        assert (True, True, {}) == (report["delivered"], report["measured"], report["faults"])
    found = scrape(collector)

    expected = {name: kind for name, (kind, _) in METRICS.items()}
    assert sorted(expected.items()) == sorted(found.kinds.items())
    for name, (kind, labels) in METRICS.items():
        series = name + {"histogram": "_count", "counter": "_total", "gauge": ""}[kind]
        assert {labels} == {frozenset(own) for own, _ in found.series(series)}, name
        assert 12 >= len({frozenset(own.items()) for own, _ in found.series(series)}), name

    runs = [in_sandbox(places.sandbox, call, root_by="runs_api") for call in calls]
    assert sum(run["tokens"] for run in runs) == found.total("gen_ai_client_token_usage_sum")
    counted = {
        "gen_ai_client_operation_duration_seconds_count": 11,
        "gen_ai_execute_tool_duration_seconds_count": 5,
        "otel_realtime_conversation_duration_seconds_count": 3,
        "otel_realtime_conversations_active": 0,
        "otel_realtime_interruptions_total": 4,
        "otel_realtime_errors_total": 2,
        "otel_realtime_recording_pending_bytes": 0,
    }
    assert counted == {name: found.total(name) for name in counted}
    assert 3 == found.total("otel_realtime_recording_uploads_total", outcome="attached")
    dropped = sum(run["root"]["metadata"]["dropped_events"] for run in runs)
    assert dropped == found.total("otel_realtime_telemetry_lost_total", what="event") > 0


def test_metrics_can_be_switched_off(
    places: Places, collector: Collector, start_app: StartApp
) -> None:
    """Then no metric of conversations leaves the process."""
    app = start_app(OTEL_REALTIME_METRICS="false", OTEL_EXPORTER_OTLP_ENDPOINT=collector.http)
    app.talked()
    assert app.flushed()["delivered"]
    assert {} == scrape(collector).kinds
