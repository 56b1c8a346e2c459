"""Taps of a live conversation: from an audio thread that reuses its buffer, on real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

import otel_realtime
from otel_realtime import Settings, instrument
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import ScriptedServer
from tests.support.own_process import settle
from tests.support.talking import client_of, pcm, text_item, tone
from tests.support.traces import Traces, facts, samples

ANSWER = Answer(text="A second of sound.", pcm=tone(1_000, 523))
BLOCK = 960
PLAYED_MS = 300


def _play(call: otel_realtime.Conversation, item: str, audio: bytes, rate: int | None) -> None:
    """An audio callback every 20 ms: one buffer for all, overwritten each time."""
    buffer = bytearray(BLOCK)
    due = time.monotonic()
    for at in range(0, len(audio), BLOCK):
        buffer[:] = audio[at : at + BLOCK]
        call.record_agent_audio(buffer, item_id=item, rate=rate)
        call.record_user_audio(memoryview(buffer).cast("h"))
        buffer[:] = b"\x55" * BLOCK
        due += 0.02
        time.sleep(max(0.0, due - time.monotonic()))


async def _converse(url: str) -> str:
    """Ask, wait for the whole answer, play a part of it from a thread."""
    async with client_of(url) as client, client.realtime.connect(model="gpt-realtime") as rt:
        async for event in rt:
            if event.type == "session.created":
                await rt.conversation.item.create(item=text_item("Hello?"))
                await rt.response.create()
            elif event.type == "response.done":
                call = otel_realtime.current_conversation()
                assert call is not None
                assert event.response.output
                item = event.response.output[0].id
                audio = (ANSWER.pcm or b"")[: PLAYED_MS * 48]
                thread = threading.Thread(target=_play, args=(call, item, audio, None))
                thread.start()
                await asyncio.to_thread(thread.join)
                return str(item)
    return ""


def _chat(traces: Traces) -> Any:
    (found,) = [facts(span) for span in traces.spans if span.name.startswith("chat ")]
    return found


def test_an_audio_thread_says_what_is_played_and_heard(traces: Traces, tmp_path: Path) -> None:
    """Both channels are the thread's, sample by sample; the facts say whose word it is."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"))
    instrument(tracer_provider=traces.provider, settings=settings)
    with ScriptedServer(Scenario(answers=(ANSWER,)), speed=20) as server:
        asyncio.run(_converse(server.url))
    assert otel_realtime.flush(10)
    (kept,) = (tmp_path / "kept").glob("*.wav")
    expected = pcm(ANSWER.pcm or b"")[: PLAYED_MS * 24]
    for channel in samples(kept):
        assert np.array_equal(expected, channel[channel != 0])
    chat = _chat(traces)
    assert ("tap", PLAYED_MS, True) == (
        chat["otel_realtime.heard_source"],
        chat["otel_realtime.heard_ms"],
        chat["otel_realtime.interrupted"],
    )


def test_taps_of_a_closed_conversation_do_nothing(traces: Traces) -> None:
    """An audio thread may outlive the call; nonsense is passed over."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.played("nope", 0, float("nan"))
        call.played("nope", 0, -1)
        call.record_agent_audio(b"")
        call.record_agent_audio(b"\x01")
    call.played("nope", 0, 5)
    call.record_agent_audio(b"\x01\x02")
    call.record_user_audio(b"\x01\x02")
    assert traces.root is not None


@pytest.mark.parametrize("tapped", [True, False])
def test_a_client_on_aiohttp_is_traced(traces: Traces, *, tapped: bool) -> None:
    """By ``instrument`` or by ``conversation(socket)``, without a line of the app's changed."""
    if tapped:
        instrument(tracer_provider=traces.provider)

    async def run(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{url}/realtime?model=gpt-realtime") as socket:
                if tapped:
                    await ask(socket)
                else:
                    with otel_realtime.conversation(socket, tracer_provider=traces.provider):
                        await ask(socket)

    async def ask(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            event = json.loads(message.data)
            if event["type"] == "session.created":
                item = text_item("Hello?")
                await socket.send_json({"type": "conversation.item.create", "item": item})
                await socket.send_str(json.dumps({"type": "response.create"}))
            elif event["type"] == "response.done":
                # The close never waits for the recording's writer, which a busy machine delays.
                await asyncio.to_thread(settle)
                return

    with ScriptedServer(Scenario(answers=(ANSWER,)), speed=20) as server:
        asyncio.run(run(server.url))
    assert 1_000 == _chat(traces)["otel_realtime.generated_ms"]
    assert traces.root.status.is_ok or traces.root.status.is_unset


def test_a_call_goes_on_after_the_app_reconnects(traces: Traces, tmp_path: Path) -> None:
    """One conversation and one recording on two connections; queued audio plays on."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"))

    async def answer(rt: Any, call: otel_realtime.Conversation | None) -> None:
        if call is not None:
            call.attach(rt)
        async for event in rt:
            if event.type == "session.created":
                await rt.response.create()
            elif event.type == "response.done":
                return

    async def run(url: str) -> None:
        async with client_of(url) as client:
            lost = await client.realtime.connect(model="gpt-realtime").enter()
            with otel_realtime.conversation(
                lost, tracer_provider=traces.provider, settings=settings
            ) as call:
                await answer(lost, None)
                async with client.realtime.connect(model="gpt-realtime") as rt:
                    await answer(rt, call)
                    await asyncio.sleep(2.1)  # both answers are heard to their end
            await lost.close()

    scenarios = [Scenario(answers=(ANSWER,)), Scenario(answers=(ANSWER,))]
    with ScriptedServer(scenarios, speed=20) as server:
        asyncio.run(run(server.url))
    assert otel_realtime.flush(10)
    assert 1 == len(traces.roots)
    (kept,) = (tmp_path / "kept").glob("*.wav")
    _, right = samples(kept)
    audio = pcm(ANSWER.pcm or b"")
    assert np.array_equal(np.concatenate((audio, audio)), right[right != 0])
