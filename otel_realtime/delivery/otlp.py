"""OTLP exporters for the destination that ``OTEL_EXPORTER_OTLP_*`` names.

Variables: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, overload

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter


_OTLP: Final = "OTEL_EXPORTER_OTLP_"


def trace_exporter() -> SpanExporter | None:
    """Return the span exporter for the environment's destination; ``None`` if there is none."""
    if not is_wanted("TRACES"):
        return None
    return exporter_of("TRACES")


def endpoint(signal: str) -> str | None:
    """Return the endpoint of a signal, ``TRACES`` or ``METRICS``; ``None`` if none is set.

    Without an endpoint the exporters would send to ``localhost``, which nobody asked for.
    """
    for name in (f"{_OTLP}{signal}_ENDPOINT", f"{_OTLP}ENDPOINT"):
        value = os.environ.get(name, "").strip()
        if value:
            return value
    return None


def is_wanted(signal: str) -> bool:
    """Return whether a signal has an endpoint and is not switched off by ``OTEL_*_EXPORTER=none``.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#exporter-selection
    """
    chosen = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower()
    return endpoint(signal) is not None and chosen != "none"


@overload
def exporter_of(signal: Literal["TRACES"]) -> SpanExporter: ...


@overload
def exporter_of(signal: Literal["METRICS"]) -> MetricExporter: ...


def exporter_of(signal: str) -> SpanExporter | MetricExporter:
    """Return the OTLP exporter of a signal; the environment chooses the protocol.

    ``OTEL_EXPORTER_OTLP_PROTOCOL`` is ``grpc`` or ``http/protobuf``, the default the specification
    recommends.
    """
    protocol = os.environ.get(
        f"{_OTLP}{signal}_PROTOCOL", os.environ.get(f"{_OTLP}PROTOCOL", "http/protobuf")
    )
    # Imported here: gRPC is heavy, and most apps use one protocol.
    if protocol.strip().lower() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as GrpcMetrics,
        )
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcSpans,
        )

        return GrpcSpans() if signal == "TRACES" else GrpcMetrics()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
        OTLPMetricExporter as HttpMetrics,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

    return HttpSpans() if signal == "TRACES" else HttpMetrics()
