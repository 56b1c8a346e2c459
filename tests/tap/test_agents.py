"""The Agents SDK's tracker, tools and handoffs, in a real session against the scripted server."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from otel_realtime import current_conversation, instrument, uninstrument
from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.tap import agents as agents_tap
from tests.support.own_process import settle
from tests.support.talking import SPEED, scenario, tone
from tests.support.traces import Traces, facts, parent_name

pytest.importorskip("agents.realtime")
from agents import function_tool
from agents import tool as agents_tools
from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner, realtime_handoff
from agents.realtime import session as agents_session

ANSWER = Answer(text="A long answer that is cut.", pcm=tone(3_000, 523))
HEARD_MS = 700


async def _converse(url: str, tracker: RealtimePlaybackTracker, *, plays: bool = True) -> None:
    """Ask by text, play some of the answer from a thread, hang up."""
    runner = RealtimeRunner(RealtimeAgent(name="host"))
    config: Any = {"url": f"{url}/realtime?model=gpt-realtime", "api_key": "any"}
    async with await runner.run(model_config={**config, "playback_tracker": tracker}) as session:
        await session.send_message("Hello?")
        item, got = "", 0
        async for event in session:
            if event.type == "audio":
                item, got = event.item_id, got + len(event.audio.data)
            if event.type == "audio_end" or got >= len(ANSWER.pcm or b""):
                break
        if plays:
            player = threading.Thread(target=_play, args=(tracker, item))
            player.start()
            await asyncio.to_thread(player.join)
            # The span of an answer says what the recording knows at the close, which never waits.
            await asyncio.to_thread(settle)


def _play(tracker: RealtimePlaybackTracker, item: str) -> None:
    for _ in range(HEARD_MS // 100):
        tracker.on_play_bytes(item, 0, tone(50))
        tracker.on_play_ms(item, 0, 50)


def _chat(traces: Traces) -> Any:
    (found,) = [facts(span) for span in traces.spans if span.name.startswith("chat ")]
    return found


def test_the_tracker_is_heard(traces: Traces) -> None:
    """From another thread, by bytes and by milliseconds, without a word of the app's to us."""
    instrument(tracer_provider=traces.provider)
    with ScriptedServer(Scenario(answers=(ANSWER,)), speed=20) as server:
        asyncio.run(_converse(server.url, RealtimePlaybackTracker()))
    chat = _chat(traces)
    assert "tap" == chat["otel_realtime.heard_source"]
    assert chat["otel_realtime.heard_ms"] == pytest.approx(HEARD_MS, abs=120)


def test_a_tracker_serves_one_session_after_another(traces: Traces) -> None:
    """Each position goes to the conversation that has the item."""
    instrument(tracer_provider=traces.provider)
    tracker = RealtimePlaybackTracker()
    with ScriptedServer(Scenario(answers=(ANSWER,)), speed=20) as server:
        asyncio.run(_converse(server.url, tracker))
        asyncio.run(_converse(server.url, tracker, plays=False))
    sources = [
        facts(span)["otel_realtime.heard_source"]
        for span in traces.spans
        if span.name.startswith("chat ")
    ]
    assert ["tap", "estimated"] == sources


def test_without_the_sdk_nothing_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is never imported for it."""
    monkeypatch.delitem(sys.modules, agents_tap.MODULE)
    instrument()
    assert agents_tap.MODULE not in sys.modules


def test_the_tracker_is_given_back() -> None:
    """``uninstrument`` leaves the SDK as it was."""
    original = RealtimePlaybackTracker.on_play_ms
    instrument()
    assert RealtimePlaybackTracker.on_play_ms is not original
    uninstrument()
    assert RealtimePlaybackTracker.on_play_ms is original


#: Older versions hide from everybody what a tool raised.
modern = pytest.mark.skipif(
    not hasattr(agents_tools, "maybe_invoke_function_tool_failure_error_function"),
    reason="a version of the SDK that turns exceptions into results unseen",
)

# -- tools and handoffs ----------------------------------------------------------------------------

TOOL_S = 0.4


async def _ask(url: str, agent: RealtimeAgent[Any], results: int) -> None:
    """Ask once, and hang up after the spoken answer, when so many results have been sent."""
    config: Any = {"url": f"{url}/realtime?model=gpt-realtime", "api_key": "any"}
    async with await RealtimeRunner(agent).run(model_config=config) as session:
        await session.send_message("Well?")
        spoken = ended = False
        async for event in session:
            spoken = spoken or event.type == "audio"
            results -= event.type == "tool_end"
            ended = ended or (event.type == "agent_end" and spoken)
            if ended and results <= 0:
                return


def _answers(*calls: Call) -> Scenario:
    last = Answer(text="Done.", pcm=tone(100))
    # As many answers as there may be results: at the end the script starts over.
    return scenario(Answer(calls=calls), *[last] * 4, answer_delay_ms=0, rate_limits=False)


def _run(traces: Traces, agent: RealtimeAgent[Any], *calls: Call, results: int = 0) -> None:
    instrument(tracer_provider=traces.provider)
    with ScriptedServer(_answers(*calls), speed=SPEED) as server:
        asyncio.run(_ask(server.url, agent, results))


def _told(span: Any) -> tuple[Any, ...]:
    known = facts(span)
    seconds = (span.end_time - span.start_time) / 1e9
    return known["otel_realtime.tool.timing"], known["gen_ai.tool.call.result"], seconds


def test_two_tools_at_once_are_exact(traces: Traces) -> None:
    """Each from its own entry to its own exit, though another one runs; the app's spans inside."""

    @function_tool
    async def look_up(what: str) -> str:
        """Look something up."""
        with traces.tracer.start_as_current_span(f"request {what}"):
            await asyncio.sleep(TOOL_S)
        return what + "!"

    agent = RealtimeAgent[Any](name="host", tools=[look_up])
    calls = [Call(name="look_up", arguments=f'{{"what": "{what}"}}') for what in ("sky", "sea")]
    _run(traces, agent, *calls, results=2)
    tools = {facts(span)["gen_ai.prompt"]: span for span in traces.named("execute_tool look_up")}
    assert 2 == len(tools) == facts(traces.root)["otel_realtime.tool_calls"]
    for what in ("sky", "sea"):
        span, request = tools[f'{{"what": "{what}"}}'], traces.one(f"request {what}")
        timing, result, seconds = _told(span)
        assert ("exact", f'"{what}!"') == (timing, result)
        assert TOOL_S == pytest.approx(seconds, abs=0.2)
        assert request.parent is not None
        assert span.context.span_id == request.parent.span_id
        waited_ms = facts(span)["otel_realtime.tool.waited_ms"]
        assert waited_ms >= TOOL_S * 1000


@modern
def test_a_tool_that_raises_and_a_tool_in_a_thread(traces: Traces) -> None:
    """By default the SDK tells the model of the exception and goes on; the span says what it was."""

    @function_tool
    def broken() -> str:
        """Fail."""
        with traces.tracer.start_as_current_span("inside"):
            raise LookupError("no such sky")

    _run(traces, RealtimeAgent[Any](name="host", tools=[broken]), Call(name="broken"))
    span = traces.one("execute_tool broken")
    assert ("exact", "LookupError") == (_told(span)[0], facts(span)["error.type"])
    assert "execute_tool broken" == parent_name(traces.one("inside"), traces.spans)


def test_an_exception_that_the_sdk_lets_through(traces: Traces) -> None:
    """Is the app's own, untouched."""
    raised = LookupError("no such sky")

    @function_tool(failure_error_function=None)
    async def broken() -> str:
        """Fail."""
        raise raised

    with pytest.raises(LookupError) as caught:
        _run(traces, RealtimeAgent[Any](name="host", tools=[broken]), Call(name="broken"))
    assert raised is caught.value
    assert "LookupError" == facts(traces.one("execute_tool broken"))["error.type"]


def test_a_handoff(traces: Traces) -> None:
    """Below the call that asked for it, with the name of the agent that goes on."""
    billing = RealtimeAgent[Any](name="Billing")
    host = RealtimeAgent[Any](name="host", handoffs=[realtime_handoff(billing)])
    _run(traces, host, Call(name="transfer_to_billing"))
    span, tool = traces.one("handoff Billing"), traces.one("execute_tool transfer_to_billing")
    assert ("Billing", "chain") == (
        facts(span)["gen_ai.agent.name"],
        facts(span)["langsmith.span.kind"],
    )
    assert tool.name == parent_name(span, traces.spans)
    assert (tool.start_time or 0) <= (span.start_time or 0)
    assert "gen_ai.tool.name" not in facts(span)


@modern
def test_an_app_that_brackets_its_tool_itself(traces: Traces) -> None:
    """``call.tool()`` inside the SDK's tool is the same span."""

    @function_tool
    async def look_up() -> str:
        """Look something up."""
        here = current_conversation()
        assert here is not None
        with here.tool(known):
            return "blue"

    known: str | None = None
    agent = RealtimeAgent[Any](name="host", tools=[look_up])
    original = agents_session.invoke_function_tool

    async def remember(**given: Any) -> Any:
        nonlocal known
        known = given["context"].tool_call_id
        return await original(**given)

    agents_session.invoke_function_tool = remember
    try:
        _run(traces, agent, Call(name="look_up"))
    finally:
        uninstrument()
        agents_session.invoke_function_tool = original
    timing, result, _ = _told(traces.one("execute_tool look_up"))
    assert ("exact", '"blue"') == (timing, result)


def test_another_version_of_the_sdk(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it does not have is said once; everything else goes on, by the wire."""

    @function_tool
    async def look_up() -> str:
        """Look something up."""
        return "blue"

    original = agents_session.RealtimeSession._put_event
    monkeypatch.delattr(agents_session.RealtimeSession, "_put_event")
    instrument(tracer_provider=traces.provider)
    monkeypatch.setattr(agents_session.RealtimeSession, "_put_event", original, raising=False)
    _run(traces, RealtimeAgent[Any](name="host", tools=[look_up]), Call(name="look_up"))
    assert "exact" == _told(traces.one("execute_tool look_up"))[0]
    assert 1 == caplog.text.count("its handoffs have no spans")


def test_the_sdk_is_given_back() -> None:
    """Whatever was replaced."""
    owners = (agents_session, agents_session.RealtimeSession)
    names = ("invoke_function_tool", "_handle_tool_call", "_put_event")
    before = [getattr(owner, name, None) for owner in owners for name in names]
    instrument()
    assert before != [getattr(owner, name, None) for owner in owners for name in names]
    uninstrument()
    assert before == [getattr(owner, name, None) for owner in owners for name in names]
