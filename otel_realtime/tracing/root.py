"""The conversation's root: what stands on it when it opens and when it closes.

The facts are the same whoever delivers the root: as attributes of the OTel span, and as
inputs, outputs and metadata of the run that LangSmith's runs API gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Meta, RootFact
from otel_realtime.core.protocol.events import replace_surrogates
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.messages import transcript
from otel_realtime.core.protocol.outcome import Ending, Identity, Tally
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.tracing.facts import Attributes

if TYPE_CHECKING:
    pass

#: App metadata that also stands as attributes; LangSmith gets all of it.
METADATA_ATTRIBUTES: Final = 32


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
        found[names.CONVERSATION_ID] = replace_surrogates(who.thread_id)
    if who.tags:
        found[names.LS_TAGS] = replace_surrogates(",".join(who.tags))
    return found


def opening_metadata(who: Identity, version: str) -> dict[str, Any]:
    """Metadata known when the conversation opens."""
    found = {
        RootFact.THREAD_ID: who.thread_id,
        RootFact.MODEL: who.model,
        RootFact.CALL_ID: who.call_id,
        Meta.INTEGRATION: names.INTEGRATION,
        Meta.INTEGRATION_VERSION: version,
        RootFact.PARENT_TRACE_ID: who.parent_trace_id,
        RootFact.PARENT_SPAN_ID: who.parent_span_id,
    }
    return {key: value for key, value in found.items() if value is not None}


def closing_metadata(
    who: Identity,
    state: ConversationState,
    tally: Tally,
    summary: Mapping[str, Any],
    ending: Ending,
    *,
    sounds: bool,
) -> dict[str, Any]:
    """Metadata known when it has closed.

    Args:
        who: the conversation.
        state: its last state.
        tally: what its responses add up to.
        summary: what is known of its sound.
        ending: how it ended.
        sounds: there was audio on the wire.
    """
    session = state.session
    sounds = sounds or (who.call_id is not None and any(i.audio for i in state.items))
    voice = sounds and not session.transcription_only
    found: dict[str, Any] = {
        RootFact.MODEL: session.model or who.model,
        RootFact.EVENT_COUNT: state.counts.events,
        Meta.MODALITY: "audio" if voice else None,
        RootFact.SESSION_ID: session.id,
        RootFact.VOICE: session.voice,
        RootFact.INPUT_FORMAT: session.format("input"),
        RootFact.OUTPUT_FORMAT: session.format("output"),
        RootFact.TURNS: len(transcript(state.items, None, _aside(state))),
        RootFact.RESPONSES: state.counts.responses,
        RootFact.INTERRUPTIONS: tally.interruptions,
        RootFact.TOOL_CALLS: state.counts.tool_calls,
        RootFact.SERVER_ERRORS: state.counts.server_errors,
        RootFact.FIRST_AUDIO_P50: _middle(tally.first_audio_ms),
        RootFact.VOICE_TO_VOICE_P50: _middle(tally.voice_to_voice_ms),
        RootFact.VOICE_TO_VOICE_MAX: max(tally.voice_to_voice_ms, default=None),
        RootFact.CLOSE_CODE: ending.code,
        RootFact.CLOSE_REASON: ending.reason or None,
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
    session_id = metadata.get(RootFact.SESSION_ID)
    if session_id:
        found[names.REALTIME_SESSION_ID] = session_id
    return found


def _facts(metadata: Mapping[str, Any], *, langsmith: bool = True) -> Attributes:
    found: Attributes = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            value = replace_surrogates(value)
        only = key.startswith(names.LANGSMITH_ONLY)
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
        return replace_surrogates(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else dump(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return dump(value)
