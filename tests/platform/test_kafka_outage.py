"""LangSmith away for long, a broker and Collectors killed meanwhile: every span is in each backend."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.call_load import Call, CallLoad, send_until_taken
from tests.support.kafka_tier import (
    GATEWAY,
    KEY,
    TO_JAEGER,
    TO_LANGSMITH,
    Tier,
    arrive,
    each_once_in_jaeger,
)
from tests.support.processes import Collector
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Outage:
    """What an outage came to.

    Attributes:
        calls: of a minute each.
        spans: in all of them.
        sent_s: the wall-clock seconds in which they were sent.
        waiting: records that waited for LangSmith.
        disk: bytes of Kafka's data on all brokers.
        drain_s: from LangSmith's return until it had everything.
        duplicates: spans that LangSmith got more than once.
        cpu_us: CPU of one span, microseconds, by program.
        memory: most bytes of memory, by program.
    """

    calls: int
    spans: int
    sent_s: float
    waiting: int
    disk: int
    drain_s: float
    duplicates: int
    cpu_us: dict[str, float]
    memory: dict[str, int]


class Meter:
    """Sums the CPU of processes that are killed and started again."""

    def __init__(self) -> None:
        self._cpu: dict[str, float] = {}
        self.memory: dict[str, int] = {}

    def read(self, name: str, process: Any) -> None:
        """Take what a process has used until now; once before each end."""
        seconds, peak = process.used()
        self._cpu[name] = self._cpu.get(name, 0.0) + seconds
        self.memory[name] = max(self.memory.get(name, 0), peak)

    def per_span(self, spans: int) -> dict[str, float]:
        """CPU by name, microseconds a span."""
        return {name: round(1e6 * used / spans, 1) for name, used in self._cpu.items()}


def hold_out(tier: Tier, load: CallLoad, count: int) -> Outage:
    """LangSmith is away while ``count`` calls come in and a broker, a gateway and a consumer are killed."""
    meter, langsmith, kafka = Meter(), tier.langsmith, tier.kafka
    jaeger = tier.jaeger(count)
    gateway = tier.collector(GATEWAY)
    to_langsmith = tier.collector(TO_LANGSMITH, **KEY)
    to_jaeger = tier.collector(TO_JAEGER, JAEGER_OTLP_ENDPOINT=jaeger.otlp)
    before = [broker.used()[0] for broker in kafka.brokers]
    langsmith.status = 503
    spans = count * load.size
    sent = 0

    def send(number: int) -> Call:
        nonlocal sent
        call = load.copy(number)
        send_until_taken(gateway.http, call.body)
        sent += 1
        return Call(call.trace_id, call.span_ids, b"")

    def after(share: float) -> None:
        wait_for(lambda: sent >= share * count, "calls on their way", timeout_s=600, every_s=0.1)

    def kill(name: str, collector: Collector) -> None:
        meter.read(name, collector.process)
        collector.kill()
        collector.start()

    first = send(1)
    jaeger.wait(first.trace_id.hex(), load.size, timeout_s=60)
    wait_for(lambda: langsmith.refused > 0, "a request that LangSmith refuses", timeout_s=60)
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        futures: list[Future[Call]] = [pool.submit(send, number) for number in range(2, count + 1)]
        after(0.25)
        broker = kafka.brokers[1]
        lost_cpu = broker.used()[0]
        broker.kill()
        after(0.5)
        kill("gateway", gateway)
        after(0.75)
        kill("to langsmith", to_langsmith)
        calls = [first, *(future.result() for future in futures)]
    sent_s = time.monotonic() - started

    # Jaeger is complete while LangSmith is still away.
    wait_for(
        lambda: to_jaeger.own_metric("otelcol_exporter_sent_spans", "otlp_grpc/jaeger") >= spans,
        "every span at Jaeger",
        timeout_s=300,
        every_s=1,
    )
    meter.read("to jaeger", to_jaeger.process)
    meter.read("jaeger", jaeger.process)
    assert dict(langsmith.seen) == {}
    waiting, disk = kafka.lag(f"{tier.topic}-langsmith"), kafka.disk(tier.topic)

    broker.begin()
    broker.ready()
    langsmith.status = 200
    back = time.monotonic()
    wait_for(lambda: len(langsmith.seen) >= spans / 2, "half of it", timeout_s=300)
    kill("to langsmith", to_langsmith)
    arrive(langsmith, calls, timeout_s=300)
    drain_s = time.monotonic() - back
    each_once_in_jaeger(jaeger, calls)
    wait_for(lambda: kafka.lag(f"{tier.topic}-langsmith") == 0, "no lag", timeout_s=60, every_s=1)
    meter.read("gateway", gateway.process)
    meter.read("to langsmith", to_langsmith.process)
    brokers = sum(one.used()[0] for one in kafka.brokers) + lost_cpu - sum(before)
    cpu = meter.per_span(spans) | {"brokers": round(1e6 * brokers / spans, 1)}
    return Outage(
        calls=count,
        spans=spans,
        sent_s=round(sent_s, 1),
        waiting=waiting,
        disk=disk,
        drain_s=round(drain_s, 1),
        duplicates=langsmith.duplicates,
        cpu_us=cpu,
        memory=meter.memory,
    )


def test_langsmith_away_a_broker_and_collectors_killed_nothing_is_lost(
    tier: Tier, load: CallLoad
) -> None:
    """20 minutes of a hundred calls: Jaeger has them meanwhile, LangSmith afterwards, each span once."""
    print(f"\n{hold_out(tier, load, 2_000)}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_an_hour_of_a_hundred_calls_is_held(tier: Tier, load: CallLoad) -> None:
    """The same for the 528,000 spans of an hour."""
    print(f"\n{hold_out(tier, load, 6_000)}")
