"""A small voice app on the OpenAI SDK, written like any other app. It contains no tracing code.

Microphone audio goes to the model and the model's audio to the speaker. When the user starts to
speak, the app stops the speaker and reports how much was played. The model may call a function.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openai import AsyncOpenAI

from otel_realtime.demo.devices import Speaker

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import (
        ConversationItemInputAudioTranscriptionCompletedEvent,
        InputAudioBufferSpeechStartedEvent,
        RealtimeConversationItemFunctionCall,
        RealtimeConversationItemFunctionCallOutputParam,
        RealtimeErrorEvent,
        ResponseAudioDeltaEvent,
        ResponseAudioTranscriptDoneEvent,
        ResponseDoneEvent,
    )

MODEL: Final = "gpt-realtime"
#: City -> how long the lookup takes in seconds, and its result.
WEATHER: Final[Mapping[str, tuple[float, dict[str, object]]]] = {
    "Paris": (0.15, {"city": "Paris", "celsius": 18, "sky": "sunny", "wind": "light, west"}),
    "Tokyo": (0.25, {"city": "Tokyo", "celsius": 22, "sky": "rain until Friday"}),
}


async def lookup_weather(city: str) -> dict[str, object]:
    """Return the weather of a city, after a delay like that of a real service."""
    delay_s, weather = WEATHER[city]
    await asyncio.sleep(delay_s)
    return weather


FUNCTIONS: Final[Mapping[str, Callable[..., Awaitable[object]]]] = {
    "lookup_weather": lookup_weather
}
#: ``FUNCTIONS`` as the session declares them to the model.
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
        client: the OpenAI client to connect with.
        microphone: yields chunks of PCM16 mono at 24 kHz; the call ends when it does.
        speaker: plays the model's audio.
        show: called with a line of text for the screen whenever something was said or done.
        silence_ms: how long the user must be silent before the model responds.
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
        self.interrupted_item_id: str | None = None

    async def run(self) -> None:
        """Run the call until the microphone ends."""
        async with self.client.realtime.connect(model=MODEL) as connection:
            await connection.session.update(session=self.session())  # type: ignore[arg-type]
            sending = asyncio.create_task(self.send_microphone(connection))
            try:
                async for event in connection:
                    handle = self.handlers.get(event.type)
                    if handle is not None:
                        await handle(self, connection, event)
                # Raises the error that ended the sender, if there was one.
                await sending
            finally:
                sending.cancel()

    def session(self) -> dict[str, object]:
        """Return the configuration of the session."""
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

    async def send_microphone(self, connection: AsyncRealtimeConnection) -> None:
        """Send the microphone's audio; close the connection when it ends."""
        async for chunk in self.microphone:
            audio = base64.b64encode(chunk).decode("ascii")
            await connection.input_audio_buffer.append(audio=audio)
        await connection.close()

    async def on_audio(
        self, connection: AsyncRealtimeConnection, event: ResponseAudioDeltaEvent
    ) -> None:
        """Play the model's audio."""
        # The server generates faster than real time, so deltas of an item may still arrive after
        # the user interrupted it.
        if event.item_id != self.interrupted_item_id:
            self.speaker.play(event.item_id, event.content_index, base64.b64decode(event.delta))

    async def on_speech_started(
        self, connection: AsyncRealtimeConnection, event: InputAudioBufferSpeechStartedEvent
    ) -> None:
        """Handle a barge-in: stop playback and truncate the item to what was played.

        https://platform.openai.com/docs/guides/realtime-conversations#interruption-and-truncation
        """
        stopped = self.speaker.stop()
        if stopped is None:
            return
        self.interrupted_item_id = stopped.item_id
        self.show(f"          (interrupted after {stopped.played_ms / 1000:.1f} s)")
        # If the response has ended, the server answers with an error, which does no harm.
        await connection.response.cancel()
        await connection.conversation.item.truncate(
            item_id=stopped.item_id,
            content_index=stopped.content_index,
            audio_end_ms=stopped.played_ms,
        )

    async def on_response_done(
        self, connection: AsyncRealtimeConnection, event: ResponseDoneEvent
    ) -> None:
        """Run the functions that the model called, concurrently, and request the next response."""
        calls = [item for item in event.response.output or [] if item.type == "function_call"]
        if calls:
            await asyncio.gather(*(self.call_function(connection, call) for call in calls))
            await connection.response.create()

    async def call_function(
        self, connection: AsyncRealtimeConnection, call: RealtimeConversationItemFunctionCall
    ) -> None:
        """Run one function and send its result."""
        result = await FUNCTIONS[call.name](**json.loads(call.arguments))
        output = json.dumps(result)
        self.show(f"    tool  {call.name}({call.arguments}) -> {output}")
        item: RealtimeConversationItemFunctionCallOutputParam = {
            "type": "function_call_output",
            "call_id": call.call_id or "",
            "output": output,
        }
        await connection.conversation.item.create(item=item)

    async def on_user_transcript(
        self,
        connection: AsyncRealtimeConnection,
        event: ConversationItemInputAudioTranscriptionCompletedEvent,
    ) -> None:
        """Show what the user said."""
        self.show(f"    user  {event.transcript}")

    async def on_agent_transcript(
        self, connection: AsyncRealtimeConnection, event: ResponseAudioTranscriptDoneEvent
    ) -> None:
        """Show what the model said."""
        self.show(f"   agent  {event.transcript}")

    async def on_error(
        self, connection: AsyncRealtimeConnection, event: RealtimeErrorEvent
    ) -> None:
        """Show an error of the server; the session goes on."""
        self.show(f"  server  {event.error.message}")

    #: Any: each handler takes the event of its own type.
    handlers: ClassVar[
        Mapping[str, Callable[[Any, AsyncRealtimeConnection, Any], Awaitable[None]]]
    ] = {
        "response.output_audio.delta": on_audio,
        "input_audio_buffer.speech_started": on_speech_started,
        "response.done": on_response_done,
        "conversation.item.input_audio_transcription.completed": on_user_transcript,
        "response.output_audio_transcript.done": on_agent_transcript,
        "error": on_error,
    }
