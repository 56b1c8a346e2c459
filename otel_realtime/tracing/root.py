"""The facts written on a conversation's root when it opens and when it closes; pure functions.

The facts do not depend on who delivers the root: they become attributes of the OTel span, and
inputs, outputs and metadata of the run that LangSmith's runs API receives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from otel_realtime import attributes as names
from otel_realtime.attributes import Meta, RootFact
from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.redactions import Stretch, merge
from otel_realtime.core.protocol.events import replace_surrogates
from otel_realtime.core.protocol.interruptions import Interruption
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import text_or_none
from otel_realtime.core.protocol.outcome import Ending, Identity, Tally
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import transcript
from otel_realtime.delivery.model import WAV
from otel_realtime.recording.about import SIDE_OF_ROLE, Mark, interruption_label, turn_label
from otel_realtime.tracing.facts import Attributes, connection_facts
from otel_realtime.tracing.run_metadata import scalar_of

#: Maximum number of the app's metadata values written as attributes for any backend; LangSmith gets all.
METADATA_ATTRIBUTES: Final = 32
#: Maximum length of a title without the ellipsis; longer titles do not fit into a list of runs.
TITLE_CHARACTERS: Final = 80
#: Maximum number of silenced stretches that are listed; their total number is always reported.
REDACTED_LISTED: Final = 100


def opening_attributes(identity: Identity, version: str, *, room: int | None = None) -> Attributes:
    """Return the attributes the root starts with.

    A sampler sees only these (https://opentelemetry.io/docs/specs/otel/trace/sdk/#shouldsample). They
    are also all that exists if the process dies before the root ends.

    Args:
        identity: the conversation.
        version: version of this package.
        room: number of attributes for the app's metadata; ``None``: not limited.
    """
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.PROVIDER: identity.provider.name,
        # The app's metadata first: where keys collide, our facts win.
        **app_attributes(identity.metadata, room=room),
        **_facts(opening_metadata(identity, version)),
        **connection_facts(
            identity.provider, session_id=None, conversation_id=identity.conversation_id
        ),
    }
    if identity.tags:
        attributes[names.LS_TAGS] = replace_surrogates(",".join(identity.tags))
    return attributes


def opening_metadata(identity: Identity, version: str) -> dict[str, Any]:
    """Return the metadata that is known when the conversation opens.

    Args:
        identity: the conversation.
        version: version of this package.
    """
    metadata = {
        RootFact.THREAD_ID: identity.thread_id,
        RootFact.MODEL: identity.model,
        RootFact.CALL_ID: identity.call_id,
        Meta.INTEGRATION: names.INTEGRATION,
        Meta.INTEGRATION_VERSION: version,
        Meta.AGENT_TYPE: "root",
        RootFact.PARENT_TRACE_ID: identity.parent_trace_id,
        RootFact.PARENT_SPAN_ID: identity.parent_span_id,
        RootFact.VIEW_URL: identity.view_url,
    }
    return {key: value for key, value in metadata.items() if value is not None}


def view_url(template: str, identity: Identity, *, trace_id: int, span_id: int) -> str:
    """Return the address of a page that shows a conversation.

    Args:
        template: ``Settings.view_url``; other names in braces are left unchanged.
        identity: the conversation.
        trace_id: its trace.
        span_id: span id of its root.
    """
    values = {
        "run_id": str(UUID(int=span_id)),
        "trace_id": f"{trace_id:032x}",
        "span_id": f"{span_id:016x}",
        "thread_id": quote(replace_surrogates(identity.thread_id), safe=""),
    }
    for place, value in values.items():
        template = template.replace(f"{{{place}}}", value)
    return template


def view_attributes(address: str) -> Attributes:
    """Return the attributes for the address, which is known once the root has its ids."""
    return _facts({RootFact.VIEW_URL: address})


def closing_metadata(
    identity: Identity,
    state: ConversationState,
    tally: Tally,
    summary: Mapping[str, Any],
    ending: Ending,
    *,
    has_audio: bool,
) -> dict[str, Any]:
    """Return the metadata that is known when the conversation has closed.

    Args:
        identity: the conversation.
        state: its final state.
        tally: totals over its responses.
        summary: facts about its audio, by key.
        ending: how it ended.
        has_audio: audio was carried by this connection.
    """
    session = state.session
    # With SIP and WebRTC, audio takes another path; the items show whether there was any:
    # https://platform.openai.com/docs/guides/realtime-server-controls
    has_audio = has_audio or any(item.audio for item in state.items)
    voice = has_audio and not session.transcription_only
    metadata: dict[str, Any] = {
        RootFact.MODEL: session.model or identity.model,
        RootFact.EVENT_COUNT: state.counts.events,
        Meta.MODALITY: names.MODALITY_AUDIO if voice else None,
        RootFact.SESSION_ID: session.id,
        RootFact.VOICE: session.voice,
        RootFact.INPUT_FORMAT: session.format("input"),
        RootFact.OUTPUT_FORMAT: session.format("output"),
        RootFact.TURNS: len(transcript(state.items, None, _out_of_band_items(state))),
        RootFact.RESPONSES: state.counts.responses,
        RootFact.INTERRUPTIONS: len(tally.interruptions),
        RootFact.FALSE_INTERRUPTIONS: sum(cut.false for cut in tally.interruptions),
        **_causes(tally.interruptions),
        # Every tool span, including the server's own; the next fact is the number of the server's.
        RootFact.TOOL_CALLS: state.counts.tool_calls + state.counts.mcp_calls,
        RootFact.MCP_CALLS: state.counts.mcp_calls,
        RootFact.SERVER_ERRORS: state.counts.server_errors,
        RootFact.IDLE_TIMEOUTS: state.counts.idle_timeouts,
        RootFact.DTMF: state.counts.dtmf,
        **_live_facts(state),
        RootFact.TARGET_LANGUAGE: session.target_language,
        RootFact.LANGUAGES: ",".join(_languages(state)) or None,
        RootFact.PROMPT_ID: text_or_none(session.prompt.get("id")),
        RootFact.PROMPT_VERSION: text_or_none(session.prompt.get("version")),
        RootFact.REASONING_EFFORT: session.reasoning_effort,
        RootFact.TIME_JUMPS: state.counts.time_jumps or None,
        RootFact.RECONNECTS: state.counts.reconnects or None,
        **{
            RootFact.RECONNECTS_AFTER + failure: count
            for failure, count in state.counts.reconnects_after.items()
        },
        RootFact.FIRST_AUDIO_P50: _median(tally.first_audio_ms),
        RootFact.VOICE_TO_VOICE_P50: _median(tally.voice_to_voice_ms),
        RootFact.VOICE_TO_VOICE_P95: _percentile_95(tally.voice_to_voice_ms),
        RootFact.VOICE_TO_VOICE_MAX: max(tally.voice_to_voice_ms, default=None),
        **{
            f"{RootFact.LATENCY}{part}_ms_{name}": measure(values)
            for part, values in tally.parts_ms.items()
            for name, measure in (("p50", _median), ("p95", _percentile_95), ("max", max))
        },
        RootFact.CLOSE_CODE: ending.code,
        RootFact.CLOSE_REASON: ending.reason or None,
        **summary,
    }
    return {key: value for key, value in metadata.items() if value is not None}


def _live_facts(state: ConversationState) -> dict[str, Any]:
    """Return the facts a Live session reports about itself; all ``None`` for other sessions."""
    session = state.session
    return {
        RootFact.DELEGATIONS: state.counts.delegations or None,
        RootFact.BILLED: session.billed_s,
        RootFact.BILLED_ACTIVE: session.billed_parts.get("active"),
        RootFact.BILLED_PAUSED: session.billed_parts.get("paused"),
        RootFact.CONTEXT_RATIO: session.context_ratio,
        RootFact.SESSION_CLOSED: session.closed_because,
    }


def _causes(interruptions: Iterable[Interruption]) -> dict[str, int]:
    """Return the number of interruptions, and of false ones, by cause."""
    counts = Counter(
        prefix + cut.cause
        for cut in interruptions
        for prefix in (RootFact.INTERRUPTIONS_BY, *([RootFact.FALSE_BY] if cut.false else []))
    )
    return dict(sorted(counts.items()))


def redactions(stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Return the facts about the silenced stretches of the recording; empty if there are none."""
    if not stretches:
        return {}
    silent = merge((stretch.start_ns, stretch.end_ns) for stretch in stretches)
    listed = [
        {
            "start_ms": stretch.start_ns // NS_PER_MS,
            "end_ms": -(-stretch.end_ns // NS_PER_MS),
            "side": stretch.side or "both",
            "why": stretch.why,
        }
        for stretch in stretches[:REDACTED_LISTED]
    ]
    return {
        RootFact.REDACTIONS: len(stretches),
        RootFact.REDACTED_MS: sum(end - start for start, end in silent) // NS_PER_MS,
        RootFact.REDACTED: dump(listed),
    }


def _languages(state: ConversationState) -> list[str]:
    """Return the languages that were spoken, each once, in order."""
    return list(dict.fromkeys(code for item in state.items for code in item.languages))


def _median(values: Sequence[int]) -> int | None:
    if not values:
        return None
    # ``statistics`` takes longer to import than all neighbouring modules together.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else round((ordered[half - 1] + ordered[half]) / 2)


def _percentile_95(values: Sequence[int]) -> int | None:
    """Return the nearest-rank percentile, which is always a measured value."""
    return sorted(values)[-(-len(values) * 95 // 100) - 1] if values else None


def inputs(state: ConversationState, policy: ContentPolicy) -> dict[str, Any]:
    """Return the root's inputs: the last session configuration, without secrets."""
    if not policy.run_inputs:
        return {}
    config = state.session.config
    if not policy.inputs:  # instructions and tools are content
        config = {key: value for key, value in config.items() if key in {"id", "model", "type"}}
    return {"session": config}


def outputs(
    state: ConversationState, audio: AudioFacts | None, policy: ContentPolicy
) -> dict[str, Any]:
    """Return the root's outputs: the transcript as turns, in the form of chat messages."""
    if not policy.run_outputs:
        return {}
    turns = transcript(state.items, audio, _out_of_band_items(state))
    return {"messages": [turn.message(policy) for turn in turns]}


def recording_part(uri: str) -> dict[str, Any]:
    """Return a kept recording as a part of the GenAI convention: a reference, without its bytes.

    https://github.com/open-telemetry/semantic-conventions-genai/pull/390
    """
    return {"type": "uri", "modality": "audio", "mime_type": WAV, "uri": uri}


def title(state: ConversationState, policy: ContentPolicy) -> str | None:
    """Return the caller's first words as a title; ``None`` if none are known or may be shown."""
    if not policy.inputs:
        return None
    for item in state.items:
        if item.is_message and item.role == "user":
            words = " ".join(item.text.split())
            if words and words != HIDDEN:
                return _shortened(words)
    return None


def _shortened(text: str) -> str:
    if len(text) <= TITLE_CHARACTERS:
        return text
    cut = text[:TITLE_CHARACTERS]
    # Cut at the end of a word, unless the last word is most of the title (or the script has no spaces).
    at_word = cut.rpartition(" ")[0]
    return (at_word if len(at_word) > TITLE_CHARACTERS // 2 else cut).rstrip(" ,;:.-") + "…"


def marks(state: ConversationState, audio: AudioFacts, tally: Tally) -> list[Mark]:
    """Return the turns and interruptions of a conversation as marks in its recording.

    Args:
        state: its final state.
        audio: facts about its audio.
        tally: totals over its responses.
    """
    turns = [
        Mark(
            turn.start_ms * NS_PER_MS,
            turn.end_ms * NS_PER_MS,
            turn_label(turn.number, SIDE_OF_ROLE[turn.role]),
        )
        for turn in transcript(state.items, audio, _out_of_band_items(state))
        if turn.start_ms is not None and turn.end_ms is not None and turn.role in SIDE_OF_ROLE
    ]
    cuts = [
        Mark(cut.at_t, cut.at_t, interruption_label(cut.cause, false=cut.false))
        for cut in tally.interruptions
    ]
    return [*turns, *cuts]


def _out_of_band_items(state: ConversationState) -> frozenset[str]:
    """Return the ids of items that are outside the conversation and so belong to no turn.

    https://platform.openai.com/docs/guides/realtime-conversations#create-responses-outside-the-default-conversation
    """
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
    """Return the attributes that are set on the OTel root when it ends.

    Args:
        metadata: the root's metadata.
        root_inputs: its inputs.
        root_outputs: its outputs.
        limit: maximum characters of JSON per attribute.
        langsmith: also write the facts as LangSmith metadata; not needed if the runs API has them.
    """
    attributes: Attributes = {
        **_facts(metadata, langsmith=langsmith),
        names.PROMPT: dump(root_inputs, limit),
        names.COMPLETION: dump(root_outputs, limit),
    }
    session_id = metadata.get(RootFact.SESSION_ID)
    if session_id:
        attributes[names.REALTIME_SESSION_ID] = session_id
    return attributes


def _facts(metadata: Mapping[str, Any], *, langsmith: bool = True) -> Attributes:
    """Return metadata as attributes, in one form or in both (see ``attributes.Fact``)."""
    attributes: Attributes = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            value = replace_surrogates(value)
        only_langsmith = key.startswith(names.LANGSMITH_ONLY)
        if langsmith or only_langsmith:
            attributes[names.LS_METADATA + key] = value
        if not only_langsmith:
            attributes[names.OURS + key] = value
    return attributes


def app_attributes(metadata: Mapping[str, Any], *, room: int | None = None) -> Attributes:
    """Return the app's metadata as attributes: all for LangSmith, the first scalars for any backend.

    Args:
        metadata: the app's metadata.
        room: maximum number of attributes to return; ``None``: not limited.
    """
    attributes: Attributes = {}
    scalars = 0
    for key, value in metadata.items():
        is_scalar = isinstance(value, str | bool | int | float) and scalars < METADATA_ATTRIBUTES
        if room is not None and len(attributes) + 1 + is_scalar > room:
            break
        scalar = scalar_of(value)
        attributes[names.LS_METADATA + key] = scalar
        if is_scalar:
            scalars += 1
            attributes[names.APP_METADATA + key] = scalar
    return attributes
