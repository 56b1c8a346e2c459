"""The Agents SDK's playback tracker, used by a real session against the scripted server."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from otel_realtime import instrument
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.tap import agents as agents_tap
from tests.support.own_process import settle
from tests.support.talking import tone
from tests.support.traces import Traces, facts

pytest.importorskip("agents.realtime")
from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner

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
    from otel_realtime import uninstrument

    original = RealtimePlaybackTracker.on_play_ms
    instrument()
    assert RealtimePlaybackTracker.on_play_ms is not original
    uninstrument()
    assert RealtimePlaybackTracker.on_play_ms is original
