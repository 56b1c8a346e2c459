"""Runs the call: microphone to model, model to speaker, barge-ins, and the model's tool.

It extends the small app of ``tests/examples/voice_app.py`` with the features that it needs on any
machine: chosen, converted and watched devices, keys, half duplex, words and levels on the screen.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from otel_realtime import Conversation
from otel_realtime.errors import ConfigError
from otel_realtime.talk.devices import NOUNS, Device, Format
from otel_realtime.talk.keys import PushToTalk
from otel_realtime.talk.levels import SILENT_DB
from otel_realtime.talk.microphone import Microphone
from otel_realtime.talk.screen import Meter, Screen
from otel_realtime.talk.speaker import Cut, Speaker
from otel_realtime.talk.stream import BLOCK_MS
from otel_realtime.talk.tools import TOOLS, call_tool

#: ``event_id`` of our ``session.update``, which identifies an error about it.
SESSION_EVENT: Final = "talk-session"
INSTRUCTIONS: Final = (
    "You are a friendly voice assistant. Answer briefly. You can look up the time of day. "
    "Greet the user first, in one short sentence."
)
#: The service rejects a commit of less audio:
#: https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/commit
MIN_COMMIT_MS: Final = 100
#: With ``--half-duplex``, the microphone opens this long after the speaker fell silent, for the room's echo.
ECHO_TAIL_S: Final = 0.3
WATCH_EVERY_S: Final = 0.08
#: A microphone that delivers only zeros for this time is muted, or the app may not access it.
SILENT_ADVICE_S: Final = 5.0
#: This many consecutive answers that were each cut off within this time suggest an echo.
ECHO_CUTS: Final = 2
ECHO_CUT_MS: Final = 2_000
SILENT_ADVICE: Final = (
    "The microphone delivers nothing but silence: is it muted, or the wrong one (--list-devices)? "
    "macOS asks whether the terminal may hear it: Privacy & Security, Microphone."
)
ECHO_ADVICE: Final = (
    "The agent is cut off as soon as it speaks, most likely by its own voice from the speaker: use a "
    "headset, or --half-duplex."
)
TURN_DETECTION: Final[Mapping[str, dict[str, str] | None]] = {
    "server": {"type": "server_vad"},
    "semantic": {"type": "semantic_vad"},
    "none": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the call.

    Attributes:
        voice: the model's voice; ``None``: the service's default.
        instructions: the instructions for the model.
        vad: ``server``, ``semantic``, or ``none``: the user ends turns with a key.
        half_duplex: mute the microphone while the speaker plays.
    """

    voice: str | None
    instructions: str
    vad: str
    half_duplex: bool

    def session(self) -> dict[str, Any]:
        """Return the configuration of the session."""
        output = {} if self.voice is None else {"output": {"voice": self.voice}}
        return {
            "type": "realtime",
            "instructions": self.instructions,
            "audio": {
                "input": {
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": TURN_DETECTION[self.vad],
                },
                **output,
            },
            "tools": TOOLS,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The devices of the call, and the format in which each is opened.

    Attributes:
        portaudio: the module ``sounddevice``.
    """

    portaudio: Any
    microphone: Device
    microphone_format: Format
    speaker: Device
    speaker_format: Format


@dataclass(slots=True)
class Facts:
    """Facts about the call, for the summary.

    Attributes:
        turns: who said what, in the order of the transcripts.
        interruptions: parts of answers that were cut, and how much of each was played.
        tool_calls: how often the tool was called.
        errors: messages of the server's errors.
    """

    turns: list[dict[str, Any]] = field(default_factory=list)
    interruptions: list[Cut] = field(default_factory=list)
    tool_calls: int = 0
    errors: list[str] = field(default_factory=list)


class VoiceCall:
    """One call between the user and the model.

    Args:
        connection: the SDK's connection.
        conversation: records the audio of the devices.
        sound: the devices.
        screen: shows what is said.
        options: the options of the call.
        keys: the push-to-talk keys; ``None``: the service detects speech.
    """

    def __init__(
        self,
        connection: Any,
        conversation: Conversation,
        sound: Sound,
        screen: Screen,
        options: Options,
        keys: PushToTalk | None,
    ) -> None:
        self.connection = connection
        self.speaker = Speaker(
            sound.portaudio,
            sound.speaker,
            sound.speaker_format,
            record=conversation.record_agent_audio,
        )
        self.microphone = Microphone(
            sound.portaudio,
            sound.microphone,
            sound.microphone_format,
            record=conversation.record_user_audio,
            is_open=self.microphone_is_open,
        )
        self.screen = screen
        self.options = options
        self.keys = keys
        self.facts = Facts()
        self._responding = False
        self._words: dict[str, str] = {}
        self._advised: set[str] = set()
        self._early_cuts = 0

    async def run(self) -> None:
        """Hold the call until it is cancelled, or the server ends it.

        Raises:
            DeviceError: a device was lost.
            ConfigError: the server refuses the session.
        """
        session = self.options.session()
        await self.connection.session.update(session=session, event_id=SESSION_EVENT)
        await self.connection.response.create()  # the agent greets
        with self.speaker.stream, self.microphone.stream:
            await _first_of(self.listen(), self.send_microphone(), self.watch())

    # --- what the user says ----------------------------------------------------------------------

    async def send_microphone(self) -> None:
        """Send the microphone's audio; with push-to-talk, only while the microphone is open."""
        append = self.connection.input_audio_buffer.append
        sent_ms = 0
        async for block in self.microphone.blocks():
            if self.keys is None or block.open:
                if self.keys is not None and not sent_ms:
                    await self.interrupt()
                await append(audio=base64.b64encode(block.pcm).decode("ascii"))
                sent_ms += BLOCK_MS
            elif sent_ms:
                await self.finish_turn(sent_ms)
                sent_ms = 0

    async def finish_turn(self, sent_ms: int) -> None:
        """Commit the audio of a push-to-talk turn, and request the model's answer."""
        if sent_ms < MIN_COMMIT_MS:
            await self.connection.input_audio_buffer.clear()
            return
        await self.connection.input_audio_buffer.commit()
        await self.connection.response.create()

    async def interrupt(self) -> None:
        """Stop the agent: first the speaker, then correct the server's record of what was heard.

        https://platform.openai.com/docs/guides/realtime-conversations#interruption-and-truncation
        """
        cuts = self.speaker.stop()
        if self.keys is not None and self._responding:
            await (
                self.connection.response.cancel()
            )  # a server that detects speech cancels by itself
        for cut in cuts:
            await self.cut(cut)

    async def cut(self, cut: Cut) -> None:
        """Tell the server how much of an item was played; an item that was not played is deleted."""
        item = self.connection.conversation.item
        self.facts.interruptions.append(cut)
        if cut.played_ms == 0:
            await item.delete(item_id=cut.item_id)  # the server does not truncate to 0 ms
            return
        await item.truncate(
            item_id=cut.item_id, content_index=cut.content_index, audio_end_ms=cut.played_ms
        )
        self.screen.line("note", f"(interrupted after {cut.played_ms / 1000:.1f} s)")
        self._early_cuts = self._early_cuts + 1 if cut.played_ms < ECHO_CUT_MS else 0
        if self._early_cuts >= ECHO_CUTS and self.keys is None and not self.options.half_duplex:
            self._advise(ECHO_ADVICE)

    # --- what the model says ---------------------------------------------------------------------

    async def listen(self) -> None:
        """Handle the server's events until the connection ends."""
        async for event in self.connection:
            handle = self.handlers.get(event.type)
            if handle is not None:
                await handle(self, event)

    async def on_audio(self, event: Any) -> None:
        """Play the model's audio."""
        self.speaker.play(event.item_id, event.content_index, base64.b64decode(event.delta))

    async def on_audio_done(self, event: Any) -> None:
        """Note that a content part has no further audio."""
        self.speaker.complete(event.item_id, event.content_index)

    async def on_speech_started(self, _event: Any) -> None:
        """Handle a barge-in."""
        await self.interrupt()

    async def on_response_created(self, _event: Any) -> None:
        """Note that a response is in progress, which can be cancelled."""
        self._responding = True

    async def on_response_done(self, event: Any) -> None:
        """Run the functions that the model called, and request its next response."""
        self._responding = False
        response = event.response
        error = getattr(response.status_details, "error", None)
        if response.status == "failed":
            self.on_problem(f"the response failed: {getattr(error, 'message', None) or error}")
        calls = [item for item in response.output or [] if item.type == "function_call"]
        for call in calls:
            result = await asyncio.to_thread(call_tool, call.name, call.arguments)
            self.facts.tool_calls += 1
            self.screen.line("tool", f"{call.name}({call.arguments}) -> {result}")
            item = {"type": "function_call_output", "call_id": call.call_id, "output": result}
            await self.connection.conversation.item.create(item=item)
        if calls:
            await self.connection.response.create()

    async def on_words(self, event: Any) -> None:
        """Show what the user or the agent is saying now."""
        who = "you" if "input" in event.type else "agent"
        self._words[event.item_id] = self._words.get(event.item_id, "") + event.delta
        self.screen.words(who, self._words[event.item_id])

    async def on_user_transcript(self, event: Any) -> None:
        """Show what the user said."""
        self._said("you", event.item_id, event.transcript)

    async def on_agent_transcript(self, event: Any) -> None:
        """Show what the model said."""
        self._said("agent", event.item_id, event.transcript)

    async def on_agent_text(self, event: Any) -> None:
        """Show what the model wrote."""
        self._said("agent", event.item_id, event.text)

    async def on_error(self, event: Any) -> None:
        """Show an error of the server; the session goes on, unless the server refuses the session itself."""
        message = str(event.error.message)
        if event.error.event_id == SESSION_EVENT:
            raise ConfigError(f"the Realtime API refuses the session: {message}")
        self.on_problem(message)

    def on_problem(self, message: str) -> None:
        """Show a problem and add it to the summary."""
        self.facts.errors.append(message)
        self.screen.line("error", message)

    def _said(self, who: str, item_id: str, text: str | None) -> None:
        self._words.pop(item_id, None)
        if text and text.strip():
            self.facts.turns.append({"role": "user" if who == "you" else "assistant", "text": text})
            self.screen.line(who, text.strip())

    # --- devices ---------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Show the levels, and check that the devices still work."""
        started_s = time.monotonic()
        while True:
            self.microphone.stream.check()
            self.speaker.stream.check()
            self.screen.meters(*self.meters())
            heard = self.microphone.level.peak_db > SILENT_DB
            if not heard and time.monotonic() - started_s > SILENT_ADVICE_S:
                self._advise(SILENT_ADVICE)
            await asyncio.sleep(WATCH_EVERY_S)

    def meters(self) -> tuple[Meter, Meter]:
        """Return the state of both devices, for the screen."""
        microphone, speaker = self.microphone, self.speaker
        overruns, underruns = microphone.stream.xruns, speaker.stream.xruns
        return (
            Meter(
                label=f"{NOUNS['input']} {microphone.stream.device.name}",
                level_db=microphone.level.now_db,
                open=self.microphone_is_open(),
                losses=counted(overruns, "overrun"),
            ),
            Meter(
                label=f"{NOUNS['output']} {speaker.stream.device.name}",
                level_db=speaker.level.now_db,
                losses=counted(underruns, "underrun"),
            ),
        )

    def microphone_is_open(self) -> bool:
        """Return whether the microphone's audio is sent and recorded; safe in any thread."""
        if self.keys is not None and not self.keys.open:
            return False
        return not self.options.half_duplex or self.speaker.quiet_for_s > ECHO_TAIL_S

    def _advise(self, text: str) -> None:
        if text not in self._advised:
            self._advised.add(text)
            self.screen.line("note", text)

    handlers: ClassVar[Mapping[str, Callable[[Any, Any], Awaitable[None]]]] = {
        "response.output_audio.delta": on_audio,
        "response.output_audio.done": on_audio_done,
        "input_audio_buffer.speech_started": on_speech_started,
        "response.created": on_response_created,
        "response.done": on_response_done,
        "response.output_audio_transcript.delta": on_words,
        "conversation.item.input_audio_transcription.delta": on_words,
        "conversation.item.input_audio_transcription.completed": on_user_transcript,
        "response.output_audio_transcript.done": on_agent_transcript,
        "response.output_text.done": on_agent_text,
        "error": on_error,
    }


def counted(number: int, noun: str) -> str:
    """Return a text such as ``3 underruns``; empty for 0."""
    return "" if not number else f"{number} {noun}" + ("" if number == 1 else "s")


async def _first_of(*parts: Awaitable[None]) -> None:
    """Run all until one ends, then cancel the others; raises the exception of the one that ended."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
