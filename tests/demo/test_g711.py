"""G.711 on the scripted server: the same tables as everybody's, both ways, and its refusals."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.demo import g711
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import silence, tone
from tests.support.scripted import Event, append, audio_of, client_of, events_until, is_type

CODES = bytes(range(256))
ANSWER = tone(500, 0.5)


@pytest.mark.parametrize("name", g711.NAMES)
def test_values_are_the_standards(name: str) -> None:
    """Every code means what the recorder, too, takes it for; and comes back as itself."""
    pcm = g711.to_pcm(CODES, {"type": name})
    law = AudioFormat(name, 8_000)
    assert (np.frombuffer(pcm, "<i2")[:: g711.RATE_RATIO] == decode(CODES, law)).all()
    again = decode(g711.from_pcm(pcm, {"type": name}), law)
    assert (decode(CODES, law) == again).all()


def talk(name: str, **response: Any) -> list[Event]:
    """A spoken turn over a session in that format."""
    scenario = Scenario(answers=(Answer(text="Yes.", pcm=ANSWER),))
    form: Any = {"type": name}

    async def act(server: ScriptedServer) -> list[Event]:
        async with client_of(server).realtime.connect(model="gpt-realtime") as connection:
            audio: Any = {"input": {"format": form}, "output": {"format": form}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            events = await events_until(connection, is_type("session.updated", "error"))
            if events[-1]["type"] == "error":
                return events
            if response:
                await connection.response.create(response=response)  # type: ignore[arg-type]
            else:
                said = silence(0.5) + tone(300, 0.6) + silence(0.8)
                await append(connection, g711.from_pcm(said, form), chunk=800)
            return events + await events_until(connection, is_type("response.done"))

    with ScriptedServer(scenario, speed=40) as server:
        return asyncio.run(asyncio.wait_for(act(server), 20))


@pytest.mark.parametrize("name", g711.NAMES)
def test_a_turn_in_g711(name: str) -> None:
    """Speech is found at its place, and the answer comes in the same law."""
    events = talk(name)
    found = {event["type"]: event for event in events}
    assert {"type": name} == found["session.updated"]["session"]["audio"]["input"]["format"]
    assert 200 == found["input_audio_buffer.speech_started"]["audio_start_ms"]
    assert 1_600 == found["input_audio_buffer.speech_stopped"]["audio_end_ms"]
    assert g711.from_pcm(ANSWER, {"type": name}) == audio_of(events)
    assert {"type": name} == found["response.done"]["response"]["audio"]["output"]["format"]


def test_a_response_may_have_a_format_of_its_own() -> None:
    """PCM in a session that speaks G.711."""
    events = talk("audio/pcmu", audio={"output": {"format": {"type": "audio/pcm", "rate": 24_000}}})
    assert ANSWER == audio_of(events)


@pytest.mark.parametrize("name", ["audio/mp3", None, 5])
def test_other_formats_are_refused(name: Any) -> None:
    """The error names the parameter."""
    (_, event) = talk(name)
    assert "session.audio.input.format.type" == event["error"]["param"]


def test_a_retrieved_item_has_its_side_s_format() -> None:
    """The audio inside ``conversation.item.retrieved`` is what was sent."""
    form: Any = {"type": "audio/pcma"}
    said = g711.from_pcm(tone(300, 0.2), form)

    async def act(server: ScriptedServer) -> Event:
        async with client_of(server).realtime.connect(model="gpt-realtime") as connection:
            audio: Any = {"input": {"format": form}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            part: Any = {"type": "input_audio", "audio": base64.b64encode(said).decode()}
            await connection.conversation.item.create(
                item={"id": "item_u", "type": "message", "role": "user", "content": [part]}
            )
            await connection.conversation.item.retrieve(item_id="item_u")
            return (await events_until(connection, is_type("conversation.item.retrieved")))[-1]

    with ScriptedServer(Scenario(answers=()), speed=40) as server:
        event = asyncio.run(asyncio.wait_for(act(server), 20))
    assert said == base64.b64decode(event["item"]["content"][0]["audio"])
