"""``conversation(...)``: a block that is one conversation."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from typing import Any

import pytest
from openai import AsyncOpenAI
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime import (
    Settings,
    conversation,
    current_conversation,
    diagnostics,
    instrument,
    using,
)
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from tests.support import talking
from tests.support.provoked import provoked
from tests.support.talking import SPEED, client_of
from tests.support.traces import Traces, facts

TEXT = talking.scenario(Answer(text="Hello you."), answer_delay_ms=0)
HELLO = {"type": "session.created", "session": {"id": "sess_1"}}


def test_a_block_is_one_conversation(traces: Traces) -> None:
    """Known on its first line, over with it; what it was given stands on its root."""
    with conversation(
        thread_id="t", metadata={"a": 1}, tags=["x"], tracer_provider=traces.provider
    ) as call:
        assert ("t", call) == (call.thread_id, current_conversation())
        call.received(HELLO)
        assert [] == traces.roots
    assert current_conversation() is None
    found = facts(traces.root)
    assert ("t", 1, "x") == tuple(
        found[name]
        for name in (
            "gen_ai.conversation.id",
            "otel_realtime.metadata.a",
            "langsmith.span.tags",
        )
    )


def test_a_block_may_be_asynchronous(traces: Traces) -> None:
    """Tasks that are started in it belong to it."""

    async def app() -> bool:
        async with conversation(tracer_provider=traces.provider) as call:
            same = await asyncio.create_task(_current())
            return same is call

    assert asyncio.run(app())
    assert 1 == len(traces.roots)


async def _current() -> Any:
    return current_conversation()


def test_blocks_around_it_add_to_it(traces: Traces) -> None:
    """What it says itself wins."""
    with using(thread_id="outer", metadata={"a": 1, "b": 2}, tags=["x"]):
        with conversation(metadata={"b": 3}, tags=["y"], tracer_provider=traces.provider) as call:
            pass
    found = facts(traces.root)
    assert ("outer", 1, 3, "x,y") == (
        call.thread_id,
        found["otel_realtime.metadata.a"],
        found["otel_realtime.metadata.b"],
        found["langsmith.span.tags"],
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), StatusCode.ERROR),
        (KeyboardInterrupt(), StatusCode.UNSET),
        (asyncio.CancelledError(), StatusCode.UNSET),
    ],
)
def test_what_the_block_raises_passes_through(
    traces: Traces, error: BaseException, status: StatusCode
) -> None:
    """And marks the root if it is an error."""
    with pytest.raises(type(error)) as seen, conversation(tracer_provider=traces.provider):
        raise error
    assert error is seen.value
    assert status is traces.root.status.status_code


def test_a_block_in_a_block_is_another_conversation(traces: Traces) -> None:
    """After the inner one the outer one is current again."""
    with conversation(tracer_provider=traces.provider) as outer:
        with conversation(tracer_provider=traces.provider) as inner:
            assert inner is current_conversation()
        assert outer is current_conversation()
    assert 2 == len(traces.roots)


def test_a_block_may_be_left_in_another_context(traces: Traces) -> None:
    """A web framework may run the two halves of a generator in two threads."""
    block = conversation(tracer_provider=traces.provider)
    contextvars.copy_context().run(block.__enter__)
    contextvars.copy_context().run(block.__exit__, None, None, None)
    assert 1 == len(traces.roots)


def test_a_block_whose_modules_cannot_be_imported_does_nothing(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where NumPy is not installed as it should be: the app's block runs all the same."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    monkeypatch.setitem(sys.modules, "otel_realtime.conversation.announced", None)
    with conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
    assert [] == traces.spans
    provoked("conversation: ModuleNotFoundError")


def test_a_block_that_is_suppressed_traces_nothing(traces: Traces) -> None:
    """The app sees a conversation all the same."""
    with (
        suppress_instrumentation(),
        conversation(thread_id="t", tracer_provider=traces.provider) as call,
    ):
        call.received(HELLO)
    assert ("t", []) == (call.thread_id, traces.spans)


# -- on a connection -------------------------------------------------------------------------------


async def _answered(rt: Any) -> None:
    """Ask for an answer and wait for it."""
    await rt.response.create(response={"output_modalities": ["text"]})
    async for event in rt:
        if event.type == "response.done":
            return


def test_a_connection_is_traced_by_its_block(traces: Traces) -> None:
    """Without ``instrument``; a second block on it is a second conversation."""

    async def app(client: AsyncOpenAI) -> None:
        async with client, client.realtime.connect(model="gpt-realtime") as rt:
            for thread in ("first", "second"):
                async with conversation(
                    rt, thread_id=thread, tracer_provider=traces.provider
                ) as call:
                    await _answered(rt)
                    assert call is current_conversation()

    with ScriptedServer(TEXT, speed=SPEED) as server:
        asyncio.run(app(client_of(server.url)))
    threads = [facts(root)["gen_ai.conversation.id"] for root in traces.roots]
    assert (["first", "second"], 2) == (threads, len(traces.named("response.done")))


def test_a_connection_that_is_open_already_is_joined(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """What can still be said of it applies; what cannot is named, once."""
    instrument(tracer_provider=traces.provider)

    async def app(client: AsyncOpenAI) -> None:
        async with client, client.realtime.connect(model="gpt-realtime") as rt:
            await rt.recv()
            known = current_conversation()
            async with conversation(
                rt,
                thread_id="late",
                metadata={"a": 1},
                tags=["x"],
                settings=Settings(capture_content=False),
            ) as call:
                assert known is call
                await _answered(rt)

    with ScriptedServer(TEXT, speed=SPEED) as server, caplog.at_level(logging.WARNING):
        asyncio.run(app(client_of(server.url)))
    found = facts(traces.root)
    assert (1, "x", False) == (
        found["otel_realtime.metadata.a"],
        found["langsmith.span.tags"],
        "gen_ai.conversation.id" in found,
    )
    assert "Hello you." not in str(found["gen_ai.completion"])
    (message,) = [text for text in caplog.messages if "already open" in text]
    assert "thread_id, settings" in message


def test_what_cannot_be_instrumented_is_told_by_hand(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """The block gets a conversation that takes its frames."""
    with conversation(object(), tracer_provider=traces.provider) as call:
        call.received(HELLO)
    assert 1 == len(traces.named("session.created"))
    assert 1 == len([text for text in caplog.messages if "cannot instrument object" in text])
    assert otel_realtime.flush(5)
