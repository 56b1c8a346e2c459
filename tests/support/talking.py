"""Conversations between the real client and the scripted server, with tones for voices."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from openai import AsyncOpenAI, OpenAI

from otel_realtime.demo.scenario import Answer, Call, Scenario

RATE = 24_000
PER_MS = RATE // 1000
TRANSCRIBER = "gpt-4o-mini-transcribe"
SILENCE_MS = 200
#: What is sent at once takes its time to be spoken: whoever hangs up before has not said it all.
SPOKEN_S = 1.5
#: Time in the server runs this much faster, so that its pauses cost nothing and order stays certain.
SPEED = 20.0
Handler = Callable[[Any, Mapping[str, Any]], Any]


def tone(ms: int, hz: float = 440.0, level: float = 8_000.0) -> bytes:
    """PCM16 at 24 kHz without a single zero sample, so that its place shows to the sample."""
    wave = level * np.sin(2 * np.pi * hz * (np.arange(ms * PER_MS) + 0.37) / RATE)
    found = np.round(wave).astype("<i2")
    found[found == 0] = 1
    return found.tobytes()


def silence(ms: int) -> bytes:
    """Digital silence."""
    return bytes(ms * PER_MS * 2)


def pcm(raw: bytes) -> np.ndarray:
    """Raw audio as samples."""
    return np.frombuffer(raw, "<i2")


def scenario(*answers: Answer, **changes: Any) -> Scenario:
    """A scenario whose order of events does not depend on how busy the machine is.

    A transcript comes right after its commit, an answer 150 ms of real time after that.
    """
    timing = {"transcription_delay_ms": 0, "answer_delay_ms": int(150 * SPEED)}
    return Scenario(answers=answers, **{**timing, **changes})


def session(**changes: Any) -> Any:
    """The body of the ``session.update`` that the apps here send."""
    turn_detection = {"type": "server_vad", "silence_duration_ms": SILENCE_MS}
    audio = {"turn_detection": turn_detection, "transcription": {"model": TRANSCRIBER}}
    return {"type": "realtime", "audio": {"input": audio}, **changes}


def client_of(url: str) -> AsyncOpenAI:
    """The real asynchronous client."""
    return AsyncOpenAI(api_key="any", websocket_base_url=url)


def sync_client_of(url: str) -> OpenAI:
    """The real synchronous client."""
    return OpenAI(api_key="any", websocket_base_url=url)


def connected(client: Any) -> Any:
    """The manager of a connection, which a hundred at once may wait for on a busy machine."""
    patient = {"open_timeout": 60}
    return client.realtime.connect(model="gpt-realtime", websocket_connection_options=patient)


def chunks(raw: bytes, ms: int = 100) -> list[str]:
    """Audio in base64, piece by piece."""
    size = ms * PER_MS * 2
    return [base64.b64encode(raw[at : at + size]).decode() for at in range(0, len(raw), size)]


async def say(connection: Any, raw: bytes) -> None:
    """Append audio as fast as the socket takes it."""
    for audio in chunks(raw):
        await connection.input_audio_buffer.append(audio=audio)


def text_item(text: str) -> Any:
    """A user message."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def result(call_id: str, output: object) -> Any:
    """The item that answers a function call."""
    return {"type": "function_call_output", "call_id": call_id, "output": json.dumps(output)}


def calls_of(response: Any) -> list[Any]:
    """The function calls of a finished response."""
    return [item for item in response.output or [] if item.type == "function_call"]


WEATHER = {"Paris": 18, "Tokyo": 22}
CALLS = Answer(
    calls=tuple(
        Call(name="lookup_weather", arguments=json.dumps({"city": city})) for city in WEATHER
    )
)
FORECAST = Answer(text="Eighteen in Paris, twenty-two in Tokyo.", pcm=tone(3000, 523))
SHORT = Answer(text="Eighteen.", pcm=tone(500, 659))
KEPT_MS = 600
QUESTION, STOP = tone(600, 330), tone(400, 370)
WEATHER_CALL = scenario(CALLS, FORECAST, SHORT, user_transcripts=("Weather?", "Only Paris!"))


async def weather_call(url: str, **hooks: Handler) -> None:
    """One whole call: a question, two tools, an answer that is cut short, a harmless error.

    Each step waits for the server's answer to the one before, so the order of events is fixed.

    Args:
        url: the server's.
        hooks: coroutines called with the connection and an event, by the event's type with ``_``
            for dots.
    """
    async with client_of(url) as client, connected(client) as rt:
        async for event in rt:
            hook = hooks.get(event.type.replace(".", "_"))
            if hook is not None:
                await hook(rt, event)
            if await _weather_step(rt, event):
                return


async def _weather_step(rt: Any, event: Any) -> bool:
    """What the app does about an event; True when it hangs up."""
    if event.type == "session.created":
        await rt.session.update(session=session())
    elif event.type == "session.updated":
        await say(rt, QUESTION + silence(SILENCE_MS))
    elif event.type == "response.done":
        return await _answered(rt, event.response)
    elif event.type == "input_audio_buffer.speech_started" and event.audio_start_ms > 300:
        rt.stopped = True
        await rt.response.cancel()  # it has ended: the server says so in an error
        await rt.conversation.item.truncate(
            item_id=rt.spoken, content_index=0, audio_end_ms=KEPT_MS
        )
    elif event.type == "conversation.item.truncated":
        await asyncio.sleep(SPOKEN_S)
        await say(rt, silence(SILENCE_MS))
    return False


async def _answered(rt: Any, response: Any) -> bool:
    calls = calls_of(response)
    for call in calls:
        city = json.loads(call.arguments)["city"]
        await rt.conversation.item.create(item=result(call.call_id, WEATHER[city]))
    if calls:
        await rt.response.create()
    elif not hasattr(rt, "spoken"):
        rt.spoken = response.output[0].id
        await say(rt, STOP)
    else:
        return True
    return False


# --- one question, one answer: the shortest call with a voice on both sides ------------------------


async def ask(rt: Any, question: bytes = QUESTION) -> None:
    """Say something and wait until it was answered."""
    await rt.session.update(session=session())
    await say(rt, question + silence(SILENCE_MS))
    async for event in rt:
        if event.type == "response.done":
            return


async def one_turn(url: str, question: bytes = QUESTION, stay_s: float = 0.0) -> None:
    """A whole call of one question and one answer; ``stay_s``: how long it lasts after that."""
    async with client_of(url) as client, connected(client) as rt:
        await ask(rt, question)
        await asyncio.sleep(stay_s)


def one_turn_sync(url: str, question: bytes = QUESTION, stay_s: float = 0.0) -> None:
    """The same with the synchronous client."""
    with sync_client_of(url) as client, connected(client) as rt:
        rt.session.update(session=session())
        for audio in chunks(question + silence(SILENCE_MS)):
            rt.input_audio_buffer.append(audio=audio)
        for event in rt:
            if event.type == "response.done":
                time.sleep(stay_s)
                return
