"""LangSmith's copies of spans, and requests of bounded size that hold them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.encoding import (
    Batch,
    encode,
    estimated_bytes,
    join,
    prepare,
    span_parents,
    split,
    without,
)
from otel_realtime.langsmith.stamping import Stamp, TraceStamp
from tests.support.langsmith_server import Request, attributes
from tests.support.streams import bounded

HALF = "\ud83d"
"""Half of an emoji."""
MENDED = "\ufffd"
START = 1_700_000_000 * 10**9


def trace() -> TraceStamp:
    """A conversation of whose responses one is known."""
    return TraceStamp(
        root_span_id=1,
        trace_id=9,
        start_ns=START,
        thread_id="thread-1",
        leg="direct",
        project="voice",
        responses={"resp_1"},
    )


TRACE = trace()
ROOT = TRACE.member(1, START, None)


def span(
    number: int = 2, given: Any = None, *, scope: str = "otel_realtime", **more: Any
) -> ReadableSpan:
    """A finished span with these attributes."""
    return ReadableSpan(
        name=more.pop("name", f"{number}"),
        context=SpanContext(9, number, False, TraceFlags(1)),
        attributes=given or {},
        start_time=START,
        end_time=START + 1_000,
        instrumentation_scope=InstrumentationScope(scope),
        **more,
    )


def stamp(number: int = 2) -> Stamp:
    """Its place below the root."""
    return TRACE.member(number, START, ROOT)


def entries(*spans: ReadableSpan) -> list[tuple[ReadableSpan, Stamp]]:
    """Spans with their stamps."""
    return [(one, stamp(one.get_span_context().span_id)) for one in spans]


def arrived(batches: Sequence[Batch]) -> list[Any]:
    """The protobuf spans of some batches."""
    return [one for batch in batches for one in Request("POST", "/", {}, batch.body).spans()]


def in_order(batches: Sequence[Batch]) -> list[str]:
    """The names of all spans."""
    return [one.name for one in arrived(batches)]


def names(batches: Sequence[Batch]) -> list[list[str]]:
    """The names of the spans, batch by batch."""
    return [[one.name for one in arrived([batch])] for batch in batches]


# -- one span --------------------------------------------------------------------------------------


def test_a_copy_is_stamped_again() -> None:
    """A span with many attributes has lost the first ones; everything else is as it was."""
    given = {"text": "a", "yes": True, "many": [1, 2], "half": 0.5}
    one = span(2, given, resource=Resource({"service.name": "app"}))
    place = stamp()
    copy = prepare(one, place)
    about = TRACE.about.attributes()
    assert {**given, "many": [1, 2], **place.attributes(), **about} == copy.attributes
    assert (one.name, one.context, one.start_time, one.end_time, one.resource) == (
        copy.name,
        copy.context,
        copy.start_time,
        copy.end_time,
        copy.resource,
    )
    assert given == {**(one.attributes or {})}


def test_a_span_of_ours_says_whose_run_it_is() -> None:
    """The app's metadata and the integration; its own facts go first, and others' spans have none."""
    conversation = trace()
    conversation.about.app = {"plan": "gold", "turn": 9}
    place = conversation.member(2, START, ROOT)
    meta = "langsmith.metadata."
    found = prepare(span(2, {meta + "turn": 1}), place).attributes or {}
    assert ("gold", 1, "otel-realtime", "audio") == tuple(
        found[meta + name] for name in ("plan", "turn", "ls_integration", "ls_modality")
    )
    conversation.about.voice = False
    assert meta + "ls_modality" not in (prepare(span(2), place).attributes or {})
    theirs = prepare(span(2, scope="some.library"), place).attributes or {}
    assert not {meta + "plan", meta + "ls_integration"} & set(theirs)


@pytest.mark.parametrize(
    ("given", "description", "expected"),
    [
        ({}, "refused", ("error", "refused")),
        ({"error.type": "500"}, None, ("500", "500")),
        ({"error.type": "ConnectError"}, "no route", ("ConnectError", "no route")),
        ({}, None, ("error", "error")),
        ({"http.status_code": 503}, None, ("503", "HTTP status 503")),
        (
            {"http.response.status_code": 404, "error.type": "404"},
            None,
            ("404", "HTTP status 404"),
        ),
        ({"error.type": 7}, HALF, ("7", MENDED)),
    ],
)
def test_a_failed_span_without_an_exception_gets_one(
    given: dict[str, Any], description: str | None, expected: tuple[str, str]
) -> None:
    """At its end: LangSmith would take the run for a success."""
    failed = span(2, given, scope="some.client", status=Status(StatusCode.ERROR, description))
    (event,) = prepare(failed, stamp()).events
    found = event.attributes or {}
    assert ("exception", START + 1_000) == (event.name, event.timestamp)
    assert expected == (found["exception.type"], found["exception.message"])
    assert () == failed.events


def test_an_exception_stands_once() -> None:
    """A span that has one keeps it, and one that did not fail gets none."""
    own = Event("exception", {"exception.type": "A"}, START)
    failed = span(2, status=Status(StatusCode.ERROR), events=[Event("other", {}, START), own])
    assert ["other", "exception"] == [event.name for event in prepare(failed, stamp()).events]
    assert [] == list(prepare(span(2), stamp()).events)


def test_messages_stand_once() -> None:
    """GenAI's go where the prompt says the same, and stay where nothing else says it."""
    both = {"gen_ai.prompt": "p", "gen_ai.input.messages": "i", "gen_ai.output.messages": "o"}
    ours = {*stamp().attributes(), *TRACE.about.attributes()}
    kept = set(prepare(span(2, both), stamp()).attributes or ()) - ours
    assert {"gen_ai.prompt", "gen_ai.output.messages"} == kept


@pytest.mark.parametrize(
    ("scope", "response", "counts"),
    [
        ("otel_realtime", "resp_1", True),
        ("otel_realtime.tracing", "resp_1", True),
        ("some.library", "resp_1", False),
        ("some.library", "resp_2", True),
        ("some.library", None, True),
    ],
)
def test_a_responses_usage_counts_once(scope: str, response: str | None, counts: bool) -> None:
    """Another instrumentation's span of the same response has none; its own calls keep theirs."""
    usage = {"gen_ai.usage.input_tokens": 5, "langsmith.usage_metadata": "{}", "llm.usage.total": 1}
    given = usage | ({"gen_ai.response.id": response} if response else {})
    found = prepare(span(2, given, scope=scope), stamp()).attributes or {}
    assert (set(usage) if counts else set()) == set(usage) & set(found)


def test_whatever_cannot_be_encoded_is_mended() -> None:
    """In the name, an attribute, an event, a link and the status."""
    bad = {"text": HALF, "deep": [{"k": HALF, "n": None}], "big": 2**80, HALF: 1}
    context = SpanContext(9, 7, False, TraceFlags(1))
    one = span(
        2,
        bad,
        name=HALF,
        events=[Event(HALF, {"text": HALF}, START)],
        links=[Link(context, {"text": HALF})],
        status=Status(StatusCode.ERROR, HALF),
    )
    batches, lost = encode(entries(one), 0)
    (found,) = arrived(batches)
    assert 0 == lost
    assert (MENDED, MENDED, MENDED, MENDED) == (
        found.name,
        found.status.message,
        found.events[0].name,
        found.links[0].attributes[0].value.string_value,
    )
    assert (MENDED, str(2**80)) == tuple(attributes(found)[key] for key in ("text", "big"))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@bounded
@given(st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=5), values))
def test_any_attributes_encode(given: dict[str, Any]) -> None:
    """Whatever another instrumentation writes: the span arrives."""
    more = {"events": [Event("e", given, START)], "resource": Resource({"a": "b"})}
    batches, lost = encode(entries(span(2, given, **more)), 0)
    assert (0, ["2"]) == (lost, in_order(batches))


def test_what_a_span_holds_is_known_roughly() -> None:
    """Texts count wherever they stand: in an attribute, a list, or an event."""
    text = "x" * 100_000
    assert estimated_bytes(span(2)) < 2_000
    for one in (
        span(2, {"text": text}),
        span(2, {"texts": [text[:50_000], text[50_000:]]}),
        span(2, events=[Event("message", {"content": text}, START)]),
    ):
        assert 100_000 <= estimated_bytes(one) < 102_000


# -- requests --------------------------------------------------------------------------------------


def test_a_batch_knows_its_spans() -> None:
    """How many, which number the first one has, and their ids."""
    (batch,), lost = encode(entries(span(2), span(3)), 40)
    assert (0, 2, 40, {2, 3}) == (
        lost,
        batch.spans,
        batch.first,
        set(span_parents(batch.body)),
    )
    assert [] == encode([], 0)[0]


def test_the_same_spans_give_the_same_bytes() -> None:
    """A second try must be known as one."""
    given = entries(span(2), span(3))
    assert encode(given, 0) == encode(given, 0)


def test_no_request_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are divided until each part fits, in order; one alone goes however large it is."""
    monkeypatch.setattr(encoding, "MAX_REQUEST_BYTES", 20_000)
    spans = [span(number, {"text": "x" * 5_000}) for number in range(2, 9)]
    batches, lost = encode(entries(*spans, span(9, {"text": "x" * 50_000})), 0)
    assert 0 == lost
    assert [f"{number}" for number in range(2, 10)] == in_order(batches)
    assert all(batch.size <= 20_000 or batch.spans == 1 for batch in batches)


def test_a_span_that_never_encodes_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and named in the log."""
    broken = span(3, name="broken")
    broken._end_time = -5
    batches, lost = encode(entries(span(2), broken, span(4)), 0)
    assert (1, ["2", "4"]) == (lost, in_order(batches))
    assert "broken" in caplog.text


def test_bodies_become_one() -> None:
    """All their spans, in order; a single one stays as it is."""
    (one,), _ = encode(entries(span(2)), 0)
    (other,), _ = encode(entries(span(3), span(4)), 1)
    assert one.body is join([one.body])
    both = Batch(join([one.body, other.body]), 3, 0, 0)
    assert [["2", "3", "4"]] == names([both])


def test_a_body_becomes_two() -> None:
    """With every span once, over all resources and scopes."""
    spans = [
        span(
            number,
            scope=f"scope-{number % 2}",
            resource=Resource({"service.name": f"app-{number % 3}"}),
        )
        for number in range(2, 9)
    ]
    (batch,), _ = encode(entries(*spans), 5)
    halves = split(batch.body, batch.spans, batch.first)
    assert [3, 4] == [half.spans for half in halves] == [len(half) for half in names(halves)]
    assert sorted(one.name for one in spans) == sorted(in_order(halves))
    assert [5, 5] == [half.first for half in halves]


def test_spans_can_be_taken_out() -> None:
    """Nothing is left of a body without any."""
    (batch,), _ = encode(entries(*(span(number) for number in range(2, 6))), 0)
    rest = without(batch.body, {2, 4})
    assert rest is not None
    assert (2, [["3", "5"]]) == (rest.spans, names([rest]))
    assert without(batch.body, {2, 3, 4, 5}) is None


@pytest.mark.parametrize("body", [b"", b"no gzip", os.urandom(50)], ids=["empty", "text", "noise"])
def test_what_is_no_body_is_told(body: bytes) -> None:
    """As one kind of error."""
    with pytest.raises(ValueError, match="not a batch of spans"):
        span_parents(body)


def test_a_torn_body_is_told() -> None:
    """A file may have been cut anywhere."""
    (batch,), _ = encode(entries(span(2)), 0)
    for size in range(len(batch.body)):
        with pytest.raises(ValueError, match="not a batch of spans"):
            span_parents(batch.body[:size])
