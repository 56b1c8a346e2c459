"""A voice assistant on the ``openai`` SDK: a question in a WAV file, the answer in another one.

::

    pip install otel-realtime
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python openai_sdk.py question.wav answer.wav

The question is 16-bit mono at 24 kHz. It is sent at the pace of speech, as a microphone would.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import wave
from collections.abc import AsyncIterator
from typing import Any

from openai import AsyncOpenAI

import otel_realtime

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
MODEL = "gpt-realtime"
RATE = 24_000
CHUNK_S = 0.02

SESSION: Any = {
    "type": "realtime",
    "instructions": "You are a weather assistant. Look the weather up, then answer briefly.",
    "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
    "tools": [
        {
            "type": "function",
            "name": "lookup_weather",
            "description": "Look up the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
}


async def lookup_weather(city: str) -> dict[str, Any]:
    """Return the weather of a city; a real one asks a service."""
    return {"city": city, "celsius": 18, "sky": "sunny"}


TOOLS = {"lookup_weather": lookup_weather}


async def microphone(path: str) -> AsyncIterator[bytes]:
    """Yield the file in pieces at the pace of speech, then silence: the line stays open."""
    frames = int(RATE * CHUNK_S)
    with wave.open(path) as file:
        while True:
            yield file.readframes(frames).ljust(frames * 2, b"\0")
            await asyncio.sleep(CHUNK_S)


async def speak(connection: Any, path: str) -> None:
    """Send what the microphone hears until cancelled."""
    async for chunk in microphone(path):
        await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())


async def run_tool(connection: Any, call: Any) -> None:
    """Run the function that the model called and send its result."""
    result = await TOOLS[call.name](**json.loads(call.arguments))
    item = {"type": "function_call_output", "call_id": call.call_id, "output": json.dumps(result)}
    await connection.conversation.item.create(item=item)


async def listen(connection: Any) -> bytes:
    """Handle events until the spoken answer is complete; return its sound."""
    sound = bytearray()
    async for event in connection:
        if event.type == "response.output_audio.delta":
            sound += base64.b64decode(event.delta)
        elif event.type == "conversation.item.input_audio_transcription.completed":
            print("you:  ", event.transcript)
        elif event.type == "response.output_audio_transcript.done":
            print("agent:", event.transcript)
        elif event.type == "response.done":
            calls = [item for item in event.response.output or [] if item.type == "function_call"]
            if not calls:
                break
            for call in calls:
                await run_tool(connection, call)
            await connection.response.create()
        elif event.type == "error":
            print("error:", event.error.message, file=sys.stderr)
    return bytes(sound)


async def ask(question: str) -> bytes:
    """Hold one conversation; return the answer as PCM."""
    async with (
        AsyncOpenAI(websocket_base_url=URL) as client,
        client.realtime.connect(model=MODEL) as connection,
        otel_realtime.conversation(connection, thread_id="caller-42", tags=["example"]) as call,
    ):
        print("trace:", call.trace_id)
        await connection.session.update(session=SESSION)
        speaking = asyncio.create_task(speak(connection, question))
        try:
            return await listen(connection)
        finally:
            speaking.cancel()


def main() -> None:
    """Ask the question of the first file, write the answer to the second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("question", help="a WAV file")
    parser.add_argument("answer", help="the WAV file to write")
    options = parser.parse_args()
    otel_realtime.configure()  # leave it out if your app sets OpenTelemetry up itself
    otel_realtime.instrument()
    pcm = asyncio.run(ask(options.question))
    with wave.open(options.answer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)


if __name__ == "__main__":
    main()
