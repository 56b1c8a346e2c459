"""Tool spans by what the wire and the app show, through the public API with the app's own times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime import Conversation, Settings
from otel_realtime.tracing import tool as tool_spans
from tests.support.case_files import CASES, START_NS, play
from tests.support.streams import answer, asked, bounded, created, done, received
from tests.support.traces import Traces, facts, outline, parent_name

MS = 1_000_000
OUTSIDE = {"conversation_id": None}


class Call:
    """A conversation whose events the app reports, 10 ms apart."""

    def __init__(self, traces: Traces, **settings: Any) -> None:
        self.traces = traces
        self._context = otel_realtime.conversation(
            tracer_provider=traces.provider, settings=Settings(**settings)
        )
        self.conversation: Conversation = self._context.__enter__()
        self.ms = 0

    def at(self, ms: int, *rows: Any) -> Call:
        """Report rows at a time, ms since the start."""
        for is_sent, event in rows:
            report = self.conversation.sent if is_sent else self.conversation.received
            report(event, at_ns=START_NS + ms * MS)
        self.ms = ms
        return self

    def close(self) -> list[ReadableSpan]:
        """End it."""
        self.conversation.close()
        return self.traces.spans

    def tools(self) -> list[ReadableSpan]:
        """Its tool spans."""
        return [span for span in self.traces.spans if span.name.startswith("execute_tool")]


@pytest.fixture
def call(traces: Traces) -> Iterator[Call]:
    """An open conversation with a response in progress."""
    made = Call(traces)
    made.at(0, received("session.created", session={"id": "sess_1"})).at(10, created("r"))
    yield made
    made.conversation.close()


def whole(number: int = 1, response: str = "r") -> Any:
    """The row of the first event with a call's complete arguments."""
    told = {"item_id": f"item_{number}", "call_id": f"call_{number}", "name": "weather"}
    return received(
        "response.function_call_arguments.done", response_id=response, arguments="{}", **told
    )


def told(span: ReadableSpan) -> tuple[Any, Any]:
    """How its times are known, and how long was waited."""
    return facts(span)["otel_realtime.tool.timing"], facts(span).get("otel_realtime.tool.waited_ms")


def times(span: ReadableSpan) -> tuple[int, int]:
    """Start and end, ms since the start."""
    return ((span.start_time or 0) - START_NS) // MS, ((span.end_time or 0) - START_NS) // MS


# -- by the wire alone -----------------------------------------------------------------------------


def test_a_hang_up_at_the_announcing_event(traces: Traces) -> None:
    """The call has its span, which says that nobody answered it."""
    made = Call(traces)
    play(made.conversation, CASES / "hangup_tool_after_arguments.jsonl")
    made.close()
    span = traces.one("execute_tool end_call")
    assert (StatusCode.ERROR, "tool_not_answered") == (
        span.status.status_code,
        facts(span)["error.type"],
    )
    assert "response.function_call_arguments.done" == parent_name(span, traces.spans)
    assert 1 == facts(traces.root)["otel_realtime.tool_calls"]
    timing, waited_ms = told(span)
    assert "wire" == timing
    assert isinstance(waited_ms, int)


def test_structured_output_and_half_a_call(traces: Traces) -> None:
    """The one ends with its response and is no error; the other has no span and is not counted."""
    made = Call(traces)
    play(made.conversation, CASES / "oob_tool_and_half_call.jsonl")
    made.close()
    (span,) = made.tools()
    assert ("execute_tool classify", (130, 140), ("wire", None)) == (
        span.name,
        times(span),
        told(span),
    )
    assert StatusCode.UNSET == span.status.status_code
    assert 1 == facts(traces.root)["otel_realtime.tool_calls"]


def test_a_call_that_nobody_runs_yet_begins_with_its_response(call: Call) -> None:
    """The wait is counted from the request."""
    call.at(20, whole()).at(50, done("r", asked("item_1", "call_1"))).at(90, answer("call_1"))
    call.close()
    (span,) = call.tools()
    assert ((50, 90), ("wire", 70)) == (times(span), told(span))
    assert "response.done" == parent_name(span, call.traces.spans)


def test_a_call_that_is_answered_early_stays_where_it_was_announced(call: Call) -> None:
    """Its response is done later."""
    call.at(20, whole()).at(40, answer("call_1")).at(50, done("r", asked("item_1", "call_1")))
    call.close()
    (span,) = call.tools()
    assert ((20, 40), ("wire", 20)) == (times(span), told(span))
    assert "response.function_call_arguments.done" == parent_name(span, call.traces.spans)


def test_a_call_out_of_band_that_the_app_answers(call: Call) -> None:
    """Then it is a call like any other."""
    call.at(15, created("o", **OUTSIDE)).at(20, whole(1, "o"))
    call.at(50, done("o", asked("item_1", "call_1"), **OUTSIDE)).at(90, answer("call_1"))
    call.close()
    (span,) = call.tools()
    assert ((20, 90), ("wire", 70), '"sunny"') == (
        times(span),
        told(span),
        facts(span)["gen_ai.tool.call.result"],
    )


def test_calls_out_of_band_do_not_pile_up(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few wait for an answer that will not come."""
    monkeypatch.setattr(tool_spans, "MAX_OVER", 2)
    for number in range(1, 6):
        response, ms = f"o{number}", 100 * number
        call.at(ms, created(response, **OUTSIDE)).at(ms + 10, whole(number, response))
        item = asked(f"item_{number}", f"call_{number}")
        call.at(ms + 50, done(response, item, **OUTSIDE))
    assert [(110, 150), (210, 250), (310, 350)] == [times(span) for span in call.tools()]
    call.close()
    assert 5 == len(call.tools()) == facts(call.traces.root)["otel_realtime.tool_calls"]
    assert {StatusCode.UNSET} == {span.status.status_code for span in call.tools()}


def test_two_calls_of_one_response_that_nothing_else_announced(call: Call) -> None:
    """Both begin with it."""
    call.at(50, done("r", asked("item_1", "call_1"), asked("item_2", "call_2")))
    with call.traces.tracer.start_as_current_span("work"):
        pass
    call.at(70, answer("call_2")).at(90, answer("call_1"))
    call.close()
    assert [(50, 70), (50, 90)] == sorted(times(span) for span in call.tools())
    assert "response.done" == parent_name(call.traces.one("work"), call.traces.spans)


# -- what happens below ----------------------------------------------------------------------------


def test_what_the_app_does_at_the_announcing_event_is_below_the_tool(call: Call) -> None:
    """Then the span stays there, and the response's end changes nothing."""
    call.at(20, whole())
    with call.traces.tracer.start_as_current_span("work"):
        pass
    call.at(50, done("r", asked("item_1", "call_1")))
    with call.traces.tracer.start_as_current_span("other"):
        pass
    call.at(90, answer("call_1"))
    call.close()
    (span,) = call.tools()
    assert ((20, 90), ("observed", 70)) == (times(span), told(span))
    assert ("execute_tool weather", "response.done") == tuple(
        parent_name(call.traces.one(name), call.traces.spans) for name in ("work", "other")
    )


@pytest.mark.parametrize(
    "event", ["response.function_call_arguments.done", "response.output_item.done"]
)
def test_a_task_that_is_started_there_is_below_the_tool(event: str, call: Call) -> None:
    """Whenever its spans start: also after a response's end, when nothing had happened yet."""

    async def run(release: asyncio.Event) -> None:
        await release.wait()
        with call.traces.tracer.start_as_current_span("request"):
            await asyncio.sleep(0)

    async def main() -> None:
        release = asyncio.Event()
        call.at(20, whole())
        if event == "response.output_item.done":
            call.at(21, received(event, response_id="r", item=asked("item_1", "call_1")))
        task = asyncio.create_task(run(release))
        call.at(50, done("r", asked("item_1", "call_1")))
        release.set()
        await task
        call.at(90, answer("call_1"))

    asyncio.run(main())
    call.close()
    (span,) = call.tools()
    assert ("observed", 70) == told(span)
    assert "execute_tool weather" == parent_name(call.traces.one("request"), call.traces.spans)
    assert "response.done" == parent_name(span, call.traces.spans)
    known = {one.context.span_id for one in call.traces.spans if one.context}
    assert [] == [
        one.name for one in call.traces.spans if one.parent and one.parent.span_id not in known
    ]


def test_half_a_call_that_the_app_began_stays(call: Call) -> None:
    """What it started below needs a parent."""
    call.at(20, whole())
    with call.traces.tracer.start_as_current_span("work"):
        pass
    half = asked("item_1", "call_1", status="incomplete")
    call.at(30, received("response.output_item.done", response_id="r", item=half))
    call.at(50, done("r", half, status="cancelled"))
    call.close()
    (span,) = call.tools()
    assert "tool_not_answered" == facts(span)["error.type"]
    assert 1 == facts(call.traces.root)["otel_realtime.tool_calls"]


def test_without_activation_nothing_is_below(traces: Traces) -> None:
    """``Settings.activate_spans=False``: the app's spans are its own."""
    made = Call(traces, activate_spans=False)
    made.at(10, created("r")).at(20, whole())
    with traces.tracer.start_as_current_span("work"):
        pass
    made.at(50, done("r", asked("item_1", "call_1"))).at(90, answer("call_1"))
    made.close()
    (span,) = made.tools()
    assert ("wire", 70) == told(span)
    assert traces.one("work").parent is None


# -- call.tool() -----------------------------------------------------------------------------------


def test_a_block_is_exact_whenever_it_is_entered(call: Call) -> None:
    """The wait goes from the request to the sending; the span from entry to exit."""
    call.at(20, whole()).at(50, done("r", asked("item_1", "call_1")))
    with call.conversation.tool("call_1") as entered:
        pass
    call.at(90, answer("call_1"))
    call.close()
    (span,) = call.tools()
    assert ("exact", 70) == told(span)
    assert entered.get_span_context() == span.context
    assert "response.done" == parent_name(span, call.traces.spans)


def test_a_block_before_its_call_is_announced(call: Call) -> None:
    """The announcement completes its span."""
    with call.conversation.tool("call_1"):
        call.at(20, whole())
    call.at(90, answer("call_1")).close()
    (span,) = call.tools()
    assert ("execute_tool weather", "weather", "{}", ("exact", 70)) == (
        span.name,
        facts(span)["gen_ai.tool.name"],
        facts(span)["gen_ai.tool.call.arguments"],
        told(span),
    )


@pytest.mark.parametrize("how", ["one after the other", "one in the other"])
def test_two_blocks_of_one_call_are_both_kept(how: str, call: Call) -> None:
    """A second try must not lose the first one."""
    call.at(20, whole()).at(50, done("r", asked("item_1", "call_1")))
    with call.conversation.tool("call_1"):
        if how == "one in the other":
            with call.conversation.tool("call_1"):
                pass
    if how == "one after the other":
        with call.conversation.tool("call_1"):
            pass
    call.at(90, answer("call_1")).close()
    assert [("exact", 70)] * 2 == [told(span) for span in call.tools()]
    assert 2 == facts(call.traces.root)["otel_realtime.tool_calls"]
    assert 1 == sum("gen_ai.tool.call.result" in facts(span) for span in call.tools())


def test_a_block_whose_result_is_never_sent(call: Call) -> None:
    """It ended where it was left, and the model never heard of it."""
    call.at(20, whole()).at(50, done("r", asked("item_1", "call_1")))
    with call.conversation.tool("call_1"):
        pass
    call.close()
    (span,) = call.tools()
    assert ("exact", "tool_not_answered") == (told(span)[0], facts(span)["error.type"])
    (event,) = span.events
    assert event.timestamp <= (span.end_time or 0)


def test_every_tool_is_measured_as_its_span_says(traces: Traces) -> None:
    """With the type of its failure."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False)
    otel_realtime.instrument(tracer_provider=traces.provider, meter_provider=meter)
    made = Call(traces)
    made.at(10, created("r")).at(20, whole(1)).at(21, whole(2)).at(22, whole(3))
    with pytest.raises(KeyError), made.conversation.tool("call_2"):
        raise KeyError("x")
    made.at(1_020, answer("call_1"), answer("call_2"))
    made.close()
    data: Any = reader.get_metrics_data()
    points = [
        (dict(point.attributes), point.sum)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "gen_ai.execute_tool.duration"
        for point in metric.data.data_points
    ]
    assert ["KeyError", None, "tool_not_answered"] == sorted(
        (labels.get("error.type") for labels, _ in points), key=str
    )
    (answered,) = [seconds for labels, seconds in points if "error.type" not in labels]
    assert 1.0 == pytest.approx(answered)


def test_the_tree(call: Call) -> None:
    """As the design draws it."""
    call.at(20, whole()).at(50, done("r", asked("item_1", "call_1")))
    with call.traces.tracer.start_as_current_span("work"):
        pass
    call.at(90, answer("call_1"))
    call.close()
    assert ["    execute_tool weather", "      work"] == [
        line for line in outline(call.traces.spans) if line.startswith("    ")
    ]


# -- in any order ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["arguments", "item", "half", "done", "cancelled", "answer", "work", "block", "leave"]
        ),
        st.integers(1, 3),
    ),
    max_size=24,
)


@bounded
@given(STEPS, st.booleans())
def test_whatever_happens_each_span_is_whole(steps: list[tuple[str, int]], activates: bool) -> None:
    """Every parent is there and began before; spans, count and metric agree; nothing is left."""
    traces = Traces()
    made = Call(traces, activate_spans=activates)
    made.at(5, created("r"))
    blocks: list[Any] = []
    own: list[Any] = []
    for index, (step, number) in enumerate(steps):
        item = asked(f"item_{number}", f"call_{number}")
        half = {**item, "status": "incomplete"}
        ms = 10 * (index + 1)
        if step == "arguments":
            made.at(ms, whole(number))
        elif step in ("item", "half"):
            shown = item if step == "item" else half
            made.at(ms, received("response.output_item.done", response_id="r", item=shown))
        elif step == "done":
            made.at(ms, done("r", item))
        elif step == "cancelled":
            made.at(ms, done("r", half, status="cancelled"))
        elif step == "answer":
            made.at(ms, answer(f"call_{number}"))
        elif step == "work":
            span = traces.tracer.start_span("work", start_time=START_NS + ms * MS)
            span.end(START_NS + (ms + 1) * MS)
            own.append(span)
        elif step == "block":
            block = made.conversation.tool(f"call_{number}" if number < 3 else None, name="own")
            block.__enter__()
            blocks.append(block)
        elif blocks:
            blocks.pop().__exit__(None, None, None)
    while blocks:
        blocks.pop().__exit__(None, None, None)
    made.close()
    known = {span.context.span_id: span for span in traces.spans if span.context}
    for span in traces.spans:
        if span.parent is not None:
            assert span.parent.span_id in known, span.name
            assert (known[span.parent.span_id].start_time or 0) <= (span.start_time or 0), span.name
    tools = made.tools()
    assert len(tools) == facts(traces.root)["otel_realtime.tool_calls"]
    assert {"exact", "observed", "wire"} >= {told(span)[0] for span in tools}
    assert len(own) == len(traces.named("work"))
    for number in (1, 2, 3):
        of_call = [s for s in tools if facts(s).get("gen_ai.tool.call.id") == f"call_{number}"]
        assert 1 >= sum("gen_ai.tool.call.result" in facts(span) for span in of_call)
