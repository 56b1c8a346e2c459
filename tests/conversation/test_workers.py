"""Below which span the work of code belongs that says nothing of its conversation."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind

import otel_realtime
from otel_realtime import Conversation, current_conversation, using
from otel_realtime import attributes as names
from tests.support.traces import Traces, parent_name

ROOT = "realtime_session"


def opened(traces: Traces, *tools: str) -> Conversation:
    """A conversation that nobody announced in this task, whose model waits for tools ``call_0``, ..."""

    def begin() -> Conversation:
        call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
        call.received({"type": "session.created", "session": {"id": "s1", "model": "m"}})
        for number, name in enumerate(tools):
            item = {"id": f"item_{number}", "type": "function_call", "call_id": f"call_{number}"}
            item |= {"name": name, "arguments": "{}"}
            call.received({"type": "response.output_item.done", "response_id": "r", "item": item})
        return call

    return contextvars.copy_context().run(begin)


def work(traces: Traces, name: str = "request", **options: Any) -> None:
    """What the app's own code does where no span is current."""
    token = otel_context.attach(otel_context.Context())
    try:
        traces.tracer.start_span(name, **options).end()
    finally:
        otel_context.detach(token)


def in_a_thread(run: Callable[[], None]) -> None:
    """In a thread that inherits nothing."""
    thread = threading.Thread(target=lambda: contextvars.Context().run(run))
    thread.start()
    thread.join()


def above(traces: Traces, call: Conversation) -> str | None:
    """The name of the span above the work; ``None`` if it is a trace of its own."""
    call.close()
    scopes = [(span.instrumentation_scope, span) for span in traces.spans]
    (own,) = [span for scope, span in scopes if scope is not None and scope.name == "app"]
    return parent_name(own, traces.spans)


def test_inside_a_block(traces: Traces) -> None:
    """Below the tool that its only conversation waits for, whatever there is outside."""
    other = opened(traces, "book")
    with using():
        call = opened(traces, "look_up")
        work(traces)
    assert "execute_tool look_up" == above(traces, call)
    other.close()


def test_while_no_tool_is_waited_for(traces: Traces) -> None:
    """It is no tool's work."""
    with using():
        call = opened(traces)
        work(traces)
    assert above(traces, call) is None


def test_after_the_result(traces: Traces) -> None:
    """The tool has run."""
    with using():
        call = opened(traces, "look_up")
        output = {"type": "function_call_output", "call_id": "call_0", "output": "blue"}
        call.sent({"type": "conversation.item.create", "item": output})
        work(traces)
    assert above(traces, call) is None


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.CONSUMER])
def test_a_request_from_outside(traces: Traces, kind: SpanKind) -> None:
    """It is somebody else's, also where a server was started inside the block."""
    with using():
        call = opened(traces, "look_up")
        work(traces, kind=kind)
    assert above(traces, call) is None


def test_a_context_that_was_chosen(traces: Traces) -> None:
    """An empty one asks for a new trace."""
    with using():
        call = opened(traces, "look_up")
        work(traces, context=otel_context.Context())
    assert above(traces, call) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ROOT),
        ({"name": "book"}, "execute_tool book"),
        ({"name": "execute_tool book"}, "execute_tool book"),
        ({"attributes": {names.TOOL_NAME: "book"}}, "execute_tool book"),
        ({"attributes": {names.TOOL_CALL_ID: "call_0"}}, "execute_tool look_up"),
        ({"attributes": {names.TOOL_CALL_ID: "call_9"}}, ROOT),
    ],
)
def test_one_of_several_tools(traces: Traces, options: dict[str, Any], expected: str) -> None:
    """The one that the span names; else it is below the root."""
    with using():
        call = opened(traces, "look_up", "book")
        work(traces, **options)
    assert expected == above(traces, call)


def test_a_thread_that_asked(traces: Traces) -> None:
    """It works for the only conversation of the process."""
    call = opened(traces, "look_up")

    def run() -> None:
        assert call is current_conversation()
        work(traces)

    in_a_thread(run)
    assert "execute_tool look_up" == above(traces, call)


def test_a_thread_that_asked_for_the_one_before(traces: Traces) -> None:
    """It has not said that it works for this one, too."""
    first = opened(traces)
    later: list[Conversation] = []

    def run() -> None:
        assert first is current_conversation()
        first.close()
        later.append(opened(traces, "look_up"))
        work(traces)

    in_a_thread(run)
    assert above(traces, later[0]) is None


def test_a_thread_that_did_not_ask(traces: Traces) -> None:
    """Any process has threads that work for no call."""
    call = opened(traces, "look_up")
    in_a_thread(lambda: work(traces))
    assert above(traces, call) is None
