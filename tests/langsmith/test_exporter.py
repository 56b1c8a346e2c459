from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime import background, diagnostics
from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.exporter import DirectExporter
from otel_realtime.langsmith.http import Http
from otel_realtime.langsmith.span_queue import SpanQueue
from otel_realtime.langsmith.statuses import Backoff
from tests.support.langsmith_server import LangSmithServer, Reply, attributes
from tests.support.provoked import provoked
from tests.support.rig import KEY, QUICK, Rig
from tests.support.waiting import wait_for


@pytest.fixture
def exporter(config: LangSmithConfig, rig: Rig) -> Iterator[DirectExporter]:
    made = DirectExporter(config, backoff=QUICK, linger_s=0.02)
    rig.outlet = made
    yield made
    made.shutdown(0)


def test_a_request_as_langsmith_wants_it(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """Key, project, workspace and gzip protobuf go to the OTLP address."""
    root = rig.root()
    rig.child(rig.ours, "session.created", root).end()
    assert exporter.flush(5) is True
    [request] = server.traces()
    wanted = {
        "x-api-key": KEY,
        "langsmith-project": "voice",
        "x-tenant-id": "ws-1",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
    }
    assert {name: request.headers.get(name) for name in wanted} == wanted
    assert request.path == "/otel/v1/traces"


def test_names_and_value_types_on_the_wire(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """Attributes keep their types; GenAI's messages go where the prompt says the same."""
    given: dict[str, Any] = {
        "gen_ai.prompt": "{}",
        "gen_ai.input.messages": "[1]",
        "gen_ai.output.messages": "[2]",
        "otel_realtime.turn": 3,
        "otel_realtime.interrupted": True,
        "otel_realtime.event.received_at_s": 0.5,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    root = rig.root()
    rig.child(rig.ours, "chat gpt-realtime", root, attributes=given).end()
    assert exporter.flush(5) is True
    [span] = server.spans()
    sent = attributes(span)
    del given["gen_ai.input.messages"]
    assert {key: sent[key] for key in given} == given
    assert "gen_ai.input.messages" not in sent
    assert sent["langsmith.span.parent_id"] == rig.trace.root_run_id


def test_overflowed_spans_are_stamped_again(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """A span with more than 128 attributes lost its first ones; LangSmith gets them all the same."""
    root = rig.root()
    span = rig.child(rig.foreign, "big", root)
    for number in range(200):
        span.set_attribute(f"app.{number}", number)
    assert "langsmith.span.id" not in (span.attributes or {})
    span.end()
    assert exporter.flush(5) is True
    sent = attributes(server.spans()[0])
    assert sent["langsmith.trace.id"] == rig.trace.root_run_id
    assert sent["langsmith.span.dotted_order"].startswith(rig.trace.dotted_order + ".")
    assert sent["otel_realtime.langsmith.leg"] == "direct"


def test_values_that_do_not_encode_are_mended(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """Half an emoji, a huge int and a float time cost neither the span nor its batch."""
    root = rig.root()
    span = rig.child(rig.foreign, "odd \ud83d", root, start_time=1e18)
    span.set_attribute("app.text", "\udc00")
    span.set_attribute("app.big", 2**80)
    span.record_exception(ValueError("bad \ud800"))
    span.end(end_time=1e18 + 1e9)  # type: ignore[arg-type]
    rig.child(rig.foreign, "good", root).end()
    assert exporter.flush(5) is True
    odd, good = server.spans()
    assert (odd.name, good.name) == ("odd \ufffd", "good")
    assert attributes(odd)["app.text"] == "\ufffd"
    assert attributes(odd)["app.big"] == str(2**80)
    assert odd.events[0].name == "exception"


def test_usage_of_a_realtime_response_counts_once(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """Another instrumentation's usage of the same response is left out, a tool's own is kept."""
    root = rig.root()
    rig.trace.responses.add("resp_1")
    for response in ("resp_1", "chatcmpl_2"):
        usage = {"gen_ai.response.id": response, "gen_ai.usage.input_tokens": 5}
        rig.child(rig.foreign, response, root, attributes=usage).end()
    ours = {"gen_ai.response.id": "resp_1", "gen_ai.usage.input_tokens": 6}
    rig.child(rig.ours, "ours", root, attributes=ours).end()
    assert exporter.flush(5) is True
    usage_sent = {s.name: attributes(s).get("gen_ai.usage.input_tokens") for s in server.spans()}
    assert usage_sent == {"resp_1": None, "chatcmpl_2": 5, "ours": 6}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_retried(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig, status: int
) -> None:
    """Spans are sent again until they are accepted, with the same bytes."""
    server.script(status, status)
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(5) is True
    first, second, third = server.traces()
    assert first.body == second.body == third.body


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 422])
def test_refusals_are_final_and_said_once(
    server: LangSmithServer,
    exporter: DirectExporter,
    rig: Rig,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """Refused spans are counted, logged once with what the server said, and flush is False."""
    server.script(*[Reply(status, "because " * 100)] * 2)
    root = rig.root()
    for name in ("a", "b"):
        rig.child(rig.ours, name, root).end()
        assert exporter.flush(5) is False
    assert exporter.lost == 2
    assert len(server.traces()) == 2
    [record] = [r for r in caplog.records if "refused spans" in r.getMessage()]
    assert f"HTTP {status}" in record.getMessage()
    assert record.getMessage().count("because") == 25
    assert KEY not in caplog.text
    rig.child(rig.ours, "c", root).end()
    assert exporter.flush(5) is True


def test_already_received_counts_as_delivered(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """409 is LangSmith's word for a batch it has."""
    server.script(409)
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(5) is True
    assert len(server.traces()) == 1


def test_a_batch_too_large_is_split(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """413 halves the batch until it passes, in order and without a loss."""
    server.judge = lambda r: Reply(413) if r.is_traces and len(r.spans()) > 3 else None
    root = rig.root()
    with server_held(server):
        for number in range(20):
            tracer = rig.ours if number % 2 else rig.foreign
            rig.child(tracer, f"{number}", root).end()
    assert exporter.flush(5) is True
    passed = [s.name for r in server.traces() if len(r.spans()) <= 3 for s in r.spans()]
    assert sorted(passed, key=int) == [str(number) for number in range(20)]
    assert exporter.lost == 0


class server_held:
    """Keeps the exporter from sending while spans are made, so they come in one batch."""

    def __init__(self, server: LangSmithServer) -> None:
        self.event = threading.Event()
        server.script(Reply(503, hold=self.event))

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.event.set()


def test_batches_are_bounded_by_size(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """No request is above about 4 MB before compression, none has over 512 spans."""
    root = rig.root()
    text = os.urandom(500_000).hex()
    for number in range(9):
        rig.child(rig.ours, f"big{number}", root, attributes={"gen_ai.prompt": text}).end()
    for number in range(600):
        rig.child(rig.ours, f"small{number}", root).end()
    assert exporter.flush(20) is True
    sizes = [sum(span.ByteSize() for span in r.spans()) for r in server.traces()]
    assert max(sizes) <= encoding.MAX_REQUEST_BYTES
    assert max(len(r.spans()) for r in server.traces()) <= 512
    assert len(server.spans()) == 609


def test_a_span_that_never_encodes_costs_no_other(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """A span whose time is no time is counted as lost; its neighbours arrive."""
    root = rig.root()
    rig.child(rig.ours, "a", root).end()
    rig.child(rig.ours, "broken", root).end(end_time=-5)
    rig.child(rig.ours, "b", root).end()
    assert exporter.flush(5) is False
    assert [span.name for span in server.spans()] == ["a", "b"]
    assert exporter.lost == 1


def test_flush_is_false_while_the_server_is_down_and_true_when_it_is_back(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig
) -> None:
    """An outage loses nothing, and flush tells of it within its bound."""
    slow = Backoff(first_s=30, ceiling_s=30)
    exporter = DirectExporter(config, backoff=slow, linger_s=0.01)
    rig.outlet = exporter
    server.judge = lambda _: Reply(503)
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(0.3) is False
    server.judge = lambda _: None
    assert exporter.flush(5) is True
    assert exporter.lost == 0
    exporter.shutdown(0)


def test_nobody_listening(rig: Rig) -> None:
    """With no server at all flush is False within its bound and the spans are kept."""
    config = LangSmithConfig(api_url="http://127.0.0.1:9", api_key=KEY)
    exporter = DirectExporter(config, backoff=QUICK, linger_s=0.01)
    rig.outlet = exporter
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(0.2) is False
    assert exporter.lost == 0
    assert exporter.shutdown(0) is False


def test_one_poisoned_batch_does_not_block_the_others(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """A batch that always fails goes to the end of the queue."""
    server.judge = lambda r: (
        Reply(500) if r.is_traces and any(s.name == "poison" for s in r.spans()) else None
    )
    root = rig.root()
    rig.child(rig.ours, "poison", root).end()
    server.wait(lambda: bool(server.traces()))
    rig.child(rig.ours, "fine", root).end()
    server.wait(lambda: any(s.name == "fine" for s in server.spans()))
    assert exporter.flush(0.1) is False


def test_beyond_its_bound_the_queue_counts_losses(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """What does not fit is refused, counted and said once; what is queued stays."""
    queue = SpanQueue(max_bytes=20_000)
    exporter = DirectExporter(config, queue=queue, backoff=QUICK, linger_s=60)
    rig.outlet = exporter
    root = rig.root()
    for _ in range(3):
        rig.child(rig.ours, "a", root, attributes={"gen_ai.prompt": "x" * 9_000}).end()
    assert exporter.lost == 1
    assert exporter.flush(5) is False
    assert len(server.spans()) == 2
    assert caplog.text.count("dropping spans") == 1
    exporter.shutdown(0)


def test_our_own_requests_are_not_traced(
    config: LangSmithConfig,
    server: LangSmithServer,
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HTTP instrumentations see the suppression on our thread."""
    seen: list[object] = []
    post = Http.post

    def spying(self: Http, *given: Any) -> Any:
        seen.append(context_api.get_value("suppress_instrumentation"))
        return post(self, *given)

    monkeypatch.setattr(Http, "post", spying)
    exporter = DirectExporter(config, backoff=QUICK, linger_s=0.01)
    rig.outlet = exporter
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.shutdown(5) is True
    assert seen == [True]


def test_a_broken_clock_ends_neither_job(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app's test may replace ``time.monotonic`` for a while; what it delays is sent afterwards."""
    monkeypatch.setattr(background, "_FAULT_S", 0.01)
    root, real = rig.root(), time.monotonic

    def broken() -> float:
        if threading.current_thread().name.startswith("otel-realtime-spans"):
            raise StopIteration
        return real()

    rig.child(rig.ours, "before", root).end()
    assert exporter.flush(5) is True
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", broken)
        rig.child(rig.ours, "meanwhile", root).end()
        exporter.hurry()
        wait_for(lambda: diagnostics.faults(), "a fault")
    rig.child(rig.ours, "after", root).end()
    assert exporter.flush(5) is True
    assert ["after", "before", "meanwhile"] == sorted(span.name for span in server.spans())
    provoked(*diagnostics.faults())


def test_a_redirect_is_not_followed(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig
) -> None:
    """The key is not carried to another address."""
    server.script(Reply(307, headers={"Location": server.url + "/elsewhere"}))
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(5) is False
    assert [r.path for r in server.requests] == ["/otel/v1/traces"]


def test_a_forked_child_sends_nothing(
    server: LangSmithServer, config: LangSmithConfig, rig: Rig
) -> None:
    """After the reset queued spans are gone and new ones are delivered by a new thread."""
    exporter = DirectExporter(config, backoff=QUICK, linger_s=60)
    rig.outlet = exporter
    root = rig.root()
    rig.child(rig.ours, "parent's", root).end()
    exporter.reset_after_fork()
    assert exporter.flush(0) is True
    rig.child(rig.ours, "child's", root).end()
    assert exporter.flush(5) is True
    assert [span.name for span in server.spans()] == ["child's"]
    exporter.shutdown(0)


def test_spans_put_after_shutdown_are_refused(exporter: DirectExporter, rig: Rig) -> None:
    """A stopped exporter takes nothing, and says so."""
    root = rig.root()
    exporter.shutdown(0)
    span: ReadableSpan = rig.child(rig.ours, "a", root)
    stamp = rig.table.get(root.get_span_context().span_id)
    assert stamp is not None
    assert exporter.put(span, stamp) is False
