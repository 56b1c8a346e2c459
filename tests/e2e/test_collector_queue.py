"""What happens to spans while a destination, or the Collector itself, is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import StartCollector
from tests.support.balancer import RoundRobin
from tests.support.handmade import Trace, conversation, send_http
from tests.support.otlp_recorder import OtlpRecorder
from tests.support.processes import Collector, Jaeger
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector

BOTH = ("config.yaml", "config.jaeger.yaml")


@pytest.fixture
def collector(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> Collector:
    """A Collector with both destinations and an empty queue."""
    return start_collector(*BOTH, **destinations(langsmith, jaeger))


def destinations(langsmith: OtlpRecorder, jaeger: Jaeger) -> dict[str, str]:
    """The variables that point a Collector at both."""
    return {
        "LANGSMITH_API_KEY": "lsv2_pt_test",
        "LANGSMITH_OTLP_ENDPOINT": langsmith.endpoint,
        "JAEGER_OTLP_ENDPOINT": jaeger.otlp,
    }


def each_once(langsmith: OtlpRecorder, count: int) -> None:
    """Wait for ``count`` spans at LangSmith and check that none came twice."""
    ids = [span.span_id for span in langsmith.wait(count)]
    assert (count, count) == (len(ids), len(set(ids)))


@pytest.mark.parametrize("how", ["refuses", "is gone"])
def test_langsmith_down_holds_up_nothing_and_loses_nothing(
    collector: Collector, langsmith: OtlpRecorder, jaeger: Jaeger, how: str
) -> None:
    """While LangSmith answers 503 or is not there Jaeger goes on; afterwards LangSmith is complete."""
    if how == "refuses":
        langsmith.status = 503
    else:
        langsmith.down()
    traces = [conversation() for _ in range(10)]
    for trace in traces:
        assert send_http(collector.http, trace)
    for trace in traces:
        jaeger.wait(trace.trace_id, 5)
    wait_for(lambda: collector.own_metric("otelcol_exporter_queue_size") > 0, "batch that waits")
    assert langsmith.spans() == []

    if how == "refuses":
        langsmith.status = 200
    else:
        langsmith.up()
    each_once(langsmith, 50)
    assert [len(jaeger.spans(trace.trace_id)) for trace in traces] == [5] * 10


def test_a_killed_collector_delivers_from_its_disk_after_the_restart(
    collector: Collector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> None:
    """What was accepted before a SIGKILL arrives after the restart, at both and once."""
    langsmith.down()
    traces = [conversation() for _ in range(20)]
    for trace in traces:
        assert send_http(collector.http, trace)
    collector.kill()

    langsmith.up()
    collector.start()
    each_once(langsmith, 100)
    for trace in traces:
        assert len(jaeger.wait(trace.trace_id, 5)) == 5


def test_a_collector_killed_again_and_again_still_delivers_everything(
    collector: Collector, langsmith: OtlpRecorder
) -> None:
    """Three crashes in a row, with new spans before each, leave nothing out."""
    langsmith.down()
    for _ in range(3):
        assert send_http(collector.http, conversation())
        collector.kill()
        collector.start()
    langsmith.up()
    each_once(langsmith, 15)


def test_a_refused_key_is_said_and_leaves_jaeger_alone(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> None:
    """Without a key, and without the overlay for that, Jaeger is served and the log says what is missing."""
    variables = destinations(langsmith, jaeger)
    del variables["LANGSMITH_API_KEY"]
    collector = start_collector(*BOTH, **variables)
    trace = conversation()
    assert send_http(collector.http, trace)
    assert len(jaeger.wait(trace.trace_id, 5)) == 5

    unset = [
        line["name"]
        for line in collector.process.lines()
        if "references unset environment variable" in line["msg"]
    ]
    assert unset == ["LANGSMITH_API_KEY"]
    wait_for(
        lambda: collector.own_metric("otelcol_exporter_send_failed_spans") == 5,
        "count of what LangSmith refused",
    )


def test_without_a_key_the_jaeger_only_overlay_sends_langsmith_nothing(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> None:
    """With the third file there is no attempt to reach LangSmith, no error, and every log line says so."""
    variables = destinations(langsmith, jaeger)
    del variables["LANGSMITH_API_KEY"]
    collector = start_collector(*BOTH, "config.jaeger-only.yaml", **variables)
    trace = conversation()
    assert send_http(collector.http, trace)
    assert len(jaeger.wait(trace.trace_id, 5)) == 5
    assert (len(langsmith.requests), langsmith.refused) == (0, 0)
    lines = collector.process.lines()
    assert {"info"} == {line["level"] for line in lines}
    assert {"off: started without LANGSMITH_API_KEY, traces go to Jaeger only"} == {
        line["langsmith"] for line in lines
    }


def test_two_collectors_behind_a_round_robin_are_as_good_as_one(
    start_collector: StartCollector, langsmith: OtlpRecorder, jaeger: Jaeger
) -> None:
    """A hundred traces at once, each through both Collectors, come together again at both destinations."""
    variables = destinations(langsmith, jaeger)
    pair = [start_collector(*BOTH, **variables) for _ in range(2)]
    traces = [conversation(8) for _ in range(100)]

    halves = [part for one in traces for part in (one.spans[:5], one.spans[5:])]

    with RoundRobin([collector.http for collector in pair]) as balancer:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(lambda half: send_http(balancer.url, Trace("", half)), halves))

    each_once(langsmith, 1000)
    for trace in traces:
        assert len(jaeger.wait(trace.trace_id, 10)) == 10
    shares = [collector.own_metric("otelcol_receiver_accepted_spans") for collector in pair]
    assert (sum(shares), min(shares) > 0) == (1000, True)
