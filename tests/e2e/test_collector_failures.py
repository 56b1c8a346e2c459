"""What failed, as LangSmith shows it: by the Collector as by the process itself, but for one kind of span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

import otel_realtime
from tests.e2e.conftest import Places
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector

FOREIGN: Final = "GET"
REFUSED: Final = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such"}}


def failing_call(places: Places, process: pytest.MonkeyPatch, leg: str) -> dict[str, Any]:
    """A call with an error of the server, a tool that raises, and in the tool an HTTP call that fails.

    Returns:
        Its runs, by name.
    """
    for name, value in places.key().items():
        process.setenv(name, value)
    process.setenv("LANGSMITH_TRACING", "true")
    process.setenv("OTEL_REALTIME_LANGSMITH", leg)
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{places.collector.http}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    otel_realtime.instrument(tracer_provider=provider)
    with otel_realtime.conversation(thread_id="t") as call:
        call.received({"type": "session.created", "session": {"id": "s", "model": "gpt-realtime"}})
        call.received(REFUSED)
        with pytest.raises(LookupError), call.tool("call_1", name="look_up", arguments="{}"):
            look_up(provider)
        run_id = call.langsmith_run_id
    assert provider.force_flush()
    assert otel_realtime.flush(30)
    wait_for(lambda: len(runs(places, run_id)) == 5, "every run")
    return runs(places, run_id)


def look_up(provider: TracerProvider) -> None:
    """A tool whose HTTP call fails: its span has the status, as instrumentations set it, and no event."""
    tracer = provider.get_tracer("opentelemetry.instrumentation.httpx")
    with tracer.start_as_current_span(FOREIGN) as span:
        span.set_attribute("http.response.status_code", 503)
        span.set_status(Status(StatusCode.ERROR, "busy"))
    raise LookupError("no order")


def runs(places: Places, run_id: str) -> dict[str, Any]:
    """A conversation's runs by name."""
    found = places.sandbox.conversation(run_id) or {"runs": []}
    return {run["name"]: run for run in found["runs"]}


def outcome(run: Mapping[str, Any]) -> tuple[Any, Any]:
    """Whether a run failed, and with what."""
    return run["status"], run["error"]


@pytest.mark.parametrize("leg", ["direct", "collector"])
def test_what_failed_in_a_call_is_a_failed_run_by_either_leg(
    places: Places, process: pytest.MonkeyPatch, leg: str
) -> None:
    """The server's error and the tool's exception are errors of their runs, with the same words."""
    found = failing_call(places, process, leg)
    assert ("error", "no such") == outcome(found["error"])
    status, error = outcome(found["execute_tool look_up"])
    assert ("error", "no order") == (status, str(error).splitlines()[0])
    assert str(error).rstrip().endswith("LookupError: no order")
    assert {"success"} == {
        found[name]["status"] for name in ("realtime_session", "session.created")
    }


def test_a_failed_span_without_an_exception_is_a_failed_run_by_the_direct_leg(
    places: Places, process: pytest.MonkeyPatch
) -> None:
    """The process adds the event by which LangSmith knows a failure."""
    found = failing_call(places, process, "direct")
    assert ("error", "busy") == outcome(found[FOREIGN])


def test_a_failed_span_without_an_exception_can_be_found_by_the_collector_leg(
    places: Places, process: pytest.MonkeyPatch
) -> None:
    """A Collector cannot add the event: the run is no failure, but says so in its metadata."""
    found = failing_call(places, process, "collector")
    assert ("success", None) == outcome(found[FOREIGN])
    shown = {name: run["metadata"].get("otel.status_code") for name, run in found.items()}
    assert {FOREIGN: "ERROR"} == {name: code for name, code in shown.items() if code}
    assert "busy" == found[FOREIGN]["metadata"]["otel.status_description"]
