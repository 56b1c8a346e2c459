"""Which series Prometheus gets: the product's, as the Collector names them, and the Collector's own."""

from __future__ import annotations

import re
from typing import Final

_MODEL: Final = frozenset({"gen_ai_provider_name", "gen_ai_operation_name", "gen_ai_request_model"})
#: Name -> kind, and the labels a series has besides the process's own.
METRICS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "gen_ai_client_token_usage": (
        "histogram",
        _MODEL | {"gen_ai_token_type", "gen_ai_token_modality"},
    ),
    "gen_ai_client_operation_duration_seconds": ("histogram", _MODEL),
    "gen_ai_client_operation_time_to_first_chunk_seconds": ("histogram", _MODEL),
    "gen_ai_execute_tool_duration_seconds": (
        "histogram",
        frozenset({"gen_ai_operation_name", "gen_ai_tool_name"}),
    ),
    "otel_realtime_voice_to_voice_seconds": ("histogram", _MODEL),
    "otel_realtime_latency_seconds": (
        "histogram",
        _MODEL | {"otel_realtime_latency_part", "otel_realtime_latency_owner"},
    ),
    "otel_realtime_token_cached": ("counter", _MODEL),
    "otel_realtime_conversation_duration_seconds": (
        "histogram",
        frozenset({"gen_ai_provider_name", "outcome"}),
    ),
    **{
        f"otel_realtime_{name}_seconds": ("histogram", frozenset({"gen_ai_provider_name"}))
        for name in ("dead_air", "longest_silence", "agent_over_user")
    },
    "otel_realtime_conversations_active": ("gauge", frozenset({"gen_ai_provider_name"})),
    "otel_realtime_interruptions": (
        "counter",
        _MODEL | {"otel_realtime_interruption_cause", "otel_realtime_interruption_false"},
    ),
    "otel_realtime_errors": ("counter", frozenset({"gen_ai_provider_name", "error_type"})),
    "otel_realtime_recording_uploads": ("counter", frozenset({"outcome"})),
    "otel_realtime_recording_pending_bytes": ("gauge", frozenset()),
    "otel_realtime_telemetry_lost": ("counter", frozenset({"what"})),
}
#: Metrics whose series say what failed, where something did.
FAILING: Final = frozenset(
    {"gen_ai_client_operation_duration_seconds", "gen_ai_execute_tool_duration_seconds"}
)
#: Of every series: which process it is of, and which library.
PROCESS: Final = re.compile(
    r"job|instance|service_.*|telemetry_.*|process_.*|host_.*|otel_scope_.*|le|collector"
)
#: The Collector's own metrics that somebody looks at, without ``_total``, and their labels.
COLLECTOR: Final[dict[str, frozenset[str]]] = {
    "otelcol_exporter_queue_size": frozenset({"exporter", "data_type"}),
    "otelcol_exporter_queue_capacity": frozenset({"exporter", "data_type"}),
    "otelcol_exporter_sent_spans": frozenset({"exporter"}),
    "otelcol_exporter_sent_metric_points": frozenset({"exporter"}),
    "otelcol_exporter_send_failed_spans": frozenset({"exporter"}),
    "otelcol_exporter_enqueue_failed_spans": frozenset({"exporter"}),
    "otelcol_receiver_accepted_spans": frozenset({"receiver", "transport"}),
    "otelcol_receiver_accepted_metric_points": frozenset({"receiver", "transport"}),
    "otelcol_receiver_refused_spans": frozenset({"receiver", "transport"}),
    "otelcol_process_memory_rss": frozenset(),
}
_SUFFIXES: Final = {
    "histogram": ("_bucket", "_count", "_sum"),
    "counter": ("_total",),
    "gauge": ("",),
}


def known_series() -> dict[str, frozenset[str]]:
    """Name -> labels of every series that is scraped, without the process's own labels."""
    ours = {
        name + suffix: labels | ({"error_type"} if name in FAILING else frozenset())
        for name, (kind, labels) in METRICS.items()
        for suffix in _SUFFIXES[kind]
    }
    return {**ours, **COLLECTOR, "up": frozenset()}
