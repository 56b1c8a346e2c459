"""The OTLP destination that the environment names, besides LangSmith."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


_OTLP: Final = "OTEL_EXPORTER_OTLP_"


def trace_exporter() -> SpanExporter | None:
    """The exporter to the destination that the environment names besides LangSmith, if any."""
    if not is_wanted("TRACES"):
        return None
    exporter: SpanExporter = exporter_of("TRACES")
    return exporter


def endpoint(signal: str) -> str | None:
    for name in (f"{_OTLP}{signal}_ENDPOINT", f"{_OTLP}ENDPOINT"):
        value = os.environ.get(name, "").strip()
        if value:
            return value
    return None


def is_wanted(signal: str) -> bool:
    chosen = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower()
    return endpoint(signal) is not None and chosen != "none"


def exporter_of(signal: str) -> Any:
    """The OTLP exporter of a signal, by ``OTEL_EXPORTER_OTLP_PROTOCOL`` (default HTTP)."""
    protocol = os.environ.get(
        f"{_OTLP}{signal}_PROTOCOL", os.environ.get(f"{_OTLP}PROTOCOL", "http/protobuf")
    )
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
