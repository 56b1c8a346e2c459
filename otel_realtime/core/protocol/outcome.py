"""What identifies a conversation, how it ended, and the totals of its responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_realtime.core.protocol.events import (
    MAX_DEPTH,
    TOO_DEEP,
    JsonObject,
    JsonValue,
    replace_surrogates,
)
from otel_realtime.core.protocol.interruptions import Interruption
from otel_realtime.core.protocol.json_values import safe_str
from otel_realtime.core.protocol.latency import ResponseAudio, response_audio
from otel_realtime.core.protocol.redaction import scrub
from otel_realtime.core.protocol.responses import AudioFacts, Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.credentials import SECRET, names_secret, without_secrets


@dataclass(frozen=True, slots=True)
class Provider:
    """The service that runs the model.

    Attributes:
        name: The convention's ``gen_ai.provider.name``.
        host: Host of the websocket; None if unknown.
        port: Port of the websocket; None if unknown.
    """

    name: str = "openai"
    host: str | None = None
    port: int | None = None

    @classmethod
    def from_host(cls, host: str | None, port: int | None) -> Provider:
        """Return the provider of a websocket's host; OpenAI for an unknown host (a gateway)."""
        name = next(
            (name for suffix, name in _HOSTS.items() if (host or "").endswith(suffix)), "openai"
        )
        return cls(name, host or None, port)


#: Suffix of the host -> ``gen_ai.provider.name`` (a well-known value of the GenAI convention).
_HOSTS: Final[Mapping[str, str]] = {
    ".openai.azure.com": "azure.ai.openai",
    ".cognitiveservices.azure.com": "azure.ai.openai",
    ".services.ai.azure.com": "azure.ai.openai",
    "api.x.ai": "x_ai",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a span reports it.

    Attributes:
        type: Value of ``error.type`` and ``exception.type``.
        message: Value of ``exception.message`` and of the span's status.
    """

    type: str
    message: str


@dataclass(slots=True)
class Identity:
    """What identifies a conversation.

    Attributes:
        thread_id: Id of the thread in which LangSmith groups it.
        given_thread_id: Whether the app chose that id. Only then may it be recorded as
            ``gen_ai.conversation.id``, which the convention forbids inventing.
        provider: The service that runs the model.
        call_id: Id of the WebRTC or SIP call that a sideband connection observes.
        model: Model named in the URL.
        metadata: The app's metadata.
        tags: The app's tags, each once.
        parent_trace_id: Id of the trace that was current when the connection was opened.
        parent_span_id: Id of the span that was current when the connection was opened.
        view_url: URL of a page that shows the conversation.
    """

    thread_id: str
    given_thread_id: bool
    provider: Provider
    call_id: str | None = None
    model: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    parent_trace_id: str | None = None
    parent_span_id: str | None = None
    view_url: str | None = None

    @property
    def conversation_id(self) -> str | None:
        """The thread id as ``gen_ai.conversation.id``: only if the app gave it."""
        return replace_surrogates(self.thread_id) if self.given_thread_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a conversation ended.

    Attributes:
        code: Received close code (RFC 6455, section 7.4); None without one.
        reason: Received close reason.
        by_client: Whether the app ended the conversation.
        failure: The error that ended the conversation; None after a normal end.
    """

    code: int | None = None
    reason: str = ""
    by_client: bool = True
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The time between two connections of a conversation.

    Attributes:
        number: Number of the gap within the conversation, from 1.
        ending: How the previous connection ended; its failure is that of the latest refused attempt to
            open another one, if there was one.
        began: When the previous connection ended.
        ended: When the next connection was open.
        refused: Number of attempts to open a connection that the server refused during the gap.
    """

    number: int
    ending: Ending
    began: Moment
    ended: Moment
    refused: int = 0


@dataclass(slots=True)
class Tally:
    """Totals over settled responses.

    Attributes:
        interruptions: Interruptions; each counts once, even if it cut several responses.
        first_audio_ms: ``first_audio_ms`` of each response that has one.
        voice_to_voice_ms: ``voice_to_voice_ms`` of each response that has one.
        parts_ms: Lengths of the parts of these waits, by name of the part.
    """

    interruptions: list[Interruption] = field(default_factory=list)
    first_audio_ms: list[int] = field(default_factory=list)
    voice_to_voice_ms: list[int] = field(default_factory=list)
    parts_ms: dict[str, list[int]] = field(default_factory=dict)

    def add(self, audio: ResponseAudio) -> None:
        """Add one settled response."""
        if audio.interruption is not None:
            self.interruptions.append(audio.interruption)
        if audio.first_audio_ms is not None:
            self.first_audio_ms.append(audio.first_audio_ms)
        if audio.voice_to_voice_ms is not None:
            self.voice_to_voice_ms.append(audio.voice_to_voice_ms)
        for part in audio.parts:
            self.parts_ms.setdefault(part.name, []).append(part.ms)


def tally(state: ConversationState, audio: AudioFacts) -> Tally:
    """Return the totals over all responses; called after the timeline has received its last record.

    A late truncate can change how much of a response was heard after it has settled, so the totals
    accumulated during the call are not final.
    """
    totals = Tally()
    for response in state.responses.values():
        totals.add(response_audio(response, state, audio))
    return totals


#: Replaces a metadata value of the app that raises when it is read.
UNREADABLE: Final = "[unreadable]"
#: Metadata keys that an app must not set: LangSmith groups runs into threads by any of them
#: (https://docs.langchain.com/langsmith/threads), and this package sets ``thread_id``.
RESERVED: Final = frozenset({"session_id", "thread_id", "conversation_id"})


def sanitize_tags(tags: Iterable[object]) -> list[str]:
    """Return the app's tags as text that can be encoded, without duplicates.

    Tags that cannot be converted to text are omitted. Credentials are replaced.
    """
    texts = (text for text in map(safe_str, tags) if text is not None)
    return list(dict.fromkeys(map(without_secrets, texts)))


def sanitize_metadata(metadata: Mapping[str, object]) -> tuple[JsonObject, list[str]]:
    """Return the app's metadata without reserved keys, and the keys that were refused.

    Credentials are replaced, whether the key or the text of a value reveals them. Values of None are
    omitted. Objects of the app are kept as objects, unless their text contains a credential.
    """
    kept: JsonObject = {}
    refused: list[str] = []
    for key, value in metadata.items():
        name = safe_str(key)
        if name in RESERVED or not name:
            refused.append("?" if name is None else name)
        elif value is not None:
            try:
                kept[name] = _without_secrets(name, value, frozenset())
            except Exception:  # noqa: BLE001 - an object of the app may raise when it is walked
                kept[name] = UNREADABLE
    return kept, refused


def _without_secrets(name: str, value: object, above: frozenset[int]) -> JsonValue:
    """Return a value of the app's metadata without credentials.

    Args:
        name: Key of the value.
        value: The value.
        above: Ids of the containers around the value; a container within itself is cut off.
    """
    # Do not test an object of the app for truth: it may raise.
    if value is None or isinstance(value, bool):
        return value
    if names_secret(name):
        return "" if isinstance(value, str) and not value else SECRET
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if id(value) in above or len(above) >= MAX_DEPTH:
            return TOO_DEEP
        above |= {id(value)}
        if isinstance(value, Mapping):
            names = {key: safe_str(key) or "?" for key in value}
            return {names[key]: _without_secrets(names[key], value[key], above) for key in value}
        return [_without_secrets(name, each, above) for each in value]
    text = safe_str(value)
    cleaned = None if text is None else without_secrets(text)
    return value if cleaned == text else cleaned
