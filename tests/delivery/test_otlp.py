"""The OTLP destination that the environment names, by signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetrics,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetrics,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

from otel_realtime.delivery.otlp import endpoint, exporter_of, is_wanted, trace_exporter

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"

Given = Callable[..., None]


@pytest.fixture
def given(process: pytest.MonkeyPatch) -> Given:
    """Sets variables."""

    def given(**variables: str) -> None:
        for name, value in variables.items():
            process.setenv(name, value)

    return given


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, None, None),
        ({ENDPOINT: ""}, None, None),
        ({ENDPOINT: " http://a:4318 "}, "http://a:4318", "http://a:4318"),
        ({TRACES: "http://b/v1/traces"}, "http://b/v1/traces", None),
        ({ENDPOINT: "http://a", TRACES: "http://b"}, "http://b", "http://a"),
        ({ENDPOINT: "http://a", TRACES: ""}, "http://a", "http://a"),
    ],
)
def test_the_signals_own_endpoint_wins(
    given: Given, variables: dict[str, str], traces: str | None, metrics: str | None
) -> None:
    """An empty variable counts as unset."""
    given(**variables)
    assert (traces, metrics) == (endpoint("TRACES"), endpoint("METRICS"))


@pytest.mark.parametrize(
    ("chosen", "wanted"), [(None, True), ("otlp", True), ("none", False), (" NONE ", False)]
)
@pytest.mark.parametrize("signal", ["TRACES", "METRICS"])
def test_a_signal_can_be_switched_off(
    given: Given, signal: str, chosen: str | None, wanted: bool
) -> None:
    """By OpenTelemetry's own variable, and nothing is wanted without an endpoint."""
    if chosen is not None:
        given(**{f"OTEL_{signal}_EXPORTER": chosen})
    assert not is_wanted(signal)
    given(**{ENDPOINT: "http://127.0.0.1:9"})
    assert wanted == is_wanted(signal)


@pytest.mark.parametrize(
    ("variables", "spans", "metrics"),
    [
        ({}, HttpSpans, HttpMetrics),
        ({PROTOCOL: "http/protobuf"}, HttpSpans, HttpMetrics),
        ({PROTOCOL: " gRPC "}, GrpcSpans, GrpcMetrics),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, GrpcSpans, HttpMetrics),
        (
            {PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            HttpSpans,
            GrpcMetrics,
        ),
    ],
)
def test_the_protocol_is_the_environments(
    given: Given, variables: dict[str, str], spans: type, metrics: type
) -> None:
    """HTTP unless it says otherwise, for a signal or for all."""
    given(**{ENDPOINT: "http://127.0.0.1:9"}, **variables)
    found: list[Any] = [exporter_of("TRACES"), exporter_of("METRICS")]
    assert [spans, metrics] == [type(one) for one in found]
    for one in found:
        one.shutdown()


def test_spans_go_where_the_environment_says(given: Given) -> None:
    """Nowhere without an endpoint, and nowhere where traces are switched off."""
    assert trace_exporter() is None
    given(**{ENDPOINT: "http://127.0.0.1:9"})
    exporter = trace_exporter()
    assert isinstance(exporter, HttpSpans)
    assert "http://127.0.0.1:9/v1/traces" == exporter._endpoint
    given(OTEL_TRACES_EXPORTER="none")
    assert trace_exporter() is None
