"""``wrap_realtime_session``: a session of the Agents SDK under either module."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("agents.realtime")
from langsmith.integrations import openai_realtime as theirs

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime import langsmith_compat as ours
from otel_realtime.conversation.options import Options
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.langsmith_compat import sessions
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from tests.support.provoked import provoked
from tests.support.realtime_server import ReplayServer
from tests.support.talking import SPEED, one_turn
from tests.support.traces import Traces, facts
from tests.support.wrapped import CALL, NoClient
from tests.support.wrapped_session import Seen, agent_app

MODULES = (theirs, ours)


def seen(module: Any, **given: Any) -> Seen:
    """What an app sees with one of the modules."""
    with ScriptedServer(CALL, speed=SPEED) as server:
        return asyncio.run(
            agent_app(module.wrap_realtime_session, server.url, client=NoClient(), **given)
        )


def test_the_app_sees_the_same(sandbox: Sandbox) -> None:
    """Events, the lines of the transcript, and results of its own calls."""
    expected, found = (seen(module, thread_id="t") for module in MODULES)
    assert (expected.lines, expected.returned) == (found.lines, found.returned)
    # The SDK runs the tool in a task: where its events come between the others is nobody's promise.
    assert Counter(expected.events) == Counter(found.events)
    assert ("user", "Is it sunny?") in found.lines


def test_what_the_app_raises_passes_through(sandbox: Sandbox) -> None:
    """The session is left all the same."""
    for module in MODULES:
        with pytest.raises(ValueError, match="the app's own"):
            seen(module, raises=True)
    assert otel_realtime.flush(10)
    assert 1 == len(sandbox.conversations())


def test_the_call_arrives_without_any_set_up(sandbox: Sandbox) -> None:
    """From its first frame on, with the tool's own times; other connections are not looked at."""
    with ScriptedServer(CALL, speed=SPEED) as server:
        asyncio.run(
            agent_app(ours.wrap_realtime_session, server.url, thread_id="t", tags=["phone"])
        )
        asyncio.run(one_turn(server.url))
    assert otel_realtime.flush(10)
    (listed,) = sandbox.conversations()
    call = sandbox.conversation(listed["id"])
    assert call is not None
    assert [] == call["violations"]
    runs = {run["name"]: run for run in call["runs"]}
    assert "session.created" in runs
    assert "exact" == runs["execute_tool lookup_weather"]["metadata"]["tool.timing"]
    (root,) = [run for run in call["runs"] if run["parent_id"] is None]
    assert ("t", ["phone"]) == (root["metadata"]["thread_id"], root["tags"])


def test_an_instrumented_session_has_one_conversation(traces: Traces) -> None:
    """The one that is traced anyway."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    seen(ours, thread_id="t", tags=["phone"])
    found = facts(traces.root)
    assert ("t", "phone") == (found["gen_ai.conversation.id"], found["langsmith.span.tags"])
    assert 2 == len(traces.named("response.done"))


def test_a_refused_session_raises_what_the_sdk_raises(traces: Traces) -> None:
    """And leaves a root that says so."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    raised = []
    with ReplayServer(refuse=401) as server:
        for module in MODULES:
            with pytest.raises(Exception) as error:
                asyncio.run(agent_app(module.wrap_realtime_session, server.url, client=NoClient()))
            raised.append(type(error.value))
    assert raised[0] is raised[1]
    assert ["401", "401"] == [facts(root)["error.type"] for root in traces.roots]
    assert not PROCESS.live


class OddSession:
    """A session whose model cannot be asked for."""

    def __init__(self) -> None:
        self.left = False

    @property
    def model(self) -> object:
        raise RuntimeError("no model")

    async def __aenter__(self) -> OddSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True


def test_a_session_that_cannot_be_looked_into_is_entered_and_left(
    traces: Traces, process: pytest.MonkeyPatch
) -> None:
    """What we look at is ours to lose: the app's block runs."""
    process.setattr(diagnostics, "RAISE", False)
    session = OddSession()

    async def app() -> bool:
        async with ours.wrap_realtime_session(session):
            return True

    assert asyncio.run(app())
    assert session.left
    provoked("langsmith_compat.sessions._socket_of: RuntimeError")


def test_a_task_of_the_session_is_no_session() -> None:
    """What it opens later is not looked at, although it began while the session was entered."""

    async def app() -> list[bool]:
        seen: list[bool] = []
        go_on = asyncio.Event()

        async def look() -> None:
            await go_on.wait()
            seen.append(sessions._ONLY_WRAPPED.is_realtime("/v1/realtime"))

        with sessions._tapped(Options()):
            seen.append(sessions._ONLY_WRAPPED.is_realtime("/v1/realtime"))
            task = asyncio.create_task(look())
            await asyncio.sleep(0)
        go_on.set()
        await task
        return seen

    assert [True, False] == asyncio.run(app())


def test_one_session_after_another_is_another_call(traces: Traces) -> None:
    """Also in one thread, inside one ``using`` block: as with LangSmith's wrapper."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with otel_realtime.using(thread_id="t"):
        for _ in range(2):
            seen(ours, thread_id="t")
        assert 2 == len(traces.roots)
