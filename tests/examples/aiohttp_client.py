"""The Realtime API over an ``aiohttp`` websocket: a typed question, a spoken answer in a WAV file.

::

    pip install otel-realtime aiohttp
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python aiohttp_client.py "What is the capital of France?" answer.wav
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import sys
import wave
from typing import Any

import aiohttp

import otel_realtime

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
MODEL = "gpt-realtime"
RATE = 24_000


def question_item(text: str) -> dict[str, Any]:
    """Return the event that adds a typed question to the conversation."""
    content = [{"type": "input_text", "text": text}]
    message = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": message}


async def answer(socket: aiohttp.ClientWebSocketResponse[bool], question: str) -> bytes:
    """Ask, print the transcript, and return the sound of the answer."""
    await socket.send_json(question_item(question))
    await socket.send_json({"type": "response.create"})
    sound = bytearray()
    async for message in socket:
        event = message.json()
        if event["type"] == "response.output_audio.delta":
            sound += base64.b64decode(event["delta"])
        elif event["type"] == "response.output_audio_transcript.done":
            print("agent:", event["transcript"])
        elif event["type"] == "error":
            print("error:", event["error"]["message"], file=sys.stderr)
        elif event["type"] == "response.done":
            break
    return bytes(sound)


async def call(question: str) -> bytes:
    """Hold one conversation; return the answer as PCM."""
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        with otel_realtime.using(thread_id="caller-42"):
            async with http.ws_connect(f"{URL}/realtime?model={MODEL}") as socket:
                return await answer(socket, question)


def main() -> None:
    """Ask a typed question, write the spoken answer to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("question")
    parser.add_argument("answer", help="the WAV file to write")
    options = parser.parse_args()
    otel_realtime.configure()  # leave it out if your app sets OpenTelemetry up itself
    otel_realtime.instrument()
    pcm = asyncio.run(call(options.question))
    with wave.open(options.answer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)


if __name__ == "__main__":
    main()
