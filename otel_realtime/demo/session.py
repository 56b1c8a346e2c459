"""One session of the scripted Realtime server: what a connection sees, without the connection.

``Session.receive`` takes the client's frames; events go out through ``send`` and work that takes
time is handed to ``run`` as a generator of waits. So this file knows no socket and no clock.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_realtime.demo.g711 import to_pcm
from otel_realtime.demo.generation import Options, Response, spoken_words
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

Stop = Callable[[], None]
LEAST_COMMIT_MS: Final = 100
TRANSCRIPT_STEP_MS: Final = 20


class Session:
    """The server's side of one conversation.

    Args:
        send: takes each server event, in order.
        run: runs a generator of waits (milliseconds) in the background; returns how to stop it.
        kind: ``realtime`` or ``transcription``.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        send: Callable[[Json], None],
        run: Callable[[Iterator[float]], Stop],
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
        self._running: dict[str, tuple[Response, Stop]] = {}
        self._answers = 0
        self._utterances = 0
        self._last_taken = Tokens()
        self._answer_owed = False
        self._buffer = bytearray()
        self._buffer_start_ms = 0
        self._speech_item = ""
        self._speech_start_ms = 0
        self._detector = self._new_detector(0)

    def begin(self) -> None:
        """Greet the client."""
        self.emit("session.created", session=self.session)

    def receive(self, frame: str | bytes) -> None:
        """Take a frame of the client; what is wrong with it is answered with an ``error`` event."""
        event: Json = {}
        try:
            event = parse(frame)
            check_event(event)
            _HANDLERS[event["type"]](self, event)
        except RequestError as error:
            self.emit("error", **error.event(event.get("event_id")))

    def emit(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        self._send({"type": kind, "event_id": new_id("event"), **fields})

    # -- the stage of a response --------------------------------------------------------------

    def open_item(self, item: Item) -> None:
        """Put an output item into the conversation and announce it."""
        before = self.items.add(item)
        self.emit("conversation.item.added", previous_item_id=before, item=item.wire())

    def close_item(self, item: Item) -> None:
        """Say that an output item is done; as recorded, without the item before it."""
        self.emit("conversation.item.done", previous_item_id=None, item=item.wire())

    def response_ended(self, response: Response) -> None:
        """Forget the response and go on with what waited for its end."""
        self._running.pop(response.id, None)
        if self.scenario.rate_limits:
            limit = {
                "name": "tokens",
                "limit": 15_000_000,
                "remaining": 14_999_000,
                "reset_seconds": 0.004,
            }
            self.emit("rate_limits.updated", rate_limits=[limit])
        if self._answer_owed and self._active() is None:
            self._answer_owed = False
            self._respond({})

    # -- the session --------------------------------------------------------------------------

    def _update(self, event: Json) -> None:
        before = self._turn_detection()
        self.session = updated_session(self.session, event["session"])
        if self._turn_detection() != before:
            self._detector = self._new_detector(self._appended_ms())
        self.emit("session.updated", session=self.session)

    def _turn_detection(self) -> Json | None:
        found: Json | None = self.session["audio"]["input"]["turn_detection"]
        return found

    def _new_detector(self, appended_ms: int) -> Detector:
        vad = self._turn_detection() or {}
        known = ("threshold", "prefix_padding_ms", "silence_duration_ms")
        return Detector(**{key: vad[key] for key in known if key in vad}, appended_ms=appended_ms)

    # -- the user's audio ---------------------------------------------------------------------

    def _appended_ms(self) -> int:
        """Audio appended in the whole session."""
        return self._buffer_start_ms + len(self._buffer) // BYTES_PER_MS

    def _append(self, event: Json) -> None:
        pcm = self._decode(event["audio"])
        self._buffer += pcm
        vad = self._turn_detection()
        if vad is None:
            return
        for found in self._detector.feed(pcm):
            if isinstance(found, SpeechStarted):
                self._speech_started(found.audio_start_ms, vad)
            else:
                self._speech_stopped(found.audio_end_ms, vad)
        if not self._detector.speaking:
            self._drop_before(self._appended_ms() - vad["prefix_padding_ms"] - 1000)

    def _decode(self, text: object) -> bytes:
        """Audio of the client in the format it has said, as PCM16 at 24 kHz."""
        return to_pcm(_decode_audio(text), self.session["audio"]["input"]["format"])

    def _speech_started(self, audio_start_ms: int, vad: Json) -> None:
        self._speech_item = new_id("item")
        self._speech_start_ms = audio_start_ms
        self.emit(
            "input_audio_buffer.speech_started",
            audio_start_ms=audio_start_ms,
            item_id=self._speech_item,
        )
        active = self._active()
        if active is not None and vad["interrupt_response"]:
            self._cancel(active, "turn_detected")

    def _speech_stopped(self, audio_end_ms: int, vad: Json) -> None:
        self.emit(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=audio_end_ms,
            item_id=self._speech_item,
        )
        self._drop_before(self._speech_start_ms)
        self._commit_up_to(audio_end_ms, self._speech_item)
        if not vad["create_response"] or self.session["type"] == "transcription":
            return
        if self._active() is None:
            self._respond({})
        else:
            self._answer_owed = True

    def _drop_before(self, ms: int) -> None:
        excess = (ms - self._buffer_start_ms) * BYTES_PER_MS
        if excess > 0:
            del self._buffer[:excess]
            self._buffer_start_ms = ms

    def _commit_up_to(self, end_ms: int, item_id: str) -> None:
        """Make a user item of the buffer's audio up to a position in the session."""
        audio = self._buffer[: (end_ms - self._buffer_start_ms) * BYTES_PER_MS]
        self._drop_before(end_ms)
        content = [{"type": "input_audio", "transcript": None}]
        body = {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": content,
        }
        item = Item(body, audio)
        before = self.items.add(item)
        self.emit("input_audio_buffer.committed", previous_item_id=before, item_id=item_id)
        self.emit("conversation.item.added", previous_item_id=before, item=item.wire())
        self.emit("conversation.item.done", previous_item_id=before, item=item.wire())
        settings = self.session["audio"]["input"]["transcription"]
        if settings is not None:
            words = self.scenario.words(self._utterances)
            self._run(self._transcribe(item, words, str(settings["model"])))
        self._utterances += 1

    def _transcribe(self, item: Item, text: str, model: str) -> Iterator[float]:
        at = {"item_id": item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        yield self.scenario.transcription_delay_ms
        if self.scenario.transcription_fails:
            error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
            message = "The audio could not be transcribed."
            self.emit(f"{kind}.failed", **at, error={**error, "message": message})
            return
        for word in spoken_words(text):
            self.emit(f"{kind}.delta", **at, delta=word)
            yield TRANSCRIPT_STEP_MS
        item.body["content"][0]["transcript"] = text
        counted = transcription_usage(model, item.audio_ms, text)
        self.emit(f"{kind}.completed", **at, transcript=text, usage=counted)

    def _commit(self, event: Json) -> None:
        held_ms = len(self._buffer) / BYTES_PER_MS
        if held_ms < LEAST_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. "
                f"Expected at least 100ms of audio, but buffer only has {held_ms:.2f}ms of audio."
            )
            raise RequestError("input_audio_buffer_commit_empty", message)
        self._commit_up_to(self._appended_ms(), new_id("item"))
        self._detector = self._new_detector(self._appended_ms())

    def _clear(self, event: Json) -> None:
        self._drop_before(self._appended_ms())
        self._detector = self._new_detector(self._appended_ms())
        self.emit("input_audio_buffer.cleared")

    # -- items --------------------------------------------------------------------------------

    def _create_item(self, event: Json) -> None:
        body = check_item(event["item"])
        if body["type"] == "function_call_output" and not self.items.answers_call(body["call_id"]):
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
        before = self.items.add(item, event.get("previous_item_id"))
        self.emit("conversation.item.added", previous_item_id=before, item=item.wire())
        self.emit("conversation.item.done", previous_item_id=before, item=item.wire())

    def _retrieve_item(self, event: Json) -> None:
        item = self.items.get(event["item_id"], "retrieving")
        self.emit("conversation.item.retrieved", item=item.with_audio(self.session["audio"]))

    def _delete_item(self, event: Json) -> None:
        self.items.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _truncate_item(self, event: Json) -> None:
        cut = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self.items.truncate(**cut)
        self.emit("conversation.item.truncated", **cut)

    # -- responses ----------------------------------------------------------------------------

    def _active(self) -> Response | None:
        """The response that is being generated in the conversation."""
        for response, _ in self._running.values():
            if response.options.conversation_id is not None:
                return response
        return None

    def _create_response(self, event: Json) -> None:
        change = check_keys(event.get("response") or {}, RESPONSE_KEYS, "response")
        active = self._active()
        if active is not None and change.get("conversation") != "none":
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise RequestError("conversation_already_has_active_response", message)
        self._respond(change)

    def _respond(self, change: Mapping[str, Any]) -> None:
        """Begin the next answer of the scenario."""
        out_of_band = change.get("conversation") == "none"
        taken = self._context_tokens(change)
        asked = change.get("audio", {}).get("output", {})
        output = {**self.session["audio"]["output"], **{k: v for k, v in asked.items() if v}}
        options = Options(
            modalities=tuple(change.get("output_modalities") or self.session["output_modalities"]),
            conversation_id=None if out_of_band else self.conversation_id,
            voice=output["voice"],
            format=check_format(output["format"], "response.audio.output.format"),
            max_output_tokens=change.get("max_output_tokens") or self.session["max_output_tokens"],
            metadata=change.get("metadata"),
            taken=taken,
            cached=self._last_taken.cached(),
        )
        if not out_of_band:
            self._last_taken = taken
        scenario = self.scenario
        response = Response(
            scenario.answer(self._answers),
            options,
            self,
            delay_ms=scenario.answer_delay_ms,
            delta_ms=scenario.delta_ms,
            pace=scenario.audio_pace,
        )
        self._answers += 1
        steps = response.steps()
        first_wait = next(steps)  # response.created goes out now
        self._running[response.id] = (response, self._run(_resume(first_wait, steps)))

    def _context_tokens(self, change: Mapping[str, Any]) -> Tokens:
        instructions = change.get("instructions") or self.session["instructions"] or ""
        tokens = Tokens(text_tokens(f"{instructions}{self.session['tools'] or ''}"))
        if change.get("input") is not None:
            return tokens + Tokens(text_tokens(str(change["input"])))
        for item in self.items:
            tokens += item_tokens(item)
        return tokens

    def _cancel(self, response: Response, reason: str) -> None:
        _, stop = self._running[response.id]
        stop()
        response.stop(reason)

    def _cancel_response(self, event: Json) -> None:
        wanted = event.get("response_id")
        response = self._active() if wanted is None else self._running.get(wanted, (None, None))[0]
        if response is None:
            message = "Cancellation failed: no active response found"
            raise RequestError("response_cancel_not_active", message)
        self._cancel(response, "client_cancelled")


def _decode_audio(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        message = "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz)."
        raise RequestError("invalid_value", message, "audio") from None


def _resume(first_wait: float, steps: Iterator[float]) -> Iterator[float]:
    """A generator that was begun already, with its first wait put back."""
    yield first_wait
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
