"""What is current while the app handles an event, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace

import otel_realtime
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.settings import Settings
from tests.support import talking
from tests.support.talking import SPEED, client_of, sync_client_of, text_item
from tests.support.traces import Traces, outline, parent_name

Talk = Callable[[Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test here may make OpenTelemetry or us complain, about detached contexts above all."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [] == [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith(("opentelemetry", "otel_realtime"))
    ]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers in text."""
    script = talking.scenario(Answer(text="Hello you."), answer_delay_ms=0, rate_limits=False)
    with ScriptedServer(script, speed=SPEED) as running:
        yield running


def run(server: ScriptedServer, traces: Traces, talk: Talk, **given: Any) -> None:
    """Open a text conversation, ask, and let ``talk`` receive."""

    async def main() -> None:
        async with client_of(server.url) as client, client.realtime.connect(model="m") as rt:
            await rt.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await rt.conversation.item.create(item=text_item("Hello?"))
            await rt.response.create()
            await talk(rt)
        assert_nothing_current()

    otel_realtime.instrument(tracer_provider=traces.provider, **given)
    asyncio.run(main())


def current() -> trace.Span:
    """The current span."""
    return trace.get_current_span()


def name_of(span: trace.Span) -> str:
    """The name of a span; nothing for none."""
    return str(getattr(span, "name", ""))


def assert_nothing_current() -> None:
    """The task's context is as if nothing had been traced."""
    assert current() is trace.INVALID_SPAN
    assert {} == {k: v for k, v in context.get_current().items() if v is not trace.INVALID_SPAN}


def test_a_handlers_spans_nest(server: ScriptedServer, traces: Traces) -> None:
    """A span that the app makes while it handles an event hangs under that event's span."""

    async def talk(rt: Any) -> None:
        async for event in rt:
            assert event.type == name_of(current()) or event.type.endswith(".delta")
            if event.type in ("response.created", "response.done"):
                with traces.tracer.start_as_current_span(f"on {event.type}"):
                    await asyncio.sleep(0)
                    with traces.tracer.start_as_current_span("inside"):
                        pass
            if event.type == "response.done":
                return

    run(server, traces, talk)
    below = [line for line in outline(traces.spans) if line.startswith("    ")]
    assert [
        "    on response.created",
        "      inside",
        "    on response.done",
        "      inside",
    ] == below


def test_an_event_lasts_until_the_next_receive(server: ScriptedServer, traces: Traces) -> None:
    """The event's span covers what the app does about it, and has ended when the next one comes."""

    async def talk(rt: Any) -> None:
        previous = None
        async for event in rt:
            assert previous is None or not previous.is_recording()
            if not event.type.endswith(".delta"):
                previous = current()
            if event.type == "response.created":
                await asyncio.sleep(0.03)
            if event.type == "response.done":
                return

    run(server, traces, talk)
    span = traces.one("response.created")
    assert 30_000_000 <= (span.end_time or 0) - (span.start_time or 0)


def test_nothing_is_current_between_events(server: ScriptedServer, traces: Traces) -> None:
    """While the app waits, and while it handles a delta, the context is its own."""

    async def talk(rt: Any) -> None:
        async for event in rt:
            if event.type.endswith(".delta"):
                assert_nothing_current()
            if event.type == "response.done":
                return

    run(server, traces, talk)


def test_the_apps_own_context_stays(server: ScriptedServer, traces: Traces) -> None:
    """The span and the baggage around the call are back whenever none of our spans is current."""

    async def talk(rt: Any) -> None:
        token = context.attach(baggage.set_baggage("tenant", "7"))
        with traces.tracer.start_as_current_span("request") as request:
            async for event in rt:
                assert "7" == baggage.get_baggage("tenant")
                if event.type.endswith(".delta"):
                    assert current() is request
                if event.type == "response.done":
                    break
            await rt.close()
            assert current() is request
        context.detach(token)

    run(server, traces, talk)
    assert parent_name(traces.one("request"), traces.spans) is None


def test_baggage_set_in_a_handler_stays(server: ScriptedServer, traces: Traces) -> None:
    """What a handler attaches survives the next receive; only our own keys are taken out."""

    async def talk(rt: Any) -> None:
        async for event in rt:
            if event.type == "session.created":
                context.attach(baggage.set_baggage("tenant", "8"))
            else:
                assert "8" == baggage.get_baggage("tenant")
            if event.type == "response.done":
                break
        await rt.close()
        assert ("8", trace.INVALID_SPAN) == (baggage.get_baggage("tenant"), current())
        context.attach(context.Context())

    run(server, traces, talk)


def test_a_span_kept_open_over_events_keeps_its_children(
    server: ScriptedServer, traces: Traces
) -> None:
    """A span that the app opened in one handler and ends in a later one stays current meanwhile."""

    async def talk(rt: Any) -> None:
        kept: Any = None
        async for event in rt:
            if event.type == "response.created":
                kept = traces.tracer.start_as_current_span("answering")
                kept.__enter__()
            elif kept is not None:
                assert "answering" == name_of(current())
            if event.type == "response.content_part.done":
                with traces.tracer.start_as_current_span("child"):
                    pass
                kept.__exit__(None, None, None)
                kept = None
            if event.type == "response.done":
                assert "response.done" == name_of(current())
                return

    run(server, traces, talk)
    kept = traces.one("answering")
    assert ("response.created", "answering") == (
        parent_name(kept, traces.spans),
        parent_name(traces.one("child"), traces.spans),
    )


def test_break_out_of_the_loop(server: ScriptedServer, traces: Traces) -> None:
    """An app that leaves its loop in a handler and closes has its own context back."""

    async def talk(rt: Any) -> None:
        async for event in rt:
            if event.type == "session.updated":
                break
        assert "session.updated" == name_of(current())
        await rt.close()
        assert_nothing_current()

    run(server, traces, talk)
    assert ["realtime_session", "  session.created", "  session.updated"] == outline(traces.spans)


def test_an_exception_out_of_the_loop(server: ScriptedServer, traces: Traces) -> None:
    """The app's exception ends the call, passes through, and is the root's error."""

    async def talk(rt: Any) -> None:
        async for _ in rt:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(server, traces, talk)
    assert "mine" == traces.root.status.description


def test_cancelled(server: ScriptedServer, traces: Traces) -> None:
    """A cancelled app is no error, and what was received until then is traced."""

    async def talk(rt: Any) -> None:
        async def receive() -> None:
            async for event in rt:
                if event.type == "response.done":
                    done.set()

        done = asyncio.Event()
        task = asyncio.create_task(receive())
        await done.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(server, traces, talk)
    assert traces.root.status.is_unset
    assert "  response.done" == outline(traces.spans)[-1]


@pytest.mark.parametrize("bare", [True, False])
def test_wait_for_recv(bare: bool, server: ScriptedServer, traces: Traces) -> None:
    """``wait_for(recv())``, timeouts included, loses no event and leaves no context.

    On 3.10 and 3.11 ``wait_for`` receives in a task of its own: nothing nests there.
    """

    async def talk(rt: Any) -> None:
        source = rt._connection if bare else rt
        for timeouts in range(100):
            try:
                await asyncio.wait_for(source.recv(), 0.1)
            except asyncio.TimeoutError:
                assert timeouts
                break
            if sys.version_info < (3, 12):
                assert_nothing_current()
        assert_nothing_current()

    run(server, traces, talk)
    assert ("  session.created", "  response.done") == (
        outline(traces.spans)[1],
        outline(traces.spans)[-1],
    )


def test_the_receiving_task_changes(server: ScriptedServer, traces: Traces) -> None:
    """One task receives after the other; each one that receives again or closes is left clean."""

    async def talk(rt: Any) -> None:
        await rt.recv()

        async def other() -> None:
            async for event in rt:
                if event.type == "response.created":
                    with traces.tracer.start_as_current_span("in the task"):
                        pass
                if event.type == "response.content_part.added":
                    break

        await asyncio.create_task(other())
        async for event in rt:
            if event.type == "response.done":
                break

    run(server, traces, talk)
    assert "response.created" == parent_name(traces.one("in the task"), traces.spans)


def test_closed_in_another_task(server: ScriptedServer, traces: Traces) -> None:
    """The task that receives is left clean when another one closes the connection."""

    async def talk(rt: Any) -> None:
        async def receive() -> None:
            async for _ in rt:
                pass
            assert_nothing_current()

        receiver = asyncio.create_task(receive())
        while not traces.named("response.done"):  # noqa: ASYNC110 - the spans say nothing to a loop
            await asyncio.sleep(0.005)
        await rt.close()
        await receiver

    run(server, traces, talk)


def test_a_task_started_in_a_handler(server: ScriptedServer, traces: Traces) -> None:
    """Work that a handler starts in the background belongs to the event, also after it."""

    async def talk(rt: Any) -> None:
        async def work() -> None:
            await finished.wait()
            with traces.tracer.start_as_current_span("work"):
                pass

        finished, task = asyncio.Event(), None
        async for event in rt:
            if event.type == "response.created":
                task = asyncio.create_task(work())
            if event.type == "response.done":
                finished.set()
                assert task is not None
                await task
                return

    run(server, traces, talk)
    assert "response.created" == parent_name(traces.one("work"), traces.spans)


def test_events_need_not_be_current(server: ScriptedServer, traces: Traces) -> None:
    """``Settings.activate_spans = False``: the app's spans stay in the app's own traces."""

    async def talk(rt: Any) -> None:
        async for event in rt:
            assert_nothing_current()
            if event.type == "response.done":
                with traces.tracer.start_as_current_span("mine"):
                    return

    run(server, traces, talk, settings=Settings(activate_spans=False))
    assert traces.one("mine").parent is None


def test_two_conversations_in_one_task(server: ScriptedServer, traces: Traces) -> None:
    """An app that reads two connections in turn never sees the one's span in the other's handler."""

    async def main() -> None:
        async with client_of(server.url) as client:
            async with client.realtime.connect(model="m") as one:
                async with client.realtime.connect(model="m") as two:
                    for rt in (one, two, two, one):
                        await rt.session.update(session={"type": "realtime"})
                        await rt.recv()
                        with traces.tracer.start_as_current_span("handling"):
                            pass
        assert_nothing_current()

    otel_realtime.instrument(tracer_provider=traces.provider)
    asyncio.run(main())
    shape = [
        "realtime_session",
        "  session.created",
        "    handling",
        "  session.updated",
        "    handling",
    ]
    for root in traces.roots:
        assert root.context is not None
        assert shape == outline(traces.of(f"{root.context.trace_id:032x}"))


def test_handlers_of_a_blocking_app(server: ScriptedServer, traces: Traces) -> None:
    """The same with the synchronous client, in its thread."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with sync_client_of(server.url) as client, client.realtime.connect(model="m") as rt:
        for event in rt:
            with traces.tracer.start_as_current_span(f"on {event.type}"):
                pass
            if event.type == "session.created":
                rt.session.update(session={"type": "realtime"})
            else:
                break
    assert_nothing_current()
    assert [
        "realtime_session",
        "  session.created",
        "    on session.created",
        "  session.updated",
        "    on session.updated",
    ] == outline(traces.spans)
