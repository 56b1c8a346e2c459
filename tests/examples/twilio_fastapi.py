"""A phone number that the Realtime API answers: Twilio media streams, bridged with FastAPI.

::

    pip install otel-realtime fastapi uvicorn
    export OPENAI_API_KEY=sk-... LANGSMITH_TRACING=true LANGSMITH_API_KEY=lsv2_...
    python twilio_fastapi.py

Let the number's webhook for incoming calls be ``https://YOUR-HOST/incoming-call``.

Twilio plays what it gets from a buffer of its own, in real time. A ``mark`` after each piece of audio
comes back when the caller has heard that far. ``MediaStream`` keeps count: the recording and the
model's own idea of the conversation both end an interrupted answer where the caller cut it off.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from openai import AsyncOpenAI

import otel_realtime
from otel_realtime.twilio import MediaStream

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1")
MODEL = "gpt-realtime"
PHONE_AUDIO = {"type": "audio/pcmu"}
SESSION: Any = {
    "type": "realtime",
    "instructions": "You answer the phone of a bakery. Be brief and friendly.",
    "audio": {
        "input": {
            "format": PHONE_AUDIO,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": PHONE_AUDIO},
    },
}
logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Trace every call; deliver what is under way before the server goes down."""
    # Leave it out if your app sets OpenTelemetry up itself. The SDK reads files: not on the loop.
    await asyncio.to_thread(otel_realtime.configure)
    otel_realtime.instrument()
    yield
    await asyncio.to_thread(otel_realtime.shutdown)


app = FastAPI(lifespan=lifespan)


@app.api_route("/incoming-call", methods=["GET", "POST"])
async def incoming_call(request: Request) -> Response:
    """Answer Twilio's webhook: stream this call to us. In production, check its signature first."""
    url = quoteattr(f"wss://{request.headers['host']}/media-stream")
    twiml = f"<Response><Connect><Stream url={url}/></Connect></Response>"
    return Response(twiml, media_type="text/xml")


@app.websocket("/media-stream")
async def media_stream(twilio: WebSocket) -> None:
    """Bridge one phone call."""
    await twilio.accept()
    start = await stream_start(twilio)
    async with (
        AsyncOpenAI(websocket_base_url=URL) as client,
        client.realtime.connect(model=MODEL) as connection,
        otel_realtime.conversation(
            connection, thread_id=start["callSid"], tags=["phone"]
        ) as conversation,
    ):
        call = PhoneCall(twilio, start["streamSid"], connection, MediaStream(conversation))
        await connection.session.update(session=SESSION)
        await connection.response.create()  # the agent speaks first
        await until_one_ends(call.caller_to_model(), call.model_to_caller())


async def stream_start(twilio: WebSocket) -> dict[str, Any]:
    """Wait for the message that names the call and the stream."""
    while True:
        message = await twilio.receive_json()
        if message["event"] == "start":
            return dict(message["start"])


class PhoneCall:
    """Both directions of one call."""

    def __init__(
        self, twilio: WebSocket, stream_sid: str, connection: Any, stream: MediaStream
    ) -> None:
        self.twilio = twilio
        self.stream_sid = stream_sid
        self.connection = connection
        self.stream = stream

    async def caller_to_model(self) -> None:
        """Pass on what the caller says until Twilio hangs up."""
        async for text in self.twilio.iter_text():
            message = json.loads(text)
            self.stream.received(message)  # marks: what the caller has heard
            if message["event"] == "media":
                audio = message["media"]["payload"]
                await self.connection.input_audio_buffer.append(audio=audio)
            elif message["event"] == "stop":
                return

    async def model_to_caller(self) -> None:
        """Pass on what the model says, and stop it when the caller begins to speak."""
        async for event in self.connection:
            if event.type == "response.output_audio.delta":
                await self.play(event)
            elif event.type == "input_audio_buffer.speech_started":
                await self.stop_playing()
            elif event.type == "error":
                logger.warning("the Realtime API reports: %s", event.error.message)

    async def play(self, event: Any) -> None:
        """Send a piece of audio, and a mark that comes back when the caller has heard it."""
        await self.send("media", media={"payload": event.delta})
        name = self.stream.mark(event.item_id, event.content_index, event.delta)
        await self.send("mark", mark={"name": name})

    async def stop_playing(self) -> None:
        """Empty Twilio's buffer, and tell the model how much of its answer was heard."""
        await self.send("clear")
        playing = self.stream.clear()
        if playing is not None:
            await self.connection.conversation.item.truncate(
                item_id=playing.item_id,
                content_index=playing.content_index,
                audio_end_ms=playing.audio_ms,
            )

    async def send(self, event: str, **fields: Any) -> None:
        """Send one message to Twilio."""
        await self.twilio.send_json({"event": event, "streamSid": self.stream_sid, **fields})


async def until_one_ends(*directions: Any) -> None:
    """Run both directions until one ends; its exception, if any, ends the call."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Serve until stopped."""
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8000")))


if __name__ == "__main__":
    main()
