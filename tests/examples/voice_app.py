"""A voice app: microphone to model, model to speaker, with barge-in, a tool, trace and recording.

::

    pip install "otel-realtime[audio]"
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python voice_app.py

Use a headset, or the model hears itself. Ctrl-C ends the call. ``record_agent_audio`` and
``record_user_audio`` in the callbacks make the recording hold what the devices took.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any

import sounddevice
from openai import AsyncOpenAI

import otel_realtime

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
RATE = 24_000  # the API's audio: 16-bit mono, so 48 bytes are a millisecond
STREAM = {"samplerate": RATE, "channels": 1, "dtype": "int16", "blocksize": RATE // 50}
SAID = {
    "conversation.item.input_audio_transcription.completed": "you:  ",
    "response.output_audio_transcript.done": "agent:",
}
SESSION: Any = {
    "type": "realtime",
    "instructions": "You are a friendly assistant. Answer briefly. Greet the user first.",
    "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
    "tools": [{"type": "function", "name": "get_time", "description": "Tell the time of day."}],
}


class Speaker:
    """Plays the model's audio from a queue, and knows how much of it has been played."""

    def __init__(self, call: otel_realtime.Conversation) -> None:
        self.call = call
        self.lock = threading.Lock()  # the callback runs on a thread of PortAudio's
        self.queue: dict[str, bytearray] = {}  # item -> what is to be played, in order
        self.played: Counter[str] = Counter()  # item -> bytes that the device took
        self.stopped: set[str] = set()
        self.stream = sounddevice.RawOutputStream(callback=self.callback, **STREAM)

    def callback(self, outdata: Any, frames: int, time: Any, status: Any) -> None:
        """Give the device what it plays next; silence when there is nothing."""
        with self.lock:
            item_id, audio = next(iter(self.queue.items()), ("", bytearray()))
            chunk = bytes(audio[: len(outdata)])
            self.played[item_id] += len(chunk)
            del audio[: len(chunk)]
            if not audio:
                self.queue.pop(item_id, None)
        outdata[:] = chunk.ljust(len(outdata), b"\0")
        self.call.record_agent_audio(outdata, item_id=item_id or None, rate=RATE)

    def play(self, item_id: str, pcm: bytes) -> None:
        """Enqueue audio of an item; late audio of an interrupted one is dropped."""
        with self.lock:
            if item_id not in self.stopped:
                self.queue.setdefault(item_id, bytearray()).extend(pcm)

    def stop(self) -> tuple[str, int] | None:
        """Stop at once; return the item that was playing, and how many ms of it were heard."""
        with self.lock:
            item_id = next(iter(self.queue), None)
            self.stopped.update(self.queue)
            self.queue.clear()
        return None if item_id is None else (item_id, self.played[item_id] // 48)


async def speak(connection: Any, call: otel_realtime.Conversation) -> None:
    """Send what the microphone hears."""
    loop, blocks = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def callback(indata: Any, frames: int, time: Any, status: Any) -> None:
        call.record_user_audio(indata, rate=RATE)
        loop.call_soon_threadsafe(blocks.put_nowait, bytes(indata))  # a copy: it is reused

    with sounddevice.RawInputStream(callback=callback, **STREAM):
        while True:
            audio = base64.b64encode(await blocks.get()).decode("ascii")
            await connection.input_audio_buffer.append(audio=audio)


async def listen(connection: Any, speaker: Speaker) -> None:
    """Play what the model says, let the user interrupt it, and run the tool."""
    async for event in connection:
        if event.type == "response.output_audio.delta":
            speaker.play(event.item_id, base64.b64decode(event.delta))
        elif event.type == "input_audio_buffer.speech_started" and (heard := speaker.stop()):
            await connection.conversation.item.truncate(
                item_id=heard[0], content_index=0, audio_end_ms=heard[1]
            )
        elif event.type == "response.done":
            await run_tools(connection, event.response.output or [])
        elif event.type == "error":
            print("error:", event.error.message, flush=True)
        elif event.type in SAID:
            print(SAID[event.type], event.transcript, flush=True)


async def run_tools(connection: Any, output: list[Any]) -> None:
    """Answer the model's function calls, and let it go on."""
    calls = [item for item in output if item.type == "function_call"]
    for call in calls:
        time = {"type": "function_call_output", "output": datetime.now().strftime("%H:%M")}
        await connection.conversation.item.create(item={**time, "call_id": call.call_id})
    if calls:
        await connection.response.create()


async def talk() -> None:
    """Hold one call."""
    async with (
        AsyncOpenAI(websocket_base_url=URL) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
        otel_realtime.conversation(connection, tags=["voice"]) as call,
    ):
        print("trace:", call.trace_id, flush=True)
        await connection.session.update(session=SESSION)
        await connection.response.create()  # the model speaks first
        speaker = Speaker(call)
        with speaker.stream:
            both = asyncio.gather(listen(connection, speaker), speak(connection, call))
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, both.cancel)
            with suppress(asyncio.CancelledError):  # the user hangs up
                await both


def main() -> None:
    """Talk."""
    otel_realtime.configure()  # leave it out if your app sets OpenTelemetry up itself
    otel_realtime.instrument()
    asyncio.run(talk())


if __name__ == "__main__":
    main()
