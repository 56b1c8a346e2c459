"""The apps' metrics through the Collector: in by OTLP, out for Prometheus."""

from __future__ import annotations

import re

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.e2e.conftest import StartCollector
from tests.support.processes import Collector
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector

TOKENS = "gen_ai_client_token_usage_sum"
ACTIVE = "otel_realtime_conversations_active"


@pytest.fixture
def collector(start_collector: StartCollector) -> Collector:
    """A Collector with the metrics overlay."""
    return start_collector("config.yaml", "config.metrics.yaml", LANGSMITH_API_KEY="lsv2_pt_test")


def send_metrics(collector: Collector, instance: str, tokens: int) -> None:
    """Record what one process of the app would, and export it once."""
    exporter = OTLPMetricExporter(endpoint=f"{collector.http}/v1/metrics", timeout=10)
    provider = MeterProvider(
        resource=Resource({"service.name": "voice", "service.instance.id": instance}),
        metric_readers=[PeriodicExportingMetricReader(exporter, 3_600_000)],
        shutdown_on_exit=False,
    )
    meter = provider.get_meter("otel_realtime")
    usage = meter.create_histogram("gen_ai.client.token.usage", "{token}")
    usage.record(tokens, {"gen_ai.token.type": "input", "gen_ai.request.model": "gpt-realtime"})
    meter.create_up_down_counter("otel_realtime.conversations.active").add(1)
    assert provider.force_flush()
    provider.shutdown()


def samples(collector: Collector, name: str) -> dict[str, float]:
    """The values of one metric by the instance of the process they are of."""
    text = requests.get(collector.metrics_url, timeout=5).text
    rows = (line for line in text.splitlines() if line.startswith(name + "{"))
    return {
        re.findall(r'instance="([^"]*)"', row)[0]: float(row.rsplit("}", 1)[1].split()[0])
        for row in rows
    }


def test_metrics_of_several_processes_come_out_for_prometheus(collector: Collector) -> None:
    """Histograms and counters keep their values, kept apart by process."""
    send_metrics(collector, "pod-1", 100)
    send_metrics(collector, "pod-2", 250)
    wait_for(lambda: len(samples(collector, TOKENS)) == 2, "metrics of both processes")
    assert samples(collector, TOKENS) == {"pod-1": 100.0, "pod-2": 250.0}
    assert samples(collector, ACTIVE) == {"pod-1": 1.0, "pod-2": 1.0}
