"""Spans made by hand, with the attributes a traced conversation has, sent by the real OTLP exporters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from otel_realtime import attributes as names

MESSAGES = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
PARTS = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hello"}]}])


@dataclass(frozen=True)
class Trace:
    """A finished trace, ready to be sent."""

    trace_id: str
    spans: Sequence[ReadableSpan]


class Maker:
    """Makes the spans of one trace under a root.

    Args:
        thread_id: of the conversation.
        leg: who may deliver the conversation to LangSmith.
        root_by_runs_api: whether the root carries the marker.
        service: the resource's ``service.name``.
        resource: more resource attributes.
    """

    def __init__(
        self,
        *,
        thread_id: str = "thread-1",
        leg: str = names.LEG_COLLECTOR,
        root_by_runs_api: bool = False,
        service: str = "voice",
        resource: Mapping[str, str] | None = None,
    ) -> None:
        self._memory = InMemorySpanExporter()
        self._provider = TracerProvider(
            resource=Resource({"service.name": service, **(resource or {})}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self._common = {names.LS_THREAD_ID: thread_id, names.LEG: leg}
        self.root = self._tracer("otel_realtime").start_span(names.ROOT_NAME)
        self.root.set_attributes(self._common)
        self.root.set_attribute("otel_realtime.thread_id", thread_id)
        if root_by_runs_api:
            self.root.set_attribute(names.ROOT_MARKER, names.ROOT_BY_RUNS_API)

    def _tracer(self, scope: str) -> Tracer:
        return self._provider.get_tracer(scope)

    def span(self, name: str, attributes: Mapping[str, Any] | None = None, **how: Any) -> Span:
        """Add a finished span of the conversation below the root.

        Args:
            name: its name.
            attributes: in addition to those that every span of the conversation has.
            how: ``scope`` of another instrumentation, ``error`` for a failed span.
        """
        tracer = self._tracer(how.get("scope", "otel_realtime"))
        span = tracer.start_span(name, context=set_span_in_context(self.root))
        span.set_attributes({**self._common, **(attributes or {})})
        if "error" in how:
            span.record_exception(RuntimeError(how["error"]))
            span.set_status(Status(StatusCode.ERROR, how["error"]))
        span.end()
        return span

    def inference(self, name: str = "chat gpt-realtime", **more: Any) -> Span:
        """Add a model call with both spellings of its messages."""
        call = {
            names.OPERATION: "chat",
            names.REQUEST_MODEL: "gpt-realtime",
            names.PROMPT: MESSAGES,
            names.COMPLETION: MESSAGES,
            names.INPUT_MESSAGES: PARTS,
            names.OUTPUT_MESSAGES: PARTS,
            names.LS_USAGE: json.dumps({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        }
        return self.span(name, call | more)

    def unrelated(self, name: str) -> Span:
        """Add a span of the app's that belongs to no conversation, in the same trace."""
        span = self._tracer("app").start_span(name, context=set_span_in_context(self.root))
        span.end()
        return span

    def finish(self) -> Trace:
        """End the root and return everything."""
        self.root.end()
        trace_id = format(self.root.get_span_context().trace_id, "032x")
        return Trace(trace_id, self._memory.get_finished_spans())


def conversation(events: int = 3, **how: Any) -> Trace:
    """A small whole conversation: the root, one model call and ``events`` event spans."""
    maker = Maker(**how)
    for index in range(events):
        payload = {"event": {"type": "session.updated", "index": index}}
        maker.span("session.updated", {names.PROMPT: json.dumps(payload)})
    maker.inference()
    return maker.finish()


def send_http(endpoint: str, trace: Trace) -> bool:
    """Send a trace by OTLP/HTTP; True when it was accepted."""
    return _send(HttpExporter(endpoint=f"{endpoint}/v1/traces", timeout=10), trace)


def send_grpc(target: str, trace: Trace) -> bool:
    """Send a trace by OTLP/gRPC; True when it was accepted."""
    return _send(GrpcExporter(endpoint=target, insecure=True, timeout=10), trace)


def _send(exporter: HttpExporter | GrpcExporter, trace: Trace) -> bool:
    try:
        return exporter.export(trace.spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()
