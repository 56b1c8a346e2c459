"""Which conversation code belongs to that runs in a task or a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

import otel_realtime
from otel_realtime import Conversation, current_conversation, using
from otel_realtime.process import process
from tests.support.traces import Traces
from tests.support.waiting import wait_for

T = TypeVar("T")
CREATED = {"type": "session.created", "session": {"id": "s1", "model": "m"}}


def opened(traces: Traces) -> Conversation:
    """A conversation that nobody announced in this task: as a framework's tap opens it."""

    def begin() -> Conversation:
        return otel_realtime.conversation(tracer_provider=traces.provider).__enter__()

    return contextvars.copy_context().run(begin)


def in_a_thread(run: Callable[[], T]) -> T:
    """What it returns in a thread that inherits nothing."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(contextvars.Context().run(run)))
    thread.start()
    thread.join()
    return found[0]


def test_the_only_one_of_the_block(traces: Traces) -> None:
    """However many there are outside of it."""
    outside = opened(traces)
    with using(thread_id="t"):
        assert current_conversation() is None, "it has none yet, and is not given another's"
        inside = opened(traces)
        assert inside is current_conversation()
        inside.close()
        assert current_conversation() is None
    outside.close()


def test_two_of_a_block_are_none(traces: Traces) -> None:
    """Until one of them has ended."""
    with using():
        first, second = opened(traces), opened(traces)
        assert current_conversation() is None
        first.close()
        assert second is current_conversation()
        second.close()


def test_an_inner_block_without_one_is_the_outer_ones(traces: Traces) -> None:
    """And what was opened in the inner one was opened in the outer one, too."""
    with using(thread_id="t"):
        call = opened(traces)
        with using(tags=["x"]):
            assert call is current_conversation()
        call.close()
        with using(tags=["y"]):
            call = opened(traces)
        assert call is current_conversation()
        call.close()


def test_a_worker_that_the_block_started(traces: Traces) -> None:
    """Before the conversation was opened, or after: a task is inside the block for good."""

    async def work(events: asyncio.Queue[str]) -> Conversation | None:
        await events.get()
        return current_conversation()

    async def call(thread_id: str) -> bool:
        events: asyncio.Queue[str] = asyncio.Queue()
        with using(thread_id=thread_id):
            worker = asyncio.create_task(work(events))
            await asyncio.sleep(0)
            inside = opened(traces)
            later = asyncio.create_task(work(events))
        await asyncio.sleep(0.01)
        for _ in range(2):
            events.put_nowait("response.done")
        found = [await worker, await later, await asyncio.to_thread(current_conversation)]
        await asyncio.sleep(0.01)
        inside.close()
        return [inside, inside, None] == found

    async def both() -> list[bool]:
        return await asyncio.gather(call("a"), call("b"))

    assert [True, True] == asyncio.run(both())


def test_a_thread_that_a_task_of_the_block_hands_its_work_to(traces: Traces) -> None:
    """``asyncio.to_thread`` takes the block along."""

    async def call() -> bool:
        with using():
            inside = opened(traces)
            await asyncio.sleep(0.01)
            found = await asyncio.to_thread(current_conversation)
            inside.close()
            return found is inside

    async def both() -> list[bool]:
        return await asyncio.gather(call(), call())

    assert [True, True] == asyncio.run(both())


def test_a_plain_thread_belongs_to_the_only_one_there_is(traces: Traces) -> None:
    """It inherits nothing: with two it cannot be told."""
    first = opened(traces)
    assert first is in_a_thread(current_conversation)
    second = opened(traces)
    assert in_a_thread(current_conversation) is None
    first.close()
    assert second is in_a_thread(current_conversation)
    second.close()
    assert in_a_thread(current_conversation) is None


def test_a_plain_thread_that_was_given_the_current_span(traces: Traces) -> None:
    """As OpenTelemetry's instrumentation of threads does: it belongs to that conversation."""
    first, second = opened(traces), opened(traces)

    def handle(call: Conversation) -> otel_context.Context:
        with call.tool(name="look up"):
            return otel_context.get_current()

    def work(brought: otel_context.Context) -> Conversation | None:
        otel_context.attach(brought)
        return current_conversation()

    for call in (first, second):
        brought = handle(call)
        assert call is in_a_thread(lambda brought=brought: work(brought))  # type: ignore[misc]
    with using():  # a block that has none of its own
        assert second is work(brought)
        otel_context.attach(otel_context.Context())
    first.close()
    second.close()
    assert in_a_thread(lambda: work(brought)) is None, "its own has ended"


def test_what_a_task_receives_is_its_own(traces: Traces) -> None:
    """Also inside a block that has another one; not so if the block is the later of the two."""
    with using():
        other = opened(traces)
        with otel_realtime.conversation(tracer_provider=traces.provider) as own:
            assert own is current_conversation()
            with using():
                assert own is current_conversation()
                later = opened(traces)
                assert later is current_conversation()
                later.close()
        own.received(CREATED)
        assert other is current_conversation()
        other.close()


def test_a_task_whose_own_has_ended(traces: Traces) -> None:
    """It is not given one that was open beside it, but the next one."""
    other = opened(traces)
    call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
    call.received(CREATED)
    call.close()
    assert current_conversation() is None
    other.close()
    following = opened(traces)
    assert following is current_conversation()
    following.close()


def test_a_task_of_a_server_inside_one_block(traces: Traces) -> None:
    """Late work of a call that has ended is not given the call beside it, as little as without a block."""
    with using(metadata={"service": "desk"}):
        other = opened(traces)
        with otel_realtime.conversation(tracer_provider=traces.provider) as call:
            call.received(CREATED)
            assert call is current_conversation()
        call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
        call.close()
        assert current_conversation() is None
        with using():
            inside = opened(traces)
            assert inside is current_conversation()
            inside.close()
        other.close()
        following = opened(traces)
        assert following is current_conversation()
        following.close()


def test_a_conversation_that_is_gone_is_remembered(traces: Traces) -> None:
    """Its end is known to its tasks when nothing else of it is left."""
    other = opened(traces)
    call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
    kept = weakref.ref(call._engine)
    call.close()
    del call
    opened(traces).close()  # a thread that finished the one before holds it until the next
    assert otel_realtime.flush(5)
    wait_for(lambda: gc.collect() is not None and kept() is None, "end of its engine")
    assert current_conversation() is None
    other.close()


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.CONSUMER])
def test_another_request_is_not_the_call(traces: Traces, kind: SpanKind) -> None:
    """Though it is the only one; the request that opened it is."""
    with traces.tracer.start_as_current_span("GET /call", kind=kind) as span:
        call = opened(traces)
        assert call is current_conversation()
    with traces.tracer.start_as_current_span("GET /order", kind=kind):
        assert current_conversation() is None
    with trace.use_span(span):
        assert call is current_conversation()
    with traces.tracer.start_as_current_span("look up"):
        assert call is current_conversation()
    call.close()


def test_one_that_sampling_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comes into question, too, for as long as a call can last."""
    traces, unsampled = Traces(), Traces(ALWAYS_OFF)
    with using():
        opened(unsampled)
        assert current_conversation() is None
        call = opened(traces)
        assert current_conversation() is None
        assert contextvars.Context().run(current_conversation) is None
        monkeypatch.setattr(process, "LONGEST_CALL_S", 0.0)
        assert call is current_conversation()
    assert call is current_conversation()
    call.close()
