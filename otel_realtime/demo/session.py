"""One session of the scripted Realtime server: the protocol, without a connection.

``Session.receive`` handles the client's frames. Events are passed to ``send``, and work that takes
time is passed to ``run`` as a generator of waits, so this module uses no socket and no clock.

Client events: https://platform.openai.com/docs/api-reference/realtime-client-events
Server events: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_realtime.demo.g711 import to_pcm
from otel_realtime.demo.generation import Response, ResponseOptions, transcript_deltas
from otel_realtime.demo.items import (
    Item,
    ItemList,
    Tokens,
    item_tokens,
    text_tokens,
    transcription_usage,
)
from otel_realtime.demo.scenario import Scenario
from otel_realtime.demo.speech import BYTES_PER_MS
from otel_realtime.demo.vad import Detector, SpeechStarted
from otel_realtime.demo.wire import (
    RESPONSE_KEYS,
    Json,
    RequestError,
    check_event,
    check_format,
    check_item,
    check_keys,
    new_id,
    new_session,
    parse,
    updated_session,
)

#: Cancels a generator of waits that ``run`` has started.
Cancel = Callable[[], object]
#: The service rejects a commit of less audio.
MIN_COMMIT_MS: Final = 100
#: Time between two deltas of an input transcription.
TRANSCRIPT_STEP_MS: Final = 20


class Session:
    """The server's side of one session.

    Args:
        scenario: what the user's utterances and the model's responses say.
        send: called with each server event, in order.
        run: runs a generator of waits (milliseconds) in the background; returns how to cancel it.
        kind: ``realtime`` or ``transcription``.
        model: the model that the client named.
        expires_at: ``session.expires_at``, seconds since the Unix epoch.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        send: Callable[[Json], None],
        run: Callable[[Iterator[float]], Cancel],
        kind: str,
        model: str,
        expires_at: int,
    ) -> None:
        self.scenario = scenario
        self.items = ItemList()
        self.session = new_session(
            kind=kind,
            model=model,
            voice=scenario.voice,
            instructions=scenario.instructions,
            vad=scenario.turn_detection,
            expires_at=expires_at,
        )
        self.conversation_id = new_id("conv")
        self._send = send
        self._run = run
        #: Responses in progress by id, each with its cancel function.
        self._running: dict[str, tuple[Response, Cancel]] = {}
        self._response_count = 0
        self._utterance_count = 0
        #: Input tokens of the last response: the prefix that the prompt cache may hold.
        self._last_input_tokens = Tokens()
        #: A turn ended while a response was active; it is answered when that response ends.
        self._response_due = False
        self._buffer = bytearray()
        #: Position of the buffer's first sample in the audio of the whole session.
        self._buffer_start_ms = 0
        self._speech_item_id = ""
        self._speech_start_ms = 0
        self._detector = self._new_detector(0)

    def start(self) -> None:
        """Send ``session.created``."""
        self.emit("session.created", session=self.session)

    def receive(self, frame: str | bytes) -> None:
        """Handle a frame of the client; an invalid one is answered with an ``error`` event."""
        event: Json = {}
        try:
            event = parse(frame)
            check_event(event)
            _HANDLERS[event["type"]](self, event)
        except RequestError as error:
            self.emit("error", **error.event(event.get("event_id")))

    def emit(self, event_type: str, **fields: object) -> None:
        """Send an event to the client."""
        self._send({"type": event_type, "event_id": new_id("event"), **fields})

    # --- called by a response --------------------------------------------------------------------

    def open_item(self, item: Item) -> None:
        """Add an output item to the conversation and announce it."""
        previous_id = self.items.add(item)
        self.emit("conversation.item.added", previous_item_id=previous_id, item=item.to_wire())

    def close_item(self, item: Item) -> None:
        """Announce that an output item is done."""
        # As in recorded sessions: the service sends no previous_item_id for output items.
        self.emit("conversation.item.done", previous_item_id=None, item=item.to_wire())

    def response_ended(self, response: Response) -> None:
        """Remove the response, and start the next one if a turn waits for it."""
        self._running.pop(response.id, None)
        if self.scenario.rate_limits:
            limit = {
                "name": "tokens",
                "limit": 15_000_000,
                "remaining": 14_999_000,
                "reset_seconds": 0.004,
            }
            self.emit("rate_limits.updated", rate_limits=[limit])
        if self._response_due and self._active_response() is None:
            self._response_due = False
            self._start_response({})

    # --- session configuration -------------------------------------------------------------------

    def _update(self, event: Json) -> None:
        before = self._turn_detection()
        self.session = updated_session(self.session, event["session"])
        # An unchanged detector keeps its state: an update in mid-speech must not lose the turn.
        if self._turn_detection() != before:
            self._detector = self._new_detector(self._appended_ms())
        self.emit("session.updated", session=self.session)

    def _turn_detection(self) -> Json | None:
        turn_detection: Json | None = self.session["audio"]["input"]["turn_detection"]
        return turn_detection

    def _new_detector(self, appended_ms: int) -> Detector:
        vad = self._turn_detection() or {}
        known = ("threshold", "prefix_padding_ms", "silence_duration_ms")
        return Detector(**{key: vad[key] for key in known if key in vad}, appended_ms=appended_ms)

    # --- input audio -----------------------------------------------------------------------------

    def _appended_ms(self) -> int:
        """Return the length of the audio appended in the whole session."""
        return self._buffer_start_ms + len(self._buffer) // BYTES_PER_MS

    def _append(self, event: Json) -> None:
        pcm = self._decode(event["audio"])
        self._buffer += pcm
        vad = self._turn_detection()
        if vad is None:
            return
        for change in self._detector.feed(pcm):
            if isinstance(change, SpeechStarted):
                self._speech_started(change.audio_start_ms, vad)
            else:
                self._speech_stopped(change.audio_end_ms, vad)
        if not self._detector.speaking:
            # Silence before the next turn's prefix is never committed; one second is a margin.
            self._discard_before(self._appended_ms() - vad["prefix_padding_ms"] - 1000)

    def _decode(self, text: object) -> bytes:
        """Return base64 audio in the session's input format as PCM16 at 24 kHz."""
        return to_pcm(_decode_base64(text), self.session["audio"]["input"]["format"])

    def _speech_started(self, audio_start_ms: int, vad: Json) -> None:
        self._speech_item_id = new_id("item")
        self._speech_start_ms = audio_start_ms
        self.emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=audio_start_ms,
            item_id=self._speech_item_id,
        )
        active = self._active_response()
        if active is not None and vad["interrupt_response"]:
            self._cancel(active, "turn_detected")

    def _speech_stopped(self, audio_end_ms: int, vad: Json) -> None:
        self.emit(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=audio_end_ms,
            item_id=self._speech_item_id,
        )
        self._discard_before(self._speech_start_ms)
        self._commit_up_to(audio_end_ms, self._speech_item_id)
        if not vad["create_response"] or self.session["type"] == "transcription":
            return
        if self._active_response() is None:
            self._start_response({})
        else:
            self._response_due = True

    def _discard_before(self, position_ms: int) -> None:
        excess = (position_ms - self._buffer_start_ms) * BYTES_PER_MS
        if excess > 0:
            del self._buffer[:excess]
            self._buffer_start_ms = position_ms

    def _commit_up_to(self, end_ms: int, item_id: str) -> None:
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
        previous_id = self.items.add(item)
        self.emit("input_audio_buffer.committed", previous_item_id=previous_id, item_id=item_id)
        self._announce(item, previous_id)
        transcription = self.session["audio"]["input"]["transcription"]
        if transcription is not None:
            text = self.scenario.user_transcript(self._utterance_count)
            self._run(self._transcribe(item, text, str(transcription["model"])))
        self._utterance_count += 1

    def _announce(self, item: Item, previous_id: str | None) -> None:
        self.emit("conversation.item.added", previous_item_id=previous_id, item=item.to_wire())
        self.emit("conversation.item.done", previous_item_id=previous_id, item=item.to_wire())

    def _transcribe(self, item: Item, text: str, model: str) -> Iterator[float]:
        address = {"item_id": item.id, "content_index": 0}
        prefix = "conversation.item.input_audio_transcription"
        yield self.scenario.transcription_delay_ms
        if self.scenario.transcription_fails:
            error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
            message = "The audio could not be transcribed."
            self.emit(f"{prefix}.failed", **address, error={**error, "message": message})
            return
        for word in transcript_deltas(text):
            self.emit(f"{prefix}.delta", **address, delta=word)
            yield TRANSCRIPT_STEP_MS
        item.body["content"][0]["transcript"] = text
        usage = transcription_usage(model, item.audio_ms, text)
        self.emit(f"{prefix}.completed", **address, transcript=text, usage=usage)

    def _commit(self, event: Json) -> None:
        buffered_ms = len(self._buffer) / BYTES_PER_MS
        if buffered_ms < MIN_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {buffered_ms:.2f}ms of audio."
            )
            raise RequestError("input_audio_buffer_commit_empty", message)
        self._commit_up_to(self._appended_ms(), new_id("item"))
        self._detector = self._new_detector(self._appended_ms())

    def _clear(self, event: Json) -> None:
        self._discard_before(self._appended_ms())
        self._detector = self._new_detector(self._appended_ms())
        self.emit("input_audio_buffer.cleared")

    # --- items -----------------------------------------------------------------------------------

    def _create_item(self, event: Json) -> None:
        body = check_item(event["item"])
        if body["type"] == "function_call_output" and not self.items.has_function_call(
            body["call_id"]
        ):
            message = f"Tool call ID '{body['call_id']}' not found in conversation."
            raise RequestError("invalid_tool_call_id", message, "item.call_id")
        parts = [dict(part) for part in body.get("content", ())]
        audio = b"".join(self._decode(part.pop("audio", "")) for part in parts)
        wire: Json = {"id": body.get("id") or new_id("item"), "type": body["type"]}
        if body["type"] != "function_call_output":
            wire["status"] = "completed"
        wire.update({key: value for key, value in body.items() if key not in ("id", "type")})
        if parts:
            wire["content"] = parts
        item = Item(wire, bytearray(audio))
        self._announce(item, self.items.add(item, event.get("previous_item_id")))

    def _retrieve_item(self, event: Json) -> None:
        item = self.items.get(event["item_id"], "retrieving")
        wire = item.to_wire_with_audio(self.session["audio"])
        self.emit("conversation.item.retrieved", item=wire)

    def _delete_item(self, event: Json) -> None:
        self.items.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _truncate_item(self, event: Json) -> None:
        truncation = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.items.truncate(**truncation)
        self.emit("conversation.item.truncated", **truncation)

    # --- responses -------------------------------------------------------------------------------

    def _active_response(self) -> Response | None:
        """Return the response in progress, out-of-band responses aside."""
        for response, _ in self._running.values():
            if response.options.conversation_id is not None:
                return response
        return None

    def _create_response(self, event: Json) -> None:
        overrides = check_keys(event.get("response") or {}, RESPONSE_KEYS, "response")
        active = self._active_response()
        if active is not None and overrides.get("conversation") != "none":
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise RequestError("conversation_already_has_active_response", message)
        self._start_response(overrides)

    def _start_response(self, overrides: Mapping[str, Any]) -> None:
        """Start the scenario's next answer.

        Args:
            overrides: the ``response`` object of ``response.create``.
        """
        out_of_band = overrides.get("conversation") == "none"
        input_tokens = self._context_tokens(overrides)
        output_overrides = overrides.get("audio", {}).get("output", {})
        output = {
            **self.session["audio"]["output"],
            **{key: value for key, value in output_overrides.items() if value},
        }
        session = self.session
        options = ResponseOptions(
            modalities=tuple(overrides.get("output_modalities") or session["output_modalities"]),
            conversation_id=None if out_of_band else self.conversation_id,
            voice=output["voice"],
            audio_format=check_format(output["format"], "response.audio.output.format"),
            max_output_tokens=overrides.get("max_output_tokens") or session["max_output_tokens"],
            metadata=overrides.get("metadata"),
            input_tokens=input_tokens,
            cached_tokens=self._last_input_tokens.cached(),
        )
        if not out_of_band:
            self._last_input_tokens = input_tokens
        scenario = self.scenario
        response = Response(
            scenario.answer(self._response_count),
            options,
            self,
            delay_ms=scenario.answer_delay_ms,
            delta_ms=scenario.delta_ms,
            pace=scenario.audio_pace,
        )
        self._response_count += 1
        steps = response.steps()
        # The first step is taken here, so that response.created precedes any other event.
        first_wait_ms = next(steps)
        self._running[response.id] = (response, self._run(_resume(first_wait_ms, steps)))

    def _context_tokens(self, overrides: Mapping[str, Any]) -> Tokens:
        instructions = overrides.get("instructions") or self.session["instructions"] or ""
        tokens = Tokens(text_tokens(f"{instructions}{self.session['tools'] or ''}"))
        if overrides.get("input") is not None:
            return tokens + Tokens(text_tokens(str(overrides["input"])))
        for item in self.items:
            tokens += item_tokens(item)
        return tokens

    def _cancel(self, response: Response, reason: str) -> None:
        _, cancel = self._running[response.id]
        cancel()
        response.cancel(reason)

    def _cancel_response(self, event: Json) -> None:
        response_id = event.get("response_id")
        response = (
            self._active_response()
            if response_id is None
            else self._running.get(response_id, (None, None))[0]
        )
        if response is None:
            message = "Cancellation failed: no active response found"
            raise RequestError("response_cancel_not_active", message)
        self._cancel(response, "client_cancelled")


def _decode_base64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        message = "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz)."
        raise RequestError("invalid_value", message, "audio") from None


def _resume(first_wait_ms: float, steps: Iterator[float]) -> Iterator[float]:
    """Yield the wait of a step that was taken already, then the remaining steps."""
    yield first_wait_ms
    yield from steps


_HANDLERS: Final[Mapping[str, Callable[[Session, Json], None]]] = {
    "session.update": Session._update,
    "input_audio_buffer.append": Session._append,
    "input_audio_buffer.commit": Session._commit,
    "input_audio_buffer.clear": Session._clear,
    "conversation.item.create": Session._create_item,
    "conversation.item.retrieve": Session._retrieve_item,
    "conversation.item.delete": Session._delete_item,
    "conversation.item.truncate": Session._truncate_item,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
