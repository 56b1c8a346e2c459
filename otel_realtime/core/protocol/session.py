"""The Realtime session as the server last described it, with one view of the GA and the beta shape.

GA sessions nest audio settings (``audio.input.turn_detection``); beta sessions have them at the top
level (``turn_detection``, ``input_audio_format``). Each property looks in both places, GA first.

Source: https://platform.openai.com/docs/api-reference/realtime-server-events/session/created.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from otel_realtime.core.protocol.events import JsonMapping, JsonObject
from otel_realtime.core.protocol.json_values import milliseconds, object_or_empty, text_or_none
from otel_realtime.core.protocol.redaction import UNCHANGED

#: Large values that the server repeats in every ``session.updated``; recorded only when they change.
KEPT_ONCE: Final = ("instructions", "tools")


@dataclass(slots=True)
class Counts:
    """Counters that the root span reports.

    Attributes:
        events: Server events, including audio.
        server_errors: ``error`` events.
        tool_calls: Function calls that the model completed.
        mcp_calls: MCP tool calls, which the server runs itself.
        responses: Responses, with any outcome.
        idle_timeouts: ``input_audio_buffer.timeout_triggered``: nobody spoke, so the model did.
        dtmf: Keys that a caller pressed (``input_audio_buffer.dtmf_event_received``).
        time_jumps: Jumps in the times that the app gave.
        reconnects: Connections that continued the conversation after another one had closed.
        reconnects_after: How many of these followed a failure, by the kind of failure.
        delegations: Tasks that a Live model delegated.
    """

    events: int = 0
    server_errors: int = 0
    tool_calls: int = 0
    mcp_calls: int = 0
    responses: int = 0
    idle_timeouts: int = 0
    dtmf: int = 0
    time_jumps: int = 0
    reconnects: int = 0
    reconnects_after: dict[str, int] = field(default_factory=dict)
    delegations: int = 0

    def reconnected(self, failure: str | None) -> int:
        """Count a connection that continues the conversation; return the number of reconnects so far.

        Args:
            failure: The kind of failure that ended the previous connection; None if it was closed.
        """
        self.reconnects += 1
        if failure is not None:
            self.reconnects_after[failure] = self.reconnects_after.get(failure, 0) + 1
        return self.reconnects


@dataclass(slots=True)
class SessionFacts:
    """The session as ``session.created`` and ``session.updated`` describe it.

    Attributes:
        config: The configuration; keys of an update replace earlier values.
        id: The server's id of the session.
        other_model: The model as named outside the session object (in the handshake, the client's
            ``session.update`` or a response), because a sideband connection may never receive the session.
        usage: The billed usage of a Live session so far, in seconds; each report is a total.
        context_ratio: The share of the model's context in use, from 0 to 1; None if not reported.
        closed_because: The server's reason for ending the session.
    """

    config: JsonObject = field(default_factory=dict)
    id: str | None = None
    other_model: str | None = None
    usage: JsonMapping = field(default_factory=dict)
    context_ratio: float | None = None
    closed_because: str | None = None

    def merge(self, session: JsonMapping) -> None:
        """Update the configuration from a ``session`` object of the server."""
        # Top-level keys are replaced as a whole, because the server sends complete objects.
        self.config.update(session)
        self.id = text_or_none(session.get("id")) or self.id

    def billed(self, event: JsonMapping) -> None:
        """Store the session totals of a ``session.usage.updated`` or ``session.closed`` event."""
        self.usage = object_or_empty(event.get("usage")) or self.usage
        ratio = _number(object_or_empty(event.get("context_window")).get("usage_ratio"))
        self.context_ratio = self.context_ratio if ratio is None else ratio

    @property
    def billed_s(self) -> float | None:
        """The total billed time of the session, in seconds; None if not reported."""
        return _number(self.usage.get("seconds"))

    def without_repeats(self, session: JsonMapping) -> JsonObject:
        """Return the session object with unchanged instructions and tools replaced by a marker."""
        return {
            key: UNCHANGED
            if key in KEPT_ONCE and value and self.config.get(key) == value
            else value
            for key, value in session.items()
        }

    def _audio_config(self, direction: str) -> JsonMapping:
        return object_or_empty(object_or_empty(self.config.get("audio")).get(direction))

    @property
    def model(self) -> str | None:
        """The model; on Azure the session's is authoritative, because the URL names a deployment."""
        return text_or_none(self.config.get("model")) or self.other_model

    @property
    def voice(self) -> str | None:
        """Name or id of the voice."""
        voice = self._audio_config("output").get("voice", self.config.get("voice"))
        # ``{"id": ...}`` is a custom voice; Azure Voice Live sends ``{"name": ..., "type": ...}``.
        if isinstance(voice, dict):
            voice = voice.get("id") or voice.get("name")
        return text_or_none(voice)

    def format(self, direction: str) -> str | None:
        """Return the audio format of ``input`` or ``output`` as the wire names it."""
        audio_format = self._audio_config(direction).get(
            "format", self.config.get(f"{direction}_audio_format")
        )
        if audio_format is None:  # a Live session has one for both directions
            audio_format = object_or_empty(self.config.get("audio")).get("format")
        if isinstance(audio_format, dict):
            audio_format = audio_format.get("type")
        return text_or_none(audio_format)

    @property
    def billed_parts(self) -> dict[str, int]:
        """The ``active`` and ``paused`` parts of the billed time, in seconds, if reported."""
        parts = {part: _number(self.usage.get(f"{part}_seconds")) for part in ("active", "paused")}
        return {part: int(seconds) for part, seconds in parts.items() if seconds is not None}

    @property
    def delegate(self) -> JsonObject:
        """An object with the ``model`` that a Live session delegates to; empty if it names none."""
        delegation = object_or_empty(self.config.get("delegation"))
        backend = object_or_empty(delegation.get(str(delegation.get("type"))))
        return {"model": backend["model"]} if text_or_none(backend.get("model")) else {}

    @property
    def target_language(self) -> str | None:
        """The language that live translation translates into."""
        return text_or_none(self._audio_config("output").get("language"))

    @property
    def transcription_model(self) -> str | None:
        """Model that transcribes the user; None if input transcription is not configured."""
        transcription = self._audio_config("input").get(
            "transcription", self.config.get("input_audio_transcription")
        )
        if not isinstance(transcription, dict):
            return None
        return text_or_none(transcription.get("model")) or "default"

    @property
    def prompt(self) -> JsonMapping:
        """``id``, ``version`` and ``variables`` of the prompt template; empty without one."""
        return object_or_empty(self.config.get("prompt"))

    @property
    def reasoning_effort(self) -> str | None:
        """``reasoning.effort``: how much the model may reason before it answers."""
        return text_or_none(object_or_empty(self.config.get("reasoning")).get("effort"))

    @property
    def _turn_detection(self) -> JsonMapping | None:
        """The VAD's settings; None without a VAD."""
        settings = self._audio_config("input").get(
            "turn_detection", self.config.get("turn_detection")
        )
        return settings if isinstance(settings, dict) else None

    @property
    def vad_interrupts(self) -> bool:
        """Whether the user's voice stops the model: ``interrupt_response`` of the VAD.

        Assumed true if the server never described the session.
        """
        if not self.config:
            return True
        return self._turn_detection is not None and (
            self._turn_detection.get("interrupt_response") is not False
        )

    @property
    def prefix_padding_ms(self) -> int | None:
        """``prefix_padding_ms``: audio that the VAD adds before the start of speech; None without VAD."""
        if self._turn_detection is None:
            return None
        return milliseconds(self._turn_detection.get("prefix_padding_ms"))

    @property
    def silence_ms(self) -> int | None:
        """``silence_duration_ms`` of server VAD; None with semantic VAD or push to talk."""
        settings = self._turn_detection
        if settings is None or settings.get("type", "server_vad") != "server_vad":
            return None  # semantic VAD ends a turn by its content, not after a fixed silence
        return milliseconds(settings.get("silence_duration_ms"))

    @property
    def speaks(self) -> bool:
        """Whether answers are speech; true unless the session says otherwise."""
        modalities = self.config.get("output_modalities", self.config.get("modalities"))
        return not isinstance(modalities, list) or "audio" in modalities

    @property
    def transcription_only(self) -> bool:
        """Whether it is a transcription session (in the beta, an object type of its own)."""
        kinds = (self.config.get("type"), self.config.get("object"))
        return "transcription" in kinds or "realtime.transcription_session" in kinds


def _number(value: object) -> float | None:
    """Return the value as a float if it is a number from 0 to below 2**53 (exact in JSON); else None."""
    # The comparison is also false for NaN and infinity.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return float(value)
    return None
