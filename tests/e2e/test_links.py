"""From a request to its call and back: in the real Jaeger, and in what LangSmith has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_realtime
from tests.e2e.conftest import Places
from tests.support.processes import tags
from tests.support.talking import weather_call
from tests.support.traces import ROOT as ROOT_NAME
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector


def call_of_a_request(
    places: Places, process: pytest.MonkeyPatch, **settings: Any
) -> tuple[str, str]:
    """A call inside an app's request, everything exported; the request's trace and span id."""
    for name, value in {"LANGSMITH_TRACING": "true", **places.key()}.items():
        process.setenv(name, value)
    provider = TracerProvider(resource=Resource({"service.name": "web"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{places.collector.http}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    otel_realtime.instrument(tracer_provider=provider, settings=otel_realtime.Settings(**settings))
    with provider.get_tracer("app").start_as_current_span("POST /calls") as request:
        asyncio.run(weather_call(places.server.url))
    assert otel_realtime.flush(20)
    provider.shutdown()
    context = request.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def links(span: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a span of Jaeger's JSON leads beside its parent."""
    return [
        (reference["traceID"], reference["spanID"])
        for reference in span["references"]
        if reference["refType"] == "FOLLOWS_FROM"
    ]


def test_one_click_there_and_one_back(places: Places, process: pytest.MonkeyPatch) -> None:
    """Jaeger has both links; LangSmith's root names the request, and OpenTelemetry's trace."""
    trace_id, span_id = call_of_a_request(places, process)
    (request,) = places.jaeger.wait(trace_id, 1)
    ((call_trace, call_span),) = links(request)
    call = places.jaeger.wait(call_trace, 20)

    def roots() -> list[dict[str, Any]]:
        return [span for span in places.jaeger.spans(call_trace) if span["spanID"] == call_span]

    wait_for(lambda: bool(roots()), "the call's root in Jaeger")
    (root,) = roots()
    assert (ROOT_NAME, [(trace_id, span_id)]) == (root["operationName"], links(root))
    assert trace_id == tags(root)["otel_realtime.parent_trace_id"]
    assert trace_id not in {span["traceID"] for span in call}

    (listed,) = places.sandbox.conversations()
    found = places.sandbox.conversation(listed["id"])
    assert found is not None
    metadata = found["root"]["metadata"]
    assert (trace_id, span_id, call_trace) == (
        metadata["parent_trace_id"],
        metadata["parent_span_id"],
        metadata["OTEL_TRACE_ID"],
    )


def test_ambient_is_one_tree_in_jaeger(places: Places, process: pytest.MonkeyPatch) -> None:
    """The call stands below the request, and needs no link; in LangSmith it is a trace all the same."""
    trace_id, span_id = call_of_a_request(places, process, parent="ambient")
    places.jaeger.wait(trace_id, 20)

    def shown() -> dict[str, list[dict[str, Any]]]:
        spans = places.jaeger.spans(trace_id)
        return {
            name: [span for span in spans if span["operationName"] == name]
            for name in ("POST /calls", ROOT_NAME)
        }

    wait_for(lambda: all(shown().values()), "request and call in one trace of Jaeger")
    (request,), (root,) = shown().values()
    above = [ref["spanID"] for ref in root["references"] if ref["refType"] == "CHILD_OF"]
    assert ([span_id], [], []) == (above, links(root), links(request))
    (listed,) = places.sandbox.conversations()
    found = places.sandbox.conversation(listed["id"])
    assert found is not None
    assert (None, trace_id) == (
        found["root"]["parent_id"],
        found["root"]["metadata"]["parent_trace_id"],
    )
