"""Who a conversation is, how it ended, and what its responses add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.core.protocol.json_values import text_of
from otel_realtime.core.protocol.latency import SoundFacts, sound_facts
from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.core.protocol.responses import AudioFacts
from otel_realtime.core.protocol.state import ConversationState


@dataclass(frozen=True, slots=True)
class Provider:
    """Who serves the model: the convention's name, LangSmith's name, and the address."""

    name: str = "openai"
    host: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, host: str | None, port: int | None) -> Provider:
        """Tell the provider from the host of the websocket."""
        known = next((name for end, name in _HOSTS.items() if (host or "").endswith(end)), "openai")
        return cls(known, host or None, port)


_HOSTS: Final[Mapping[str, str]] = {
    ".openai.azure.com": "azure.ai.openai",
    ".cognitiveservices.azure.com": "azure.ai.openai",
    ".services.ai.azure.com": "azure.ai.openai",
    "api.x.ai": "x_ai",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as ``error.type`` and an ``exception`` event say it."""

    type: str
    message: str


@dataclass(slots=True)
class Identity:
    """Who this conversation is."""

    thread_id: str
    given_thread_id: bool
    provider: Provider
    call_id: str | None = None
    model: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    parent_trace_id: str | None = None
    parent_span_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a conversation ended.

    Attributes:
        code: the received close code.
        reason: its reason.
        by_client: the app ended it.
        failure: what went wrong; None when nothing did.
    """

    code: int | None = None
    reason: str = ""
    by_client: bool = True
    failure: Failure | None = None


@dataclass(slots=True)
class Tally:
    """What settled responses add up to."""

    interruptions: int = 0
    first_audio_ms: list[int] = field(default_factory=list)
    voice_to_voice_ms: list[int] = field(default_factory=list)

    def add(self, facts: SoundFacts) -> None:
        """Count one settled response."""
        self.interruptions += facts.interrupted
        if facts.first_audio_ms is not None:
            self.first_audio_ms.append(facts.first_audio_ms)
        if facts.voice_to_voice_ms is not None:
            self.voice_to_voice_ms.append(facts.voice_to_voice_ms)


def tally(state: ConversationState, audio: AudioFacts) -> Tally:
    """Count all responses anew, when the last of the sound has been taken in."""
    found = Tally()
    for response in state.responses.values():
        found.add(sound_facts(response, state, audio))
    return found


#: Metadata keys an app may not set: LangSmith would take them for something else, or they are ours.
RESERVED: Final = frozenset({"session_id", "thread_id", "conversation_id"})


def clean_tags(tags: Iterable[object]) -> list[str]:
    """The app's tags as text that encodes, each once; what is none is left out."""
    return list(dict.fromkeys(text for text in map(text_of, tags) if text is not None))


def admit_metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The app's metadata with text keys and without reserved ones; and the ones refused."""
    kept: dict[str, Any] = {}
    refused: list[str] = []
    for key, value in metadata.items():
        name = text_of(key)
        if name in RESERVED or not name:
            refused.append("?" if name is None else name)
        elif value is not None:
            kept[name] = scrub(value) if isinstance(value, str) else value
    return kept, refused
