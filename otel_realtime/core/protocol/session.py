"""What is known of the Realtime session: one view over the GA and the beta shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.core.protocol.json_values import milliseconds, table, text_or_none
from otel_realtime.core.protocol.redaction import UNCHANGED

#: Long values that a server repeats in every ``session.updated``; stored where they change.
KEPT_ONCE: Final = ("instructions", "tools")


@dataclass(slots=True)
class Counts:
    """What the root counts."""

    events: int = 0
    server_errors: int = 0
    tool_calls: int = 0
    responses: int = 0


@dataclass(slots=True)
class SessionFacts:
    """The session as the server last described it (``session.created``, ``session.updated``).

    Attributes:
        config: the last configuration, keys of updates laid over what was known.
        id: OpenAI's session id.
    """

    config: dict[str, Any] = field(default_factory=dict)
    id: str | None = None

    def absorb(self, session: Mapping[str, Any]) -> None:
        """Lay one ``session`` object of the server over what is known."""
        self.config.update(session)
        self.id = text_or_none(session.get("id")) or self.id

    def without_repeats(self, session: Mapping[str, Any]) -> dict[str, Any]:
        """The session object with instructions and tools that did not change left out."""
        return {
            key: UNCHANGED
            if key in KEPT_ONCE and value and self.config.get(key) == value
            else value
            for key, value in session.items()
        }

    def _audio(self, side: str) -> Mapping[str, Any]:
        return table(table(self.config.get("audio")).get(side))

    @property
    def model(self) -> str | None:
        """The model that answers; on Azure the URL names a deployment, the session the model."""
        return text_or_none(self.config.get("model"))

    @property
    def voice(self) -> str | None:
        """Name or id of the voice."""
        voice = self._audio("output").get("voice", self.config.get("voice"))
        if isinstance(voice, dict):
            voice = voice.get("id") or voice.get("name")
        return text_or_none(voice)

    def format(self, side: str) -> str | None:
        """Audio format of ``input`` or ``output``, as the wire names it."""
        found = self._audio(side).get("format", self.config.get(f"{side}_audio_format"))
        return text_or_none(found.get("type") if isinstance(found, dict) else found)

    @property
    def transcription_model(self) -> str | None:
        """Model that transcribes the user; None when input transcription is not configured."""
        found = self._audio("input").get(
            "transcription", self.config.get("input_audio_transcription")
        )
        if not isinstance(found, dict):
            return None
        return text_or_none(found.get("model")) or "default"

    @property
    def silence_ms(self) -> int | None:
        """``silence_duration_ms`` of server VAD; None with semantic VAD or push to talk."""
        found = self._audio("input").get("turn_detection", self.config.get("turn_detection"))
        if isinstance(found, dict) and found.get("type", "server_vad") == "server_vad":
            return milliseconds(found.get("silence_duration_ms"))
        return None

    @property
    def transcription_only(self) -> bool:
        """True for a session of type ``transcription`` (in the beta an object of its own)."""
        kinds = (self.config.get("type"), self.config.get("object"))
        return "transcription" in kinds or "realtime.transcription_session" in kinds
