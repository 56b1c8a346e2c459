"""Real conversations while a destination, or the Collector itself, is away; and very many of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import otel_realtime
from tests.e2e.conftest import KEY, Places, StartApp, StartCollector
from tests.support.balancer import RoundRobin
from tests.support.forwarder import Forwarder
from tests.support.processes import Collector, Jaeger, free_ports
from tests.support.talking import weather_call
from tests.support.voice_app import Ended, plain
from tests.support.voice_process import SERVICE, Traced, in_jaeger, in_sandbox
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector

BOTH = ("config.yaml", "config.jaeger.yaml")


@pytest.fixture
def way(places: Places) -> Iterator[Forwarder]:
    """The only way to LangSmith, for the processes and for the Collectors of a test."""
    with Forwarder(places.sandbox.url.removeprefix("http://")) as forwarder:
        yield forwarder


def behind(way: Forwarder, jaeger: Jaeger) -> dict[str, str]:
    """The variables of a Collector that reaches LangSmith by that way."""
    return {
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_PROJECT": "calls",
        "LANGSMITH_OTLP_ENDPOINT": f"{way.url}/otel",
        "JAEGER_OTLP_ENDPOINT": jaeger.otlp,
    }


def keyed(way: Forwarder) -> dict[str, str]:
    """The variables of a process with LangSmith's key that reaches it by that way."""
    return {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": way.url,
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_PROJECT": "calls",
    }


class App:
    """This process as an app: a provider that exports to one Collector, and what ended there."""

    def __init__(self, collector_url: str, *, queue: int = 2048) -> None:
        exporter = OTLPSpanExporter(f"{collector_url}/v1/traces", timeout=20)
        resource = Resource({"service.name": SERVICE})
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=queue, schedule_delay_millis=200)
        )
        self._ended = Ended()
        self.provider.add_span_processor(self._ended)
        otel_realtime.instrument(tracer_provider=self.provider)

    def traced(self) -> Traced:
        """Its only conversation, exported."""
        assert self.provider.force_flush()
        return Traced([plain(span) for span in self._ended.spans])


@pytest.mark.parametrize("away_s", [10, pytest.param(60, marks=pytest.mark.soak)])
def test_langsmith_away_for_a_while(
    places: Places,
    way: Forwarder,
    start_collector: StartCollector,
    start_app: StartApp,
    away_s: float,
) -> None:
    """Jaeger has every call while LangSmith is away; afterwards LangSmith has, each run once.

    Three ways at once: all by the Collector; the root by the process; all by the process.
    """
    collector = start_collector(*BOTH, **behind(way, places.jaeger))
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http}
    key = keyed(way)
    way.down()
    began = time.monotonic()
    apps = [
        ("otlp", start_app("--calls", "2", **otlp)),
        (
            "runs_api",
            start_app("--flush", "90", OTEL_REALTIME_LANGSMITH="collector", **key, **otlp),
        ),
        ("runs_api", start_app("--flush", "90", "--calls", "2", **key, **otlp)),
    ]
    calls = [(root_by, call) for root_by, app in apps for call in app.talked()]
    for _, call in calls:
        in_jaeger(places.jaeger, call)
    time.sleep(max(began + away_s - time.monotonic(), 0))
    assert [] == places.sandbox.conversations()

    way.up()
    assert [True] * 3 == [app.flushed()["delivered"] for _, app in apps]
    for root_by, call in calls:
        run = in_sandbox(places.sandbox, call, root_by=root_by, timeout_s=60 + away_s)
        assert (root_by == "runs_api") == run["has_recording"]
        assert len(call.spans) == len(in_jaeger(places.jaeger, call))
    assert 5 == len(places.sandbox.conversations())


def test_a_collector_killed_in_mid_conversation(
    places: Places,
    way: Forwarder,
    start_collector: StartCollector,
    process: pytest.MonkeyPatch,
) -> None:
    """What it had taken is on its disk, what it had not the app sends again: complete at both, once."""
    collector = start_collector(*BOTH, **behind(way, places.jaeger))
    for name, value in keyed(way).items():
        process.setenv(name, value)
    process.setenv("OTEL_REALTIME_LANGSMITH", "collector")
    app = App(collector.http)
    back: list[asyncio.Task[None]] = []

    async def crash(_connection: Any, _event: Any) -> None:
        """Kill it when it has the first spans and has delivered none; it is back in a second."""
        way.down()
        app.provider.force_flush()
        collector.kill()
        back.append(asyncio.create_task(return_later()))

    async def return_later() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(collector.start)

    async def call() -> None:
        await weather_call(
            places.server.url, conversation_item_input_audio_transcription_completed=once(crash)
        )
        await back[0]

    asyncio.run(call())
    way.up()
    traced = app.traced()
    in_jaeger(places.jaeger, traced)
    assert otel_realtime.flush(30)
    assert in_sandbox(places.sandbox, traced, root_by="runs_api")["has_recording"]


def once(hook: Any) -> Any:
    """The hook at the first of its events only."""
    seen: list[Any] = []

    async def first(connection: Any, event: Any) -> None:
        if not seen:
            seen.append(event)
            await hook(connection, event)

    return first


def test_a_collector_that_comes_late(
    places: Places, collector_binary: Path, start_app: StartApp, tmp_path: Path
) -> None:
    """A Collector that starts after the app gets the app's whole conversation."""
    late = Collector(
        collector_binary,
        tmp_path / "late",
        BOTH,
        LANGSMITH_API_KEY=KEY,
        LANGSMITH_PROJECT="calls",
        LANGSMITH_OTLP_ENDPOINT=f"{places.sandbox.url}/otel",
        JAEGER_OTLP_ENDPOINT=places.jaeger.otlp,
    )
    app = start_app(OTEL_EXPORTER_OTLP_ENDPOINT=late.http)
    wait_for(lambda: places.server.connections, "call")
    with late:
        (traced,) = app.talked()
        in_jaeger(places.jaeger, traced)
        in_sandbox(places.sandbox, traced, root_by="otlp")
        assert ({}, 0) == (app.flushed()["faults"], app.ended())


@pytest.mark.parametrize("leg", ["auto", "collector"])
def test_a_collector_that_never_comes(places: Places, start_app: StartApp, leg: str) -> None:
    """The call goes on and the process ends; what its own exporter lost is said by that exporter.

    What this package delivers is there all the same: everything, or the root with the recording.
    """
    (port,) = free_ports(1)
    app = start_app(
        LANGSMITH_TRACING="true",
        OTEL_REALTIME_LANGSMITH=leg,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        **places.key(),
    )
    (traced,) = app.talked()
    report = app.flushed()
    assert (True, {}, 0) == (report["delivered"], report["faults"], app.ended())
    assert "opentelemetry.exporter.otlp" in "".join(report["said"])
    if leg == "auto":
        run = in_sandbox(places.sandbox, traced, root_by="runs_api")
    else:
        found = places.sandbox.conversation(traced.run_id)
        assert found is not None
        run = found
        assert [traced.run_id] == [one["id"] for one in run["runs"]]
    assert run["has_recording"]


def test_a_collector_gone_before_the_call_ends(
    places: Places, start_collector: StartCollector, start_app: StartApp
) -> None:
    """A process whose Collector went away in mid-call ends on its own, without a fault of ours."""
    gone = start_collector(*BOTH, LANGSMITH_API_KEY=KEY, JAEGER_OTLP_ENDPOINT=places.jaeger.otlp)
    app = start_app(OTEL_EXPORTER_OTLP_ENDPOINT=gone.http, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    wait_for(lambda: places.server.connections, "call")
    gone.kill()
    (traced,) = app.talked()
    report = app.flushed()
    assert (True, {}, 0) == (report["delivered"], report["faults"], app.ended())
    assert len(traced.spans) > 40
    assert "opentelemetry.exporter.otlp" in "".join(report["said"])


def test_a_conversation_of_7000_spans(places: Places, process: pytest.MonkeyPatch) -> None:
    """A call of hours is complete, once, at both: by the Collector below a root by the runs API."""
    for name, value in places.key().items():
        process.setenv(name, value)
    process.setenv("OTEL_REALTIME_LANGSMITH", "collector")
    app = App(places.collector.http, queue=10_000)
    start_ns = time.time_ns() - 7_200_000_000_000
    with otel_realtime.conversation(thread_id="hours") as call:
        for number in range(6_999):
            event = {
                "type": "rate_limits.updated",
                "event_id": f"event_{number}",
                "rate_limits": [],
            }
            call.received(event, at_ns=start_ns + number * 1_000_000_000)
    traced = app.traced()
    assert 7_000 == len(traced.spans)
    in_jaeger(places.jaeger, traced)
    assert otel_realtime.flush(30)
    in_sandbox(places.sandbox, traced, root_by="runs_api", timeout_s=30)


@pytest.mark.alone
def test_a_hundred_calls_at_once_through_two_collectors(
    places: Places, start_collector: StartCollector, start_app: StartApp
) -> None:
    """Each call's spans come together again, whichever Collector took them; nothing twice."""
    variables = {
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_PROJECT": "calls",
        "LANGSMITH_OTLP_ENDPOINT": f"{places.sandbox.url}/otel",
        "JAEGER_OTLP_ENDPOINT": places.jaeger.otlp,
    }
    pair = [places.collector, start_collector(*BOTH, **variables)]
    with RoundRobin([one.http for one in pair]) as balancer:
        app = start_app(
            *("--calls", "100", "--flush", "60"),
            OTEL_REALTIME_LANGSMITH="collector",
            LANGSMITH_TRACING="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=balancer.url,
            OTEL_BSP_MAX_QUEUE_SIZE="10000",
            **places.key(),
        )
        calls = app.talked()
        report = app.flushed()
    assert (100, True, True, {}) == (
        len(calls),
        report["delivered"],
        report["exported"],
        report["faults"],
    )
    for call in calls:
        in_jaeger(places.jaeger, call)
        assert in_sandbox(places.sandbox, call, root_by="runs_api")["has_recording"]
    shares = [one.own_metric("otelcol_receiver_accepted_spans") for one in pair]
    assert (sum(len(call.spans) for call in calls), True) == (sum(shares), min(shares) > 0)
