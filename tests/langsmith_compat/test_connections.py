"""``wrap_realtime``: an app that changes one import sees what it saw, and its calls arrive."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from langsmith.integrations import openai_realtime as theirs

import otel_realtime
from otel_realtime import langsmith_compat as ours
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support.talking import SPEED, client_of
from tests.support.traces import Traces, facts
from tests.support.wrapped import CALL, NoClient, Seen, one_by_one, voice_app

MODULES = (theirs, ours)


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of a function's parameters."""
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


@pytest.mark.parametrize("name", ours.__all__)
def test_the_signatures_are_langsmiths(name: str) -> None:
    """Every parameter, in any way that it can be passed."""
    assert theirs.__all__ == ours.__all__
    assert signature(getattr(theirs, name)) == signature(getattr(ours, name))


def public(kind: type) -> set[str]:
    """What a class offers that objects do not have anyway."""
    return {name for name in vars(kind) if not name.startswith("_")} | {
        name for name in vars(kind) if name.startswith("__a") or name == "__getattr__"
    }


def test_the_proxies_offer_what_langsmiths_offer() -> None:
    """The same methods, with the same parameters."""
    from langsmith.integrations.openai_realtime import _connection, _session

    from otel_realtime.langsmith_compat import connections, sessions

    pairs = (
        (_connection._RealtimeTracingSession, connections._Wrapped),
        (_connection._TracedRealtimeConnection, connections._TracedConnection),
        (_session._TracedRealtimeSession, sessions._TracedSession),
    )
    for their, our in pairs:
        assert public(their) == public(our)
        for name in public(their):
            expected = [one[1:] for one in signature(getattr(their, name))]
            assert expected == [one[1:] for one in signature(getattr(our, name))]


def seen(app: Any, module: Any, **given: Any) -> Seen:
    """What an app sees with one of the modules."""
    with ScriptedServer(CALL, speed=SPEED) as server:
        return asyncio.run(app(module.wrap_realtime, server.url, client=NoClient(), **given))


def root_of(sandbox: Sandbox) -> dict[str, Any]:
    """The root run of the only conversation that arrived, by the contract."""
    assert otel_realtime.flush(10)
    (listed,) = sandbox.conversations()
    call = sandbox.conversation(listed["id"])
    assert call is not None
    assert [] == call["violations"]
    (root,) = [run for run in call["runs"] if run["parent_id"] is None]
    return root


@pytest.mark.parametrize("ends", ["leaves", "closes"])
def test_the_app_sees_the_same(sandbox: Sandbox, ends: str) -> None:
    """Events, results of its own calls, what a closed connection raises, and what it is asked."""
    given = {"thread_id": "t", "metadata": {"a": 1}, "tags": ["x"], "ends": ends}
    expected, found = (seen(voice_app, module, **given) for module in MODULES)
    assert expected == found
    assert (1, "response.done") == (found.speaking, found.events[-1])


def test_what_the_app_raises_passes_through(sandbox: Sandbox) -> None:
    """And is the root's error."""
    for module in MODULES:
        with pytest.raises(ValueError, match="the app's own"):
            seen(voice_app, module, ends="raises")
    assert "the app's own" == root_of(sandbox)["error"]


def test_single_events_and_attributes_are_the_same(sandbox: Sandbox) -> None:
    """``recv`` and ``anext``; what the app sets stays on its proxy, the rest is the connection's."""
    expected, found = (seen(one_by_one, module) for module in MODULES)
    assert expected == found


def test_the_call_arrives_without_any_set_up(sandbox: Sandbox, process: pytest.MonkeyPatch) -> None:
    """With a key only, as LangSmith's wrapper; named after the first utterance, in its project."""
    process.delenv("LANGSMITH_TRACING")
    seen(
        voice_app,
        ours,
        thread_id="t",
        metadata={"tenant": "acme"},
        tags=["phone"],
        project_name="voice",
    )
    root = root_of(sandbox)
    assert ("Is it sunny?", "voice", "t", "acme", ["phone"]) == (
        root["name"],
        root["project"],
        root["metadata"]["thread_id"],
        root["metadata"]["tenant"],
        root["tags"],
    )
    assert sandbox.recording(root["id"]) is not None


def test_an_instrumented_connection_has_one_conversation(traces: Traces) -> None:
    """The one that is traced anyway, with what the wrapper says of it."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    seen(voice_app, ours, thread_id="t", tags=["phone"])
    found = facts(traces.root)
    assert ("t", "phone") == (found["gen_ai.conversation.id"], found["langsmith.span.tags"])
    assert 2 == len(traces.named("response.done"))


def test_a_call_that_is_talked_over_says_so(traces: Traces) -> None:
    """Where the app says that its player is audible, under LangSmith's own name."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    with ScriptedServer(CALL, speed=SPEED) as server:
        asyncio.run(voice_app(ours.wrap_realtime, server.url, speaking=True))
    started = facts(traces.one("input_audio_buffer.speech_started"))
    assert started["langsmith.metadata.was_interrupted"] is True


class StandIn:
    """A connection of an app's own tests: events, and no websocket."""

    def __init__(self, *events: Any) -> None:
        self._events = iter(events)

    def __aiter__(self) -> StandIn:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._events)
        except StopIteration:
            raise StopAsyncIteration from None


def test_a_connection_that_cannot_be_tapped_is_traced_by_its_proxy(traces: Traces) -> None:
    """By the events that the app receives through it."""
    otel_realtime.instrument(tracer_provider=traces.provider)
    events = ({"type": "session.created", "session": {"id": "s"}}, {"type": "response.created"})

    async def app() -> list[Any]:
        async with ours.wrap_realtime(StandIn(*events)) as connection:
            return [event async for event in connection]

    assert list(events) == asyncio.run(app())
    names = {span.name for span in traces.spans}
    assert {"realtime_session", "session.created", "response.created"} <= names


def test_traceable_functions_belong_to_the_call(sandbox: Sandbox) -> None:
    """Those in an event's handler nest below it, as with LangSmith's wrapper."""
    from langsmith import traceable

    @traceable(name="look up")
    def look_up() -> int:
        return 18

    with ScriptedServer(CALL, speed=SPEED) as server:
        asyncio.run(voice_app(ours.wrap_realtime, server.url, tool=look_up))
    assert otel_realtime.flush(10)
    from langsmith.run_trees import get_cached_client

    get_cached_client().flush()
    (listed,) = sandbox.conversations()
    call = sandbox.conversation(listed["id"])
    assert call is not None
    names = {run["id"]: run["name"] for run in call["runs"]}
    (tool,) = [run for run in call["runs"] if run["name"] == "look up"]
    assert names[tool["parent_id"]] in {"execute_tool lookup_weather", "response.done"}


@pytest.mark.parametrize("module", MODULES, ids=["theirs", "ours"])
def test_a_wrapped_connection_can_be_announced(traces: Traces, module: Any) -> None:
    """The proxy stands for its connection, whoever made it: one conversation."""
    otel_realtime.instrument(tracer_provider=traces.provider)

    async def app(url: str) -> None:
        async with (
            client_of(url) as client,
            client.realtime.connect(model="gpt-realtime") as raw,
            module.wrap_realtime(raw, client=NoClient()) as connection,
            otel_realtime.conversation(connection, tags=["here"]) as call,
        ):
            await connection.recv()
            assert call is otel_realtime.current_conversation()

    with ScriptedServer(CALL, speed=SPEED) as server:
        asyncio.run(app(server.url))
    assert "here" == facts(traces.root)["langsmith.span.tags"]
