"""The conversation's root: what stands on it when it opens and when it closes.

The facts are the same whoever delivers the root: as attributes of the OTel span, and as
inputs, outputs and metadata of the run that LangSmith's runs API gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import attributes as names
from otel_realtime.core.conversation import ConversationState
from otel_realtime.core.events import clean
from otel_realtime.core.messages import transcript
from otel_realtime.core.payload import ContentPolicy, dump, scrub
from otel_realtime.core.responses import AudioFacts
from otel_realtime.core.sound import SoundFacts, sound_facts
from otel_realtime.tracing.describe import Attributes, Failure, Provider, raised

if TYPE_CHECKING:
    from otel_realtime.tap import Close, Handshake

#: App metadata that also stands as attributes; LangSmith gets all of it.
METADATA_ATTRIBUTES: Final = 32


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


#: Close codes of a normal end (RFC 6455, 7.4.1).
_NORMAL_CODES: Final = frozenset({1000, 1001})
#: What libraries report for a close frame that has no code.
NO_CODE: Final = 1005


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

    @classmethod
    def of_error(cls, error: BaseException | None, policy: ContentPolicy) -> Ending:
        """The app ended it, maybe because of an exception; cancellation is no error."""
        return cls(failure=_app_failure(error, policy))

    @classmethod
    def of_close(cls, close: Close, policy: ContentPolicy) -> Ending:
        """The connection ended: abnormal with another code than 1000/1001, or without any.

        No code at all is normal only if the app closed.
        """
        code = None if close.received_code == NO_CODE else close.received_code
        reason = _reason(close.received_reason, policy)
        failure = _app_failure(close.error, policy) or _close_failure(code, reason, close)
        return cls(
            code=code,
            reason=reason,
            by_client=close.by_client,
            failure=failure,
        )

    @classmethod
    def of_refusal(cls, handshake: Handshake) -> Ending:
        """The server refused the handshake."""
        if handshake.status is not None:
            what = Failure(
                str(handshake.status),
                f"the server refused the websocket handshake: HTTP {handshake.status}",
            )
        else:
            kind = type(handshake.error).__name__ if handshake.error else "unknown"
            what = Failure(kind, f"the websocket handshake failed: {kind}")
        return cls(failure=what)


def _app_failure(error: BaseException | None, policy: ContentPolicy) -> Failure | None:
    if error is None or not isinstance(error, Exception):
        return None  # cancellation, an interrupt, a closed generator: not errors
    return raised(error, policy)[0]


def _reason(text: str, policy: ContentPolicy) -> str:
    """A close frame's reason: with content hidden only if it is one word, not a sentence."""
    stored, _ = policy.admit({"type": "close", "reason": clean(text)})
    reason = (stored if policy.payloads else policy.hidden(stored)).get("reason")
    return reason if isinstance(reason, str) else ""


def _close_failure(code: int | None, reason: str, close: Close) -> Failure | None:
    if code in _NORMAL_CODES or (code is None and close.by_client):
        return None
    if code is None:
        return Failure("connection_lost", "the connection was lost without a close frame")
    who = "connection was" if close.by_client else "server"
    why = f": {reason}" if reason else ""
    return Failure(f"websocket_{code}", f"the {who} closed with code {code}{why}")


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


def opening_attributes(who: Identity, version: str, *, room: int | None = None) -> Attributes:
    """What a sampler may want, and what must not be lost if the root never ends."""
    found: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.PROVIDER: who.provider.name,
        **app_attributes(who.metadata, room=room),
        **_facts(opening_metadata(who, version)),
    }
    if who.provider.host:
        found[names.SERVER_ADDRESS] = who.provider.host
    if who.provider.port:
        found[names.SERVER_PORT] = who.provider.port
    if who.given_thread_id:
        found[names.CONVERSATION_ID] = clean(who.thread_id)
    if who.tags:
        found[names.LS_TAGS] = clean(",".join(who.tags))
    return found


def opening_metadata(who: Identity, version: str) -> dict[str, Any]:
    """Metadata known when the conversation opens."""
    found = {
        "thread_id": who.thread_id,
        "model": who.model,
        "call_id": who.call_id,
        "ls_integration": names.INTEGRATION,
        "ls_integration_version": version,
        "parent_trace_id": who.parent_trace_id,
        "parent_span_id": who.parent_span_id,
    }
    return {key: value for key, value in found.items() if value is not None}


def closing_metadata(
    who: Identity,
    state: ConversationState,
    tally: Tally,
    summary: Mapping[str, Any],
    ending: Ending,
) -> dict[str, Any]:
    """Metadata known when it has closed; the app's own comes last and loses against ours."""
    session = state.session
    sounds = bool(summary) or (who.call_id is not None and any(i.audio for i in state.items))
    voice = sounds and not session.transcription_only
    found: dict[str, Any] = {
        "model": session.model or who.model,
        "event_count": state.counts.events,
        "ls_modality": "audio" if voice else None,
        "openai_session_id": session.id,
        "voice": session.voice,
        "input_format": session.format("input"),
        "output_format": session.format("output"),
        "turns": len(transcript(state.items, None, _aside(state))),
        "responses": state.counts.responses,
        "interruptions": tally.interruptions,
        "tool_calls": state.counts.tool_calls,
        "server_errors": state.counts.server_errors,
        "first_audio_ms_p50": _middle(tally.first_audio_ms),
        "voice_to_voice_ms_p50": _middle(tally.voice_to_voice_ms),
        "voice_to_voice_ms_max": max(tally.voice_to_voice_ms, default=None),
        "close_code": ending.code,
        "close_reason": ending.reason or None,
        **summary,
    }
    return {key: value for key, value in found.items() if value is not None}


def _middle(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None


def inputs(state: ConversationState, policy: ContentPolicy) -> dict[str, Any]:
    """The root's input: the last session configuration, secrets out."""
    config = state.session.config
    if not policy.inputs:
        config = {key: value for key, value in config.items() if key in {"id", "model", "type"}}
    return {"session": config}


def outputs(
    state: ConversationState, audio: AudioFacts | None, policy: ContentPolicy
) -> dict[str, Any]:
    """The root's output: the transcript as turns, rendered as messages."""
    turns = transcript(state.items, audio, _aside(state))
    return {"messages": [turn.message(policy) for turn in turns]}


def _aside(state: ConversationState) -> frozenset[str]:
    return frozenset(
        item_id
        for response in state.responses.values()
        if response.out_of_band
        for item_id in response.outputs
    )


def closing_attributes(
    metadata: Mapping[str, Any],
    root_inputs: Mapping[str, Any],
    root_outputs: Mapping[str, Any],
    limit: int,
    *,
    langsmith: bool,
) -> Attributes:
    """The closing facts as attributes of the OTel root.

    Args:
        metadata: the root's metadata.
        root_inputs: its input.
        root_outputs: its output.
        limit: characters of JSON per attribute.
        langsmith: also write the facts as LangSmith's metadata (the runs API does not).
    """
    found: Attributes = {
        **_facts(metadata, langsmith=langsmith),
        names.PROMPT: dump(root_inputs, limit),
        names.COMPLETION: dump(root_outputs, limit),
    }
    session_id = metadata.get("openai_session_id")
    if session_id:
        found[names.REALTIME_SESSION_ID] = session_id
    return found


#: Keys that only LangSmith reads.
_LANGSMITH_ONLY: Final = ("ls_", "OTEL_TRACE_ID")


def _facts(metadata: Mapping[str, Any], *, langsmith: bool = True) -> Attributes:
    found: Attributes = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            value = clean(value)
        only = key.startswith(_LANGSMITH_ONLY)
        if langsmith or only:
            found[names.LS_METADATA + key] = value
        if not only:
            found[names.OURS + key] = value
    return found


def app_attributes(metadata: Mapping[str, Any], *, room: int | None = None) -> Attributes:
    """The app's metadata as attributes: the first scalars for any backend, all for LangSmith.

    Args:
        metadata: what the app gave.
        room: attributes that fit on the span; None: as many as there are.
    """
    found: Attributes = {}
    plain = 0
    for key, value in metadata.items():
        is_scalar = isinstance(value, str | bool | int | float) and plain < METADATA_ATTRIBUTES
        if room is not None and len(found) + 1 + is_scalar > room:
            break
        scalar = _scalar(value)
        found[names.LS_METADATA + key] = scalar
        if is_scalar:
            plain += 1
            found[names.APP_METADATA + key] = scalar
    return found


def _scalar(value: Any) -> str | bool | int | float:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else dump(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return dump(value)


#: Metadata keys an app may not set: LangSmith would take them for something else, or they are ours.
RESERVED: Final = frozenset({"session_id", "thread_id", "conversation_id"})


def clean_tags(tags: Iterable[object]) -> list[str]:
    """The app's tags as text that encodes, each once."""
    return list(dict.fromkeys(clean(str(tag)) for tag in tags))


def admit_metadata(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The app's metadata with text keys and without reserved ones; and the ones refused."""
    kept: dict[str, Any] = {}
    refused: list[str] = []
    for key, value in metadata.items():
        name = clean(str(key))
        if name in RESERVED or not name:
            refused.append(name)
        elif value is not None:
            kept[name] = scrub(value) if isinstance(value, str) else value
    return kept, refused
