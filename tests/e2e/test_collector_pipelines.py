"""What the Collector lets through to LangSmith and to Jaeger, and what each gets to see of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from otel_realtime import attributes as names
from tests.e2e.conftest import Topology
from tests.support.handmade import (
    MESSAGES,
    PARTS,
    Maker,
    Trace,
    conversation,
    send_grpc,
    send_http,
)
from tests.support.otlp_recorder import Span
from tests.support.processes import tags
from tests.support.waiting import wait_for

pytestmark = pytest.mark.collector

TRUNCATED = '{"truncated": true}'
MARK = " ...[truncated]"


def arrive(topology: Topology, trace: Trace, *, langsmith: int) -> tuple[list[Span], list[Any]]:
    """Send a trace and wait until Jaeger has all of it and LangSmith ``langsmith`` spans of it."""
    assert send_http(topology.collector.http, trace)
    in_jaeger = topology.jaeger.wait(trace.trace_id, len(trace.spans))
    if langsmith == 0:
        # Nothing may come: send one span that does, through the same queue, and wait for that.
        after = conversation(0)
        assert send_http(topology.collector.http, after)
        topology.jaeger.wait(after.trace_id, len(after.spans))
        _wait_langsmith(topology, after.trace_id, len(after.spans))
    return _wait_langsmith(topology, trace.trace_id, langsmith), in_jaeger


def _wait_langsmith(topology: Topology, trace_id: str, count: int) -> list[Span]:
    def mine() -> list[Span]:
        return [span for span in topology.langsmith.spans() if span.trace_id == trace_id]

    wait_for(lambda: len(mine()) >= count, f"{count} spans at LangSmith")
    return mine()


def by_name(spans: Sequence[Span]) -> dict[str, Span]:
    """The spans by name, each of which must stand once."""
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


def jaeger_tags(spans: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The tags of the one span of this name in Jaeger."""
    (found,) = (span for span in spans if span["operationName"] == name)
    return tags(found)


@pytest.mark.parametrize(
    "send",
    [lambda to, trace: send_http(to.http, trace), lambda to, trace: send_grpc(to.grpc, trace)],
    ids=["http", "grpc"],
)
def test_a_conversation_arrives_whole_and_once_at_both(
    topology: Topology, send: Callable[[Any, Trace], bool]
) -> None:
    """By either protocol each destination gets every span once, with its parent."""
    trace = conversation(20)
    assert send(topology.collector, trace)

    in_jaeger = topology.jaeger.wait(trace.trace_id, 22)
    at_langsmith = _wait_langsmith(topology, trace.trace_id, 22)

    sent = {
        (
            format(span.context.span_id, "016x"),
            format(span.parent.span_id, "016x") if span.parent else "",
        )
        for span in trace.spans
    }
    assert sent == {(span.span_id, span.parent_id) for span in at_langsmith}
    assert len(sent) == len(at_langsmith)
    assert sent == {
        (span["spanID"], "".join(ref["spanID"] for ref in span["references"])) for span in in_jaeger
    }
    assert len(sent) == len(in_jaeger)
    assert [span["warnings"] for span in in_jaeger] == [None] * 22


def test_langsmith_is_addressed_with_key_and_project(topology: Topology) -> None:
    """Requests to LangSmith carry the key and the project and are compressed."""
    arrive(topology, conversation(), langsmith=5)
    headers = topology.langsmith.requests[-1].headers
    assert (
        headers["x-api-key"],
        headers["langsmith-project"],
        headers["content-encoding"],
    ) == ("lsv2_pt_test", "calls", "gzip")


@pytest.mark.parametrize("leg", [names.LEG_DIRECT, names.LEG_NONE])
def test_spans_of_another_leg_reach_jaeger_alone(topology: Topology, leg: str) -> None:
    """A conversation that its process delivers itself, or keeps from LangSmith, is not sent there."""
    at_langsmith, in_jaeger = arrive(topology, conversation(leg=leg), langsmith=0)
    assert (len(at_langsmith), len(in_jaeger)) == (0, 5)


def test_spans_of_no_conversation_reach_jaeger_alone(topology: Topology) -> None:
    """The app's other spans are nothing for LangSmith."""
    maker = Maker()
    maker.unrelated("GET /health")
    maker.span("response.done")
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=2)
    assert {names.ROOT_NAME, "response.done"} == set(by_name(at_langsmith))
    assert len(in_jaeger) == 3


def test_a_root_that_the_runs_api_delivered_is_left_out_for_langsmith(topology: Topology) -> None:
    """The marked root goes to Jaeger only; its children go to both."""
    at_langsmith, in_jaeger = arrive(topology, conversation(0, root_by_runs_api=True), langsmith=1)
    assert {"chat gpt-realtime"} == set(by_name(at_langsmith))
    assert {names.ROOT_NAME, "chat gpt-realtime"} == {span["operationName"] for span in in_jaeger}


def test_each_destination_gets_one_spelling_of_the_messages(topology: Topology) -> None:
    """LangSmith gets prompt and completion, Jaeger's GenAI view the message attributes."""
    maker = Maker()
    maker.inference()
    maker.span("session.updated", {names.PROMPT: MESSAGES})
    maker.span("chat other", {names.INPUT_MESSAGES: PARTS}, scope="other")
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=4)

    keys = (names.PROMPT, names.COMPLETION, names.INPUT_MESSAGES, names.OUTPUT_MESSAGES)

    def pick(attributes: Mapping[str, Any]) -> list[Any]:
        return [attributes.get(key) for key in keys]

    runs = by_name(at_langsmith)
    assert pick(runs["chat gpt-realtime"].attributes) == [MESSAGES, MESSAGES, None, None]
    assert pick(runs["session.updated"].attributes) == [MESSAGES, None, None, None]
    assert pick(runs["chat other"].attributes) == [None, None, PARTS, None]
    assert pick(jaeger_tags(in_jaeger, "chat gpt-realtime")) == [None, None, PARTS, PARTS]
    assert pick(jaeger_tags(in_jaeger, "session.updated")) == [MESSAGES, None, None, None]


def test_jaeger_sees_nothing_of_langsmith_and_finds_spans_by_thread(topology: Topology) -> None:
    """langsmith.* is gone in Jaeger; every span can be searched by its thread."""
    trace = conversation(thread_id="thread-to-find", service="finder")
    _, in_jaeger = arrive(topology, trace, langsmith=5)

    keys = {key for span in in_jaeger for key in tags(span)}
    assert set() == {key for key in keys if key.startswith("langsmith.")}
    threads = {tags(span)["otel_realtime.thread_id"] for span in in_jaeger}
    assert {"thread-to-find"} == threads
    find = topology.jaeger.find
    assert {trace.trace_id} == find("finder", {"otel_realtime.thread_id": "thread-to-find"})
    assert set() == find("finder", {"otel_realtime.thread_id": "another"})


def test_tokens_of_the_same_realtime_response_are_counted_once(topology: Topology) -> None:
    """Another instrumentation's span of a Realtime response loses its usage for LangSmith only."""
    usage = {names.USAGE + "input_tokens": 7, names.LS_USAGE: "{}"}
    maker = Maker()
    maker.span("chat gpt-realtime", {names.REQUEST_MODEL: "gpt-realtime", **usage}, scope="other")
    maker.span("chat gpt-5", {names.REQUEST_MODEL: "gpt-5", **usage}, scope="other")
    maker.inference("ours", **usage)
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=4)

    def has_usage(span: Span) -> tuple[bool, bool]:
        return tuple(key in span.attributes for key in usage)  # type: ignore[return-value]

    runs = by_name(at_langsmith)
    assert has_usage(runs["chat gpt-realtime"]) == (False, False)
    assert has_usage(runs["chat gpt-5"]) == (True, True)
    assert has_usage(runs["ours"]) == (True, True)
    assert jaeger_tags(in_jaeger, "chat gpt-realtime")[names.USAGE + "input_tokens"] == 7


SECRETS = {
    "openai": ("sk-proj-" + "A1b2-C3d4_E5f6G7h8I9j0", "****"),
    "openai, old": ("sk-" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4", "****"),
    "langsmith": ("lsv2_pt_" + "0123456789abcdef0123456789abcdef", "****"),
    "ephemeral": ("ek_" + "68af0123456789abcdef0123", "****"),
    "header": ("Bearer " + "eyJhbGciOi.JIUzI1NiJ9-abc_def", "B****"),
}


@pytest.mark.parametrize(("secret", "masked"), SECRETS.values(), ids=SECRETS)
def test_a_secret_that_slipped_through_is_masked_for_both(
    topology: Topology, secret: str, masked: str
) -> None:
    """Keys are masked in attributes, in exceptions and in the status message; JSON stays JSON."""
    maker = Maker()
    maker.span(
        "session.updated",
        {names.PROMPT: json.dumps({"event": {"text": f"key {secret} here"}})},
        error=f"refused: {secret}",
    )
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=2)

    run = by_name(at_langsmith)["session.updated"]
    assert secret not in repr(run)
    assert secret not in repr(in_jaeger)
    assert json.loads(run.attributes[names.PROMPT]) == {"event": {"text": f"key {masked} here"}}
    assert run.status == f"refused: {masked}"


def test_what_only_looks_like_a_secret_is_kept(topology: Topology) -> None:
    """Words and token counts are no secrets."""
    kept = {
        "note": "a risk-assessment-for-the-whole-quarter, task-1234-of-5678, the bearer of the ring",
        names.USAGE + "input_tokens": 12,
    }
    maker = Maker()
    maker.span("session.updated", kept)
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=2)
    run = by_name(at_langsmith)["session.updated"].attributes
    assert kept == {key: run[key] for key in kept}
    shown = jaeger_tags(in_jaeger, "session.updated")
    assert kept == {key: shown[key] for key in kept}


def long_json(size: int) -> str:
    """A JSON object of ``size`` characters; quotes and a brace stand all through it."""
    return json.dumps({"x": ['a"}'] * (size // 8)})


def test_json_over_the_limit_is_replaced_for_jaeger_and_text_is_cut(topology: Topology) -> None:
    """Whatever the key: JSON over the limit becomes valid JSON, text is cut and says so."""
    values = {
        names.INPUT_MESSAGES: long_json(70_000),
        "other.tool.payload": " " + long_json(70_000),
        "other.list": json.dumps(["é" * 10] * 1_500),
        "other.text": "é" * 70_000,
        "other.short": long_json(1_000),
    }
    maker = Maker()
    maker.span("chat", values)
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=2)

    shown = jaeger_tags(in_jaeger, "chat")
    text = "é" * ((65_536 - len(MARK)) // 2) + MARK
    expected = dict.fromkeys(list(values)[:3], TRUNCATED)
    expected |= {"other.text": text, "other.short": values["other.short"]}
    assert expected == {key: shown[key] for key in values}
    run = by_name(at_langsmith)["chat"].attributes
    assert values == {key: run[key] for key in values}


def test_json_far_over_the_limit_is_replaced_for_langsmith_too(topology: Topology) -> None:
    """LangSmith's limit is higher and is kept in the same way."""
    maker = Maker()
    maker.span("chat", {names.PROMPT: long_json(600_000), "note": "n" * 600_000})
    at_langsmith, _ = arrive(topology, maker.finish(), langsmith=2)
    run = by_name(at_langsmith)["chat"].attributes
    assert (run[names.PROMPT], len(run["note"])) == (TRUNCATED, 500_000)


def test_a_span_larger_than_a_batch_is_made_to_fit(topology: Topology) -> None:
    """A span of 12 MB takes none of its neighbours down: it is brought below the batch sizes."""
    maker = Maker()
    for index in range(3):
        maker.span(f"small {index}")
    maker.span("large", {f"value.{index}": "v" * 120_000 for index in range(100)})
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=5)
    large = by_name(at_langsmith)["large"].attributes
    assert {49_152} == {len(large[f"value.{index}"]) for index in range(100)}
    shown = jaeger_tags(in_jaeger, "large")
    assert {16_384} == {len(shown[f"value.{index}"]) for index in range(100)}


def test_a_stock_jaegers_message_limit_is_kept(topology: Topology) -> None:
    """A request of 20 MB is split below the 4 MiB of a Jaeger with default settings, and for LangSmith."""
    maker = Maker()
    for index in range(400):
        maker.span(f"event {index}", {names.PROMPT: json.dumps({"event": "e" * 50_000})})
    at_langsmith, in_jaeger = arrive(topology, maker.finish(), langsmith=401)
    assert (len(by_name(at_langsmith)), len(in_jaeger)) == (401, 401)
    assert max(request.decoded_bytes for request in topology.langsmith.requests) <= 8_388_608


def test_a_conversation_of_7000_spans_arrives_whole(topology: Topology) -> None:
    """A very long call is complete and once at both."""
    trace = conversation(6_998)
    for start in range(0, 7_000, 500):
        assert send_http(topology.collector.http, Trace("", trace.spans[start : start + 500]))
    in_jaeger = topology.jaeger.wait(trace.trace_id, 7_000)
    at_langsmith = _wait_langsmith(topology, trace.trace_id, 7_000)
    assert (len(in_jaeger), len({span["spanID"] for span in in_jaeger})) == (7_000, 7_000)
    assert (len(at_langsmith), len({span.span_id for span in at_langsmith})) == (7_000, 7_000)
