"""A small voice app on the OpenAI SDK, as anybody would write one. It knows nothing of tracing.

The microphone goes to the model, the model's audio to the speaker. When the user starts to speak
the speaker falls silent and the server is told how much was heard. The model may call a function.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from openai import AsyncOpenAI

from otel_realtime.demo.devices import Speaker

MODEL: Final = "gpt-realtime"
WEATHER: Final[Mapping[str, tuple[float, dict[str, object]]]] = {
    "Paris": (0.15, {"city": "Paris", "celsius": 18, "sky": "sunny", "wind": "light, west"}),
    "Tokyo": (0.25, {"city": "Tokyo", "celsius": 22, "sky": "rain until Friday"}),
}


async def lookup_weather(city: str) -> dict[str, object]:
    """The weather of a city; takes a moment, like a real service."""
    takes_s, weather = WEATHER[city]
    await asyncio.sleep(takes_s)
    return weather


FUNCTIONS: Final[Mapping[str, Callable[..., Awaitable[object]]]] = {
    "lookup_weather": lookup_weather
}
TOOLS: Final = [
    {
        "type": "function",
        "name": "lookup_weather",
        "description": "Look up the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }
]


class VoiceApp:
    """One call between a user and the model.

    Args:
        show: gets a line of text for the screen whenever something was said or done.
        silence_ms: how long the user must be silent before the model answers.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        microphone: AsyncIterator[bytes],
        speaker: Speaker,
        *,
        show: Callable[[str], None] = print,
        silence_ms: int = 500,
    ) -> None:
        self.client = client
        self.microphone = microphone
        self.speaker = speaker
        self.show = show
        self.silence_ms = silence_ms
        self.cut_item: str | None = None

    async def run(self) -> None:
        """Talk until the microphone ends."""
        async with self.client.realtime.connect(model=MODEL) as connection:
            await connection.session.update(session=self.session())  # type: ignore[arg-type]
            sending = asyncio.create_task(self.send_microphone(connection))
            try:
                async for event in connection:
                    handle = self.handlers.get(event.type)
                    if handle is not None:
                        await handle(self, connection, event)
                await sending
            finally:
                sending.cancel()

    def session(self) -> dict[str, object]:
        """The configuration of the session."""
        turn_detection = {"type": "server_vad", "silence_duration_ms": self.silence_ms}
        return {
            "type": "realtime",
            "instructions": "You are a weather assistant. Look the weather up, then answer briefly.",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "turn_detection": turn_detection,
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                },
                "output": {"voice": "marin"},
            },
            "tools": TOOLS,
        }

    async def send_microphone(self, connection: Any) -> None:
        """Append what the microphone hears; hang up when it ends."""
        async for chunk in self.microphone:
            audio = base64.b64encode(chunk).decode("ascii")
            await connection.input_audio_buffer.append(audio=audio)
        await connection.close()

    async def on_audio(self, connection: Any, event: Any) -> None:
        """Play the model's audio, unless its item was cut off already."""
        if event.item_id != self.cut_item:
            self.speaker.play(event.item_id, event.content_index, base64.b64decode(event.delta))

    async def on_speech_started(self, connection: Any, event: Any) -> None:
        """The user speaks: be silent, and tell the server what was heard."""
        cut = self.speaker.stop()
        if cut is None:
            return
        self.cut_item = cut.item_id
        self.show(f"          (interrupted after {cut.played_ms / 1000:.1f} s)")
        await connection.response.cancel()  # answered with a harmless error when it has ended
        await connection.conversation.item.truncate(
            item_id=cut.item_id, content_index=cut.content_index, audio_end_ms=cut.played_ms
        )

    async def on_response_done(self, connection: Any, event: Any) -> None:
        """Run the functions the model called, together, and let it go on."""
        calls = [item for item in event.response.output or [] if item.type == "function_call"]
        if calls:
            await asyncio.gather(*(self.call_function(connection, call) for call in calls))
            await connection.response.create()

    async def call_function(self, connection: Any, call: Any) -> None:
        """Run one function and send what it returns."""
        result = await FUNCTIONS[call.name](**json.loads(call.arguments))
        output = json.dumps(result)
        self.show(f"    tool  {call.name}({call.arguments}) -> {output}")
        item = {"type": "function_call_output", "call_id": call.call_id, "output": output}
        await connection.conversation.item.create(item=item)

    async def on_user_transcript(self, connection: Any, event: Any) -> None:
        """Show what the user said."""
        self.show(f"    user  {event.transcript}")

    async def on_agent_transcript(self, connection: Any, event: Any) -> None:
        """Show what the model says."""
        self.show(f"   agent  {event.transcript}")

    async def on_error(self, connection: Any, event: Any) -> None:
        """Show an error of the server and go on: the call is fine."""
        self.show(f"  server  {event.error.message}")

    handlers: Final[Mapping[str, Callable[[Any, Any, Any], Awaitable[None]]]] = {
        "response.output_audio.delta": on_audio,
        "input_audio_buffer.speech_started": on_speech_started,
        "response.done": on_response_done,
        "conversation.item.input_audio_transcription.completed": on_user_transcript,
        "response.output_audio_transcript.done": on_agent_transcript,
        "error": on_error,
    }
