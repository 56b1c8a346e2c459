"""What is current on the app's task: ours while it handles an event, its own before and after."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span

from otel_realtime.tracing.activation import Activation, child_context
from otel_realtime.tracing.members import CONVERSATION_KEY
from tests.support.streams import bounded

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("test")


@pytest.fixture(autouse=True)
def _whole(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test begins in an empty context, ends in it, and logs no failed detach."""
    caplog.set_level(logging.ERROR)
    token = otel_context.attach(Context())
    yield
    assert {} == dict(otel_context.get_current())
    otel_context.detach(token)
    assert [] == caplog.records


def span(name: str = "event") -> Span:
    """A started span without a parent."""
    return TRACER.start_span(name, context=Context())


def current() -> Span:
    """What is current now."""
    return trace.get_current_span()


def test_a_childs_context_names_span_and_conversation() -> None:
    """And keeps what it is based on."""
    event, owner = span(), object()
    base = baggage.set_baggage("who", "caller", Context())
    found = child_context(event, owner, base)
    assert event is trace.get_current_span(found)
    assert owner is found[CONVERSATION_KEY]
    assert "caller" == baggage.get_baggage("who", found)
    assert event is trace.get_current_span(child_context(event, owner))


def test_a_span_that_was_left_needs_no_garbage_collector() -> None:
    """Thousands of events a call would be left to it, and it stops the app's task."""
    activation, event = Activation(object()), span()
    seen = weakref.ref(event)
    gc.disable()
    try:
        activation.enter(event)
        activation.leave()
        del event
        assert seen() is None
    finally:
        gc.enable()


def test_a_span_is_current_until_the_next_receive() -> None:
    """With its conversation; then the app's own context is back, as the same object."""
    owner, event = object(), span()
    activation = Activation(owner)
    with TRACER.start_as_current_span("app") as own:
        before = otel_context.get_current()
        activation.enter(event)
        assert event is current()
        assert owner is otel_context.get_value(CONVERSATION_KEY)
        assert 1 == activation.attached
        activation.leave()
        assert before is otel_context.get_current()
        assert own is current()
    assert 0 == activation.attached


def test_one_event_follows_another_without_a_leave() -> None:
    """The base stays the app's."""
    activation = Activation(object())
    for _ in range(3):
        event = span()
        activation.enter(event)
        assert event is current()
    activation.leave()
    assert 0 == activation.attached


def test_leaving_twice_changes_nothing() -> None:
    """Nor does leaving what was never entered."""
    activation = Activation(object())
    activation.leave()
    activation.enter(span())
    activation.leave()
    activation.leave()
    assert 0 == activation.attached


def test_a_span_the_app_opened_stays_current_over_events() -> None:
    """Until the app ends it; then the next receive puts the base back."""
    activation = Activation(object())
    event = span()
    activation.enter(event)
    with TRACER.start_as_current_span("turn") as turn:
        assert event.get_span_context() == turn.parent  # type: ignore[attr-defined]
        activation.leave()
        assert turn is current()
        activation.enter(span("next"))
        assert turn is current()
    assert event is current()
    activation.leave()
    assert 0 == activation.attached


def test_a_span_that_ended_while_it_is_attached_does_not_stay() -> None:
    """An app that ends it by hand and detaches never."""
    activation = Activation(object())
    activation.enter(span())
    forgotten = span("forgotten")
    otel_context.attach(trace.set_span_in_context(forgotten))
    forgotten.end()
    activation.leave()
    assert trace.INVALID_SPAN is current()


def test_baggage_that_the_app_attached_survives() -> None:
    """Only our keys are taken out."""
    activation = Activation(object())
    activation.enter(span())
    token = otel_context.attach(baggage.set_baggage("who", "caller"))
    activation.leave()
    assert "caller" == baggage.get_baggage("who")
    assert trace.INVALID_SPAN is current()
    assert otel_context.get_value(CONVERSATION_KEY) is None
    otel_context.detach(token)
    assert activation.attached  # a look is due: the detach brought our context back
    activation.leave()
    assert 0 == activation.attached


def test_a_conversation_that_was_current_before_comes_back() -> None:
    """An announced conversation stands below its own events."""
    owner, announced = object(), span("announced")
    activation = Activation(owner)
    token = otel_context.attach(child_context(announced, owner))
    activation.enter(span())
    otel_context.attach(baggage.set_baggage("a", "b"))
    activation.leave()
    assert announced is current()
    assert owner is otel_context.get_value(CONVERSATION_KEY)
    otel_context.detach(token)


def test_another_task_keeps_what_it_inherited() -> None:
    """Its context cannot be changed from here, and it leaves ours alone."""

    async def handler(expected: Span, release: asyncio.Event) -> None:
        assert expected is current()
        await release.wait()
        assert expected is current()

    async def main() -> None:
        activation, event, release = Activation(object()), span(), asyncio.Event()
        activation.enter(event)
        task = asyncio.create_task(handler(event, release))
        await asyncio.sleep(0)
        activation.leave()
        assert trace.INVALID_SPAN is current()
        release.set()
        await task

    asyncio.run(main())


def test_two_conversations_of_one_task_leave_in_any_order() -> None:
    """Whoever leaves last puts the app's context back."""
    for first in (0, 1):
        pair = Activation(object()), Activation(object())
        events = span("one"), span("two")
        for activation, event in zip(pair, events, strict=True):
            activation.enter(event)
        assert events[1] is current()
        pair[first].leave()
        assert events[1 - first] is current()
        pair[1 - first].leave()
        assert {} == dict(otel_context.get_current())


@bounded
@given(st.lists(st.tuples(st.sampled_from(["event", "receive"]), st.integers(0, 2)), max_size=12))
def test_conversations_of_one_task_leave_nothing(steps: list[tuple[str, int]]) -> None:
    """Whichever has an event, or asks for its next one, and in whatever order they close."""
    several = [Activation(object()) for _ in range(3)]
    for step, number in steps:
        if step == "event":  # also one that comes although nobody asked for it
            event = span()
            several[number].enter(event)
            assert event is current()
        else:
            several[number].leave()
    for activation in several:
        activation.leave()
    assert {} == dict(otel_context.get_current())


def test_a_tool_that_ended_gives_way_to_its_event() -> None:
    """The result was sent; what follows belongs to the event again."""
    activation, event, tool = Activation(object()), span(), span("tool")
    activation.enter(tool)
    activation.step_out(event)
    assert tool is current()
    tool.end()
    activation.step_out(event)
    assert event is current()
    event.end()
    activation.step_out(None)
    assert {} == dict(otel_context.get_current())


STEPS = st.lists(st.sampled_from(["event", "receive", "open", "baggage", "close"]), max_size=25)


@bounded
@given(STEPS)
def test_in_the_end_the_apps_own_context_is_back(steps: list[str]) -> None:
    """Whatever the app attached and detached between events, in the nesting of its blocks."""
    token = otel_context.attach(Context())
    activation = Activation(object())
    blocks: list[tuple[object, Span | None]] = []
    event: Span | None = None

    def receive() -> None:
        if event is not None:
            event.end()
        if activation.attached:  # as the live conversation asks
            activation.leave()

    def close() -> None:
        found, own = blocks.pop()
        if own is not None:
            own.end()
        otel_context.detach(found)  # type: ignore[arg-type]

    for index, step in enumerate(steps):
        if step == "event":
            receive()
            event = span()
            activation.enter(event)
            assert current() in (event, *(own for _, own in blocks))
        elif step == "receive":
            receive()
        elif step == "open":
            own = TRACER.start_span(f"own {index}")
            blocks.append((otel_context.attach(trace.set_span_in_context(own)), own))
        elif step == "baggage":
            blocks.append((otel_context.attach(baggage.set_baggage(str(index), "x")), None))
        elif blocks:
            close()
    while blocks:
        close()
    receive()
    assert {} == dict(otel_context.get_current())
    otel_context.detach(token)
