"""The exporters that the environment chooses, by signal."""

from __future__ import annotations

import sys
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

from otel_realtime.delivery.otlp import (
    chosen,
    endpoint,
    exporter_class,
    make_exporter,
    trace_exporter,
)
from otel_realtime.errors import ConfigError

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


HTTP, GRPC = "otlp_proto_http", "otlp_proto_grpc"
SIGNALS = pytest.mark.parametrize("signal", ["TRACES", "METRICS"])


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        (None, []),  # nobody asked for anything
        ("", []),
        ("none", []),
        (" NONE ", []),
        ("otlp", [HTTP]),  # asked for outright: the exporter's own default endpoint
        ("console", ["console"]),
        ("otlp,console", [HTTP, "console"]),
        (" Console , OTLP,", ["console", HTTP]),
        ("otlp,otlp", [HTTP]),
        (f"otlp,{HTTP}", [HTTP]),
        (f"{GRPC},otlp", [GRPC, HTTP]),
    ],
)
@SIGNALS
def test_the_exporters_are_the_environments(
    given: Given, signal: str, given_names: str | None, expected: list[str]
) -> None:
    """By OpenTelemetry's own variable: a list, each name once."""
    if given_names is not None:
        given(**{f"OTEL_{signal}_EXPORTER": given_names})
    assert expected == chosen(signal)


@SIGNALS
def test_an_endpoint_alone_asks_for_otlp(given: Given, signal: str) -> None:
    """Unless the signal is switched off."""
    given(**{ENDPOINT: "http://127.0.0.1:9"})
    assert [HTTP] == chosen(signal)
    given(**{f"OTEL_{signal}_EXPORTER": "none"})
    assert [] == chosen(signal)


@pytest.mark.parametrize(
    ("variables", "spans", "metrics"),
    [
        ({}, HttpSpans, HttpMetrics),
        ({PROTOCOL: ""}, HttpSpans, HttpMetrics),
        ({PROTOCOL: "http/protobuf"}, HttpSpans, HttpMetrics),
        ({PROTOCOL: " gRPC "}, GrpcSpans, GrpcMetrics),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, GrpcSpans, HttpMetrics),
        (
            {PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            HttpSpans,
            GrpcMetrics,
        ),
        ({PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": " "}, GrpcSpans, GrpcMetrics),
        ({PROTOCOL: "grpc", "OTEL_TRACES_EXPORTER": HTTP}, HttpSpans, GrpcMetrics),
    ],
)
def test_the_protocol_is_the_environments(
    given: Given, variables: dict[str, str], spans: type, metrics: type
) -> None:
    """HTTP unless it says otherwise, for a signal or for all; an exporter's full name wins."""
    given(**{ENDPOINT: "http://127.0.0.1:9"}, **variables)
    found: list[Any] = [
        make_exporter(signal, name) for signal in ("TRACES", "METRICS") for name in chosen(signal)
    ]
    assert [spans, metrics] == [type(one) for one in found]
    for one in found:
        one.shutdown()


@pytest.mark.parametrize(
    ("variable", "value", "choices"),
    [
        (PROTOCOL, "http/json", "grpc, http/protobuf"),
        (PROTOCOL, "protobuf", "grpc, http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grcp", "grpc, http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkn", f"console, otlp, {GRPC}, {HTTP}"),
        ("OTEL_TRACES_EXPORTER", "otlp,none", f"console, otlp, {GRPC}, {HTTP}"),
    ],
)
def test_an_unknown_value_is_refused_in_one_line(
    given: Given, variable: str, value: str, choices: str
) -> None:
    """It names the variable, the value and what there is to choose from."""
    given(**{ENDPOINT: "http://127.0.0.1:9", variable: value})
    with pytest.raises(ConfigError) as refused:
        chosen("TRACES")
    line = str(refused.value)
    assert line.startswith(f"{variable}={value!r}: ")
    assert choices in line
    assert "\n" not in line


def test_an_exporter_that_is_not_installed(given: Given, process: pytest.MonkeyPatch) -> None:
    """As where only the HTTP half of OTLP is: said, with what is missing."""
    process.setitem(sys.modules, GrpcSpans.__module__, None)
    with pytest.raises(ConfigError, match="otlp_proto_grpc cannot be imported"):
        exporter_class("TRACES", GRPC)


def test_an_exporter_that_refuses_its_variables(process: pytest.MonkeyPatch) -> None:
    """Whatever it raises is one line of ours."""

    def refuse(self: object) -> None:
        raise ValueError("compression zip")

    process.setattr(HttpSpans, "__init__", refuse)
    with pytest.raises(ConfigError, match="otlp_proto_http refuses its variables: compression zip"):
        make_exporter("TRACES", HTTP)


def test_spans_go_where_the_environment_says(given: Given) -> None:
    """Nowhere without an endpoint, and nowhere where there is no OTLP among the exporters."""
    assert trace_exporter() is None
    given(**{ENDPOINT: "http://127.0.0.1:9"})
    exporter = trace_exporter()
    assert isinstance(exporter, HttpSpans)
    assert "http://127.0.0.1:9/v1/traces" == exporter._endpoint
    for names in ("none", "console"):
        given(OTEL_TRACES_EXPORTER=names)
        assert trace_exporter() is None
