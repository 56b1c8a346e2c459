"""The public face: no fault of anybody's telemetry reaches the app, and the whole face is always there."""

from __future__ import annotations

import contextvars
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

import otel_realtime
from otel_realtime import Conversation, diagnostics
from otel_realtime.conversation.null import NullConversation
from otel_realtime.tracing.members import TABLE
from tests.support.handmade_call import MESSAGES
from tests.support.traces import Traces, facts

#: The promise: these names and no others.
NAMES = {
    "add_tags",
    "attach",
    "close",
    "langsmith_run_id",
    "langsmith_url",
    "pause_recording",
    "played",
    "received",
    "record_agent_audio",
    "record_user_audio",
    "redact_audio",
    "sent",
    "set_metadata",
    "thread_id",
    "tool",
    "trace_id",
}


@pytest.fixture
def _in_production(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Faults are counted, not raised; the test provokes them."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    yield
    diagnostics.REGISTER.clear()
    TABLE.reset_after_fork()  # a processor that fails before ours hides the ends of spans from it


class Unspeakable:
    """An argument whose every method fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Any:
        raise RuntimeError("no members")

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __hash__(self) -> int:
        return 1


BAD: Any = Unspeakable()


class BadSampler(Sampler):
    """Raises for every span."""

    def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
        raise RuntimeError("sampler")

    def get_description(self) -> str:
        return "BadSampler"


class LateSampler(BadSampler):
    """Raises for every span but the root."""

    def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
        name = given[2] if len(given) > 2 else named["name"]
        if name == "realtime_session":
            return SamplingResult(Decision.RECORD_AND_SAMPLE)
        raise RuntimeError("sampler")


class BadProcessor(SpanProcessor):
    """Raises at one end of every span."""

    def __init__(self, where: str) -> None:
        self._where = where

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self._where == "start":
            raise RuntimeError("on_start")

    def on_end(self, span: Any) -> None:
        if self._where == "end":
            raise RuntimeError("on_end")


def every_call(call: Conversation) -> None:
    """Use the whole face once, with good arguments."""
    for direction, message in MESSAGES:
        (call.received if direction == "r" else call.sent)(message)
    with call.tool("call_1"), call.pause_recording():
        pass
    call.record_agent_audio(b"\0\0", item_id="item_2", rate=24_000)
    call.record_user_audio(b"\0\0")
    call.played("item_2", 0, 10.0)
    call.redact_audio(0, 10)
    call.set_metadata(a=1)
    call.add_tags("b")
    call.attach(object())
    assert (str, str, str) == tuple(
        type(value) for value in (call.thread_id, call.trace_id, call.langsmith_run_id)
    )
    _ = call.langsmith_url
    call.close()


def test_these_names_and_no_others() -> None:
    """A name is a promise."""
    public = {name for name in dir(Conversation) if not name.startswith("_")}
    assert NAMES == public - {"of"}


def test_the_null_conversation_has_the_whole_face() -> None:
    """Every public name is its own, with the same signature, and does nothing."""
    own = vars(NullConversation)
    assert {"record_agent_audio", "record_user_audio"} == {n for n in NAMES if n not in own}
    for name in NAMES & own.keys():
        theirs, ours = getattr(Conversation, name), own[name]
        if not isinstance(ours, property):
            assert inspect.signature(theirs) == inspect.signature(ours), name
    every_call(NullConversation())


@pytest.mark.usefixtures("_in_production")
@pytest.mark.parametrize(
    "provider",
    [
        lambda: TracerProvider(sampler=BadSampler(), shutdown_on_exit=False),
        lambda: TracerProvider(sampler=LateSampler(), shutdown_on_exit=False),
        lambda: _with(BadProcessor("start")),
        lambda: _with(BadProcessor("end")),
        object,
    ],
    ids=["sampler", "sampler below the root", "on_start", "on_end", "no provider at all"],
)
def test_a_broken_set_up_costs_telemetry_only(provider: Callable[[], Any]) -> None:
    """A sampler, a processor or a provider that fails: the block runs, on a face that works."""
    with otel_realtime.conversation(tracer_provider=provider()) as call:
        every_call(call)


def _with(processor: SpanProcessor) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made


@pytest.mark.usefixtures("_in_production")
@pytest.mark.parametrize(
    "arguments",
    [
        {"thread_id": BAD},
        {"metadata": {"good": 1, "bad": BAD}},
        {"metadata": {BAD: 1, "good": 1}},
        {"metadata": BAD},
        {"tags": BAD},
        {"tags": ["good", BAD]},
        {"connection": BAD},
    ],
    ids=[
        "thread_id", "a value", "a key", "metadata", "tags", "a tag", "connection",
    ],
)  # fmt: skip
def test_a_bad_argument_costs_that_argument(traces: Traces, arguments: dict[str, Any]) -> None:
    """The conversation opens all the same, with the rest of what was said."""
    with otel_realtime.conversation(tracer_provider=traces.provider, **arguments) as call:
        call.received({"type": "session.created", "session": {}})
    root = facts(traces.root)
    assert call.trace_id == f"{traces.root.context.trace_id:032x}"
    if isinstance(arguments.get("metadata"), dict):
        assert 1 == root["otel_realtime.metadata.good"]
    if isinstance(arguments.get("tags"), list):
        assert "good" in root["langsmith.span.tags"]


@pytest.mark.usefixtures("_in_production")
@pytest.mark.parametrize(
    "act",
    [
        lambda call: call.received(BAD),
        lambda call: call.sent(BAD, at_ns=BAD),
        lambda call: call.record_agent_audio(BAD),
        lambda call: call.record_user_audio(BAD, rate=BAD),
        lambda call: call.played(BAD, BAD, BAD),
        lambda call: call.set_metadata(bad=BAD, good=1),
        lambda call: call.add_tags(BAD, "good"),
        lambda call: call.attach(BAD),
        lambda call: call.close(BAD),
        lambda call: call.tool(BAD, name=BAD, arguments=BAD).__enter__(),
        lambda call: call.redact_audio(BAD, BAD, side=BAD, how=BAD),
    ],
    ids=[
        "received", "sent", "record_agent_audio", "record_user_audio", "played", "set_metadata",
        "add_tags", "attach", "close", "tool", "redact_audio",
    ],
)  # fmt: skip
def test_a_call_with_bad_arguments_never_raises(
    traces: Traces, act: Callable[[Conversation], object]
) -> None:
    """Whatever an argument's own methods do."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received({"type": "session.created", "session": {}})
        act(call)
    assert traces.root.end_time is not None


@pytest.mark.usefixtures("_in_production")
def test_the_apps_exception_passes_through(traces: Traces) -> None:
    """Out of the block of a conversation, a tool and a pause, whatever telemetry does."""
    error = ValueError("the app's")

    def app(provider: TracerProvider) -> None:
        with otel_realtime.conversation(tracer_provider=provider) as call:
            with call.pause_recording(), call.tool(name="t"):
                raise error

    for provider in (traces.provider, TracerProvider(sampler=BadSampler())):
        with pytest.raises(ValueError, match="the app's") as seen:
            app(provider)
        assert error is seen.value


def test_a_tools_block_may_be_left_in_another_context(traces: Traces) -> None:
    """As frameworks do that run the two halves of a generator in two tasks: its span ends there."""

    def tool(call: Conversation) -> Iterator[None]:
        with call.tool(name="look_up"):
            yield

    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        halves = tool(call)
        contextvars.copy_context().run(next, halves)
        contextvars.copy_context().run(next, halves, None)
        assert ["execute_tool look_up"] == [span.name for span in traces.spans]


@pytest.mark.usefixtures("_in_production")
@pytest.mark.parametrize("name", ["time_ns", "monotonic_ns", "monotonic", "time", "perf_counter"])
def test_a_conversation_ends_whatever_the_apps_test_did_to_the_clocks(
    traces: Traces, name: str
) -> None:
    """Also if that raises."""
    with pytest.MonkeyPatch.context() as patch:
        with otel_realtime.conversation(tracer_provider=traces.provider):
            patch.setattr(time, name, lambda: next(iter(())))
    assert traces.root.end_time is not None


def test_a_closed_conversation_takes_every_call(traces: Traces) -> None:
    """And nothing of it reaches a span."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        pass
    before = len(traces.spans)
    every_call(call)
    assert before == len(traces.spans)


def test_metadata_after_the_end_is_refused(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, in our own words; the root stays as it ended."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        pass
    ended = facts(traces.root)
    with caplog.at_level(logging.WARNING):
        call.set_metadata(plan="gold")
        call.add_tags("late")
    (message,) = caplog.messages
    assert "conversation that has ended" in message
    assert ended == facts(traces.root)


def test_what_holds_for_the_process_is_refused(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names the fields, however many conversations give them."""
    settings = otel_realtime.Settings(exit_timeout_s=1, state_max_mb=7)
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        for _ in range(3):
            with otel_realtime.conversation(tracer_provider=traces.provider, settings=settings):
                pass
    (message,) = [text for text in caplog.messages if "whole process" in text]
    assert "state_max_mb, exit_timeout_s" in message


def test_one_face_per_conversation(traces: Traces) -> None:
    """``current_conversation()`` is the object that the block got."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        assert otel_realtime.current_conversation() is call
    assert otel_realtime.current_conversation() is None
