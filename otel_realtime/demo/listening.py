"""Handles the user's audio on the scripted server: buffer, voice activity, turns, transcripts.

Events: https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from otel_realtime.demo.g711 import to_pcm
from otel_realtime.demo.generation import transcript_deltas
from otel_realtime.demo.items import Item, ItemList, transcription_usage
from otel_realtime.demo.scenario import Scenario
from otel_realtime.demo.speech import BYTES_PER_MS
from otel_realtime.demo.vad import Detector, SpeechStarted
from otel_realtime.demo.wire import Json, RequestError, new_id

#: Cancels a generator of waits that ``run`` has started.
Cancel = Callable[[], object]
#: The service rejects a commit of less audio.
MIN_COMMIT_MS: Final = 100
#: Time between two deltas of an input transcription.
TRANSCRIPT_STEP_MS: Final = 20
#: Silence kept in the buffer beyond what the next turn's prefix needs.
MARGIN_MS: Final = 1000


class ListeningSession(Protocol):
    """The part of a session that its input audio uses."""

    scenario: Scenario
    session: Json
    items: ItemList

    def emit(self, event_type: str, **fields: object) -> None:
        """Send an event to the client."""

    def run(self, steps: Iterator[float]) -> Cancel:
        """Run a generator of waits (milliseconds) in the background."""

    def announce(self, item: Item, previous_id: str | None) -> None:
        """Announce a new item that is complete."""

    def user_started(self) -> None:
        """Handle the start of the user's speech, which may interrupt a response."""

    def user_finished(self) -> None:
        """Answer the user's turn, or the user's silence."""


class InputAudio:
    """The input audio buffer of one session.

    Args:
        session: the session it belongs to.
    """

    def __init__(self, session: ListeningSession) -> None:
        self._session = session
        self._buffer = bytearray()
        #: Position of the buffer's first sample in the audio of the whole session.
        self._buffer_start_ms = 0
        self._utterance_count = 0
        self._speech_item_id = ""
        self._speech_start_ms = 0
        self._detector = self._new_detector(0)
        self._cancel_idle: Cancel | None = None

    @property
    def turn_detection(self) -> Json | None:
        """The session's turn detection; None if the client commits."""
        turn_detection: Json | None = self._session.session["audio"]["input"]["turn_detection"]
        return turn_detection

    def reconfigured(self) -> None:
        """Apply a changed turn detection."""
        self._detector = self._new_detector(self._appended_ms())

    def append(self, event: Json) -> None:
        """Handle ``input_audio_buffer.append``."""
        pcm = self.decode(event["audio"])
        self._buffer += pcm
        vad = self.turn_detection
        if vad is None:
            return
        for change in self._detector.feed(pcm):
            if isinstance(change, SpeechStarted):
                self._speech_started(change.audio_start_ms)
            else:
                self._speech_stopped(change.audio_end_ms)
        if not self._detector.speaking:
            # Silence before the next turn's prefix is never committed, except by an idle timeout.
            kept_ms = max(vad["prefix_padding_ms"], vad.get("idle_timeout_ms") or 0) + MARGIN_MS
            self._discard_before(self._appended_ms() - kept_ms)

    def commit(self, event: Json) -> None:
        """Handle ``input_audio_buffer.commit``.

        Raises:
            RequestError: the buffer is too short.
        """
        buffered_ms = len(self._buffer) / BYTES_PER_MS
        if buffered_ms < MIN_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {buffered_ms:.2f}ms of audio."
            )
            raise RequestError("input_audio_buffer_commit_empty", message)
        self._transcribed(self._commit_up_to(self._appended_ms(), new_id("item")))
        self._detector = self._new_detector(self._appended_ms())

    def clear(self, event: Json) -> None:
        """Handle ``input_audio_buffer.clear``."""
        self._discard_before(self._appended_ms())
        self._detector = self._new_detector(self._appended_ms())
        self._session.emit("input_audio_buffer.cleared")

    def decode(self, text: object) -> bytes:
        """Return base64 audio in the session's input format as PCM16 at 24 kHz.

        Raises:
            RequestError: the text is not base64.
        """
        return to_pcm(_decode_base64(text), self._session.session["audio"]["input"]["format"])

    # --- nobody speaks ---------------------------------------------------------------------------

    def start_idle_timer(self, unplayed_ms: float) -> None:
        """Wait for the user after a response whose audio the client still plays for ``unplayed_ms``.

        https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/timeout_triggered
        """
        self.stop_idle_timer()
        idle_ms = (self.turn_detection or {}).get("idle_timeout_ms")
        if idle_ms and not self._detector.speaking:
            self._cancel_idle = self._session.run(self._wait_for_user(unplayed_ms, idle_ms))

    def stop_idle_timer(self) -> None:
        """Stop waiting, because the user or the agent speaks or is about to."""
        cancel, self._cancel_idle = self._cancel_idle, None
        if cancel is not None:
            cancel()

    def _wait_for_user(self, unplayed_ms: float, idle_ms: int) -> Iterator[float]:
        yield unplayed_ms + idle_ms
        # The wait must not be cancelled from here on; the response below would otherwise cancel it.
        self._cancel_idle = None
        end_ms = self._appended_ms()
        start_ms = max(self._buffer_start_ms, end_ms - idle_ms)
        item_id = new_id("item")
        self._session.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=start_ms,
            audio_end_ms=end_ms,
            item_id=item_id,
        )
        self._discard_before(start_ms)
        # Silence has no transcript.
        self._commit_up_to(end_ms, item_id)
        self._session.user_finished()

    # --- turns -----------------------------------------------------------------------------------

    def _new_detector(self, appended_ms: int) -> Detector:
        vad = self.turn_detection or {}
        known = ("threshold", "prefix_padding_ms", "silence_duration_ms")
        return Detector(**{key: vad[key] for key in known if key in vad}, appended_ms=appended_ms)

    def _appended_ms(self) -> int:
        """Return the length of the audio appended in the whole session."""
        return self._buffer_start_ms + len(self._buffer) // BYTES_PER_MS

    def _speech_started(self, audio_start_ms: int) -> None:
        self.stop_idle_timer()
        self._speech_item_id = new_id("item")
        self._speech_start_ms = audio_start_ms
        self._session.emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=audio_start_ms,
            item_id=self._speech_item_id,
        )
        self._session.user_started()

    def _speech_stopped(self, audio_end_ms: int) -> None:
        self._session.emit(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=audio_end_ms,
            item_id=self._speech_item_id,
        )
        self._discard_before(self._speech_start_ms)
        self._transcribed(self._commit_up_to(audio_end_ms, self._speech_item_id))
        self._session.user_finished()

    def _discard_before(self, position_ms: int) -> None:
        excess = (position_ms - self._buffer_start_ms) * BYTES_PER_MS
        if excess > 0:
            del self._buffer[:excess]
            self._buffer_start_ms = position_ms

    def _commit_up_to(self, end_ms: int, item_id: str) -> Item:
        """Create a user item of the buffered audio up to a position in the session's audio."""
        audio = self._buffer[: (end_ms - self._buffer_start_ms) * BYTES_PER_MS]
        self._discard_before(end_ms)
        content = [{"type": "input_audio", "transcript": None}]
        body = {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": content,
        }
        item = Item(body, audio)
        session = self._session
        previous_id = session.items.add(item)
        session.emit("input_audio_buffer.committed", previous_item_id=previous_id, item_id=item_id)
        session.announce(item, previous_id)
        return item

    def _transcribed(self, item: Item) -> None:
        """Start transcribing what the user said, if the session has transcription."""
        transcription = self._session.session["audio"]["input"]["transcription"]
        if transcription is not None:
            text = self._session.scenario.user_transcript(self._utterance_count)
            self._session.run(self._transcribe(item, text, str(transcription["model"])))
        self._utterance_count += 1

    def _transcribe(self, item: Item, text: str, model: str) -> Iterator[float]:
        scenario, emit = self._session.scenario, self._session.emit
        address = {"item_id": item.id, "content_index": 0}
        prefix = "conversation.item.input_audio_transcription"
        yield scenario.transcription_delay_ms
        if scenario.transcription_fails:
            error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
            message = "The audio could not be transcribed."
            emit(f"{prefix}.failed", **address, error={**error, "message": message})
            return
        for word in transcript_deltas(text):
            emit(f"{prefix}.delta", **address, delta=word)
            yield TRANSCRIPT_STEP_MS
        item.body["content"][0]["transcript"] = text
        usage = transcription_usage(model, item.audio_ms, text)
        emit(f"{prefix}.completed", **address, transcript=text, usage=usage)


def _decode_base64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        message = "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz)."
        raise RequestError("invalid_value", message, "audio") from None
