"""The attributes of a conversation's spans, kind by kind: name, value type, and whether it is always there.

``JSON`` is text that parses; ``True`` in ``NAMES`` means every span of the kind has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from otel_realtime.core.protocol.breakdown import OWNERS

JSON, TEXTS = "json", "str[]"
Kind = Any
META = "langsmith.metadata."
OURS = "otel_realtime."


def _both(names: Mapping[str, Kind]) -> dict[str, Kind]:
    """Product facts stand twice."""
    return {prefix + name: kind for name, kind in names.items() for prefix in (OURS, META)}


COMMON: Mapping[str, Kind] = {
    "langsmith.trace.id": str,
    "langsmith.span.id": str,
    "langsmith.span.dotted_order": str,
    "langsmith.trace.session_name": str,
    "langsmith.metadata.thread_id": str,
    "langsmith.span.kind": str,
    "otel_realtime.langsmith.leg": str,
}
BELOW: Mapping[str, Kind] = {
    **COMMON,
    "langsmith.span.parent_id": str,
    **_both({"audio_offset_ms": int}),
}
TURN = _both({"turn": int})

ROOT: Mapping[str, Kind] = {
    **COMMON,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "gen_ai.provider.name": str,
    "otel_realtime.langsmith.root": str,
    "otel_realtime.thread_id": str,
    "otel_realtime.event_count": int,
    "otel_realtime.duration_s": float,
    "otel_realtime.turns": int,
    "otel_realtime.responses": int,
    "otel_realtime.interruptions": int,
    "otel_realtime.false_interruptions": int,
    "otel_realtime.tool_calls": int,
    "otel_realtime.mcp_calls": int,
    "otel_realtime.server_errors": int,
    "otel_realtime.idle_timeouts": int,
    "otel_realtime.dtmf": int,
    "otel_realtime.dropped_events": int,
    "langsmith.metadata.ls_integration": str,
    "langsmith.metadata.ls_agent_type": str,
    "langsmith.metadata.ls_integration_version": str,
    "langsmith.metadata.ls_audio_attach_status": str,
    "langsmith.metadata.OTEL_TRACE_ID": str,
}
ROOT_MORE: Mapping[str, Kind] = {
    "langsmith.span.tags": str,
    "gen_ai.conversation.id": str,
    "gen_ai.realtime_session.id": str,
    "server.address": str,
    "server.port": int,
    **{
        OURS + name: kind
        for name, kind in {
            "model": str,
            "openai_session_id": str,
            "call_id": str,
            "voice": str,
            "input_format": str,
            "output_format": str,
            "dropped_audio_ms": int,
            "time_jumps": int,
            "reconnects": int,
            "user_talk_s": float,
            "agent_talk_s": float,
            "overlap_s": float,
            "dead_air_s": float,
            "longest_silence_s": float,
            "agent_over_user_s": float,
            "first_audio_ms_p50": int,
            "voice_to_voice_ms_p50": int,
            "voice_to_voice_ms_p95": int,
            "voice_to_voice_ms_max": int,
            **{
                f"latency.{part}_ms_{name}": int
                for part in OWNERS
                for name in ("p50", "p95", "max")
            },
            **{
                f"{kind}interruptions_by_{cause}": int
                for kind in ("", "false_")
                for cause in ("vad", "client", "server")
            },
            "player_buffer_ms": int,
            "languages": str,
            "prompt_id": str,
            "prompt_version": str,
            "reasoning_effort": str,
            "delegations": int,
            "billed_s": float,
            "billed_active_s": int,
            "billed_paused_s": int,
            "context_usage_ratio": float,
            "session_close_reason": str,
            "target_language": str,
            "close_code": int,
            "close_reason": str,
            "parent_trace_id": str,
            "parent_span_id": str,
        }.items()
    },
    "langsmith.metadata.parent_trace_id": str,
    "langsmith.metadata.parent_span_id": str,
    "langsmith.metadata.model": str,
    "langsmith.metadata.call_id": str,
    "langsmith.metadata.ls_modality": str,
    "langsmith.metadata.ls_audio_recording_started_at": float,
    "langsmith.metadata.ls_audio_recording_start_offset_ms": int,
}
EVENT: Mapping[str, Kind] = {
    **BELOW,
    "gen_ai.prompt": JSON,
    "otel_realtime.event.type": str,
    "otel_realtime.event.received_at_s": float,
    "langsmith.metadata.received_at_s": float,
}
EVENT_MORE: Mapping[str, Kind] = {
    **TURN,
    "otel_realtime.event.id": str,
    "otel_realtime.event.carried_type": str,
    "otel_realtime.item.id": str,
    "otel_realtime.response.id": str,
    "otel_realtime.call.id": str,
    "error.type": str,
}
_MODEL: Mapping[str, Kind] = {
    **BELOW,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.system": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.output.type": str,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "langsmith.metadata.ls_provider": str,
    "langsmith.metadata.ls_model_name": str,
}
#: On every model call and tool where this process does not deliver the spans itself.
_WHOSE: Mapping[str, Kind] = {
    "langsmith.metadata.ls_modality": str,
    "langsmith.metadata.ls_integration": str,
    "langsmith.metadata.ls_integration_version": str,
}
_CONNECTION: Mapping[str, Kind] = {
    "gen_ai.conversation.id": str,
    "gen_ai.realtime_session.id": str,
    "server.address": str,
    "server.port": int,
}
_USAGE: Mapping[str, Kind] = {
    "langsmith.usage_metadata": JSON,
    **{
        f"gen_ai.usage.{name}": int
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read.input_tokens",
            *(
                f"{kind}.{side}_tokens"
                for kind in ("audio", "text")
                for side in ("input", "output")
            ),
            "image.input_tokens",
            "reasoning.output_tokens",
            *(f"{kind}.cache_read.input_tokens" for kind in ("audio", "text", "image")),
        )
    },
}
CHAT: Mapping[str, Kind] = {
    **_MODEL,
    "langsmith.metadata.ls_message_format": str,
    "gen_ai.response.id": str,
    "gen_ai.response.finish_reasons": TEXTS,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    "otel_realtime.response.id": str,
    "otel_realtime.response.status": str,
    "langsmith.metadata.status": str,
    **_both({"context_items": int}),
}
CHAT_MORE: Mapping[str, Kind] = {
    **_WHOSE,
    **TURN,
    **_USAGE,
    **_CONNECTION,
    "gen_ai.request.reasoning.level": str,
    "gen_ai.request.temperature": float,
    "gen_ai.request.max_tokens": int,
    "otel_realtime.response.status_reason": str,
    "langsmith.metadata.status_reason": str,
    "error.type": str,
    "gen_ai.system_instructions": JSON,
    "gen_ai.tool.definitions": JSON,
    **_both(
        {
            "prompt_id": str,
            "prompt_version": str,
            "time_to_first_audio_ms": int,
            "voice_to_voice_ms": int,
            **{f"latency.{part}_ms": int for part in OWNERS},
            **{f"latency.{part}_owner": str for part in OWNERS},
            "generated_ms": int,
            "heard_ms": int,
            "heard_source": str,
            "interrupted": bool,
            "interruption_cause": str,
            "false_interruption": bool,
            "out_of_band": bool,
            "delegated": bool,
            "delegation_id": str,
        }
    ),
}
TRANSCRIBE: Mapping[str, Kind] = {
    **_MODEL,
    "otel_realtime.item.id": str,
    "langsmith.metadata.ls_message_view_exclude": bool,
}
TRANSCRIBE_MORE: Mapping[str, Kind] = {
    **_WHOSE,
    **TURN,
    **_USAGE,
    **_CONNECTION,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    "error.type": str,
    **_both({"transcription.seconds": float, "languages": str}),
}
TOOL: Mapping[str, Kind] = {
    **BELOW,
    "gen_ai.operation.name": str,
    "gen_ai.tool.name": str,
    "gen_ai.tool.type": str,
    **_both({"tool.timing": str}),
}
TOOL_MORE: Mapping[str, Kind] = {
    **_WHOSE,
    **TURN,
    **_both({"tool.waited_ms": int}),
    "gen_ai.tool.call.id": str,
    "otel_realtime.call.id": str,
    "gen_ai.tool.call.arguments": JSON,
    "gen_ai.tool.call.result": JSON,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "error.type": str,
}

#: Start of the name -> LangSmith's kind, OpenTelemetry's kind, what is always there, what may be.
TABLE: Mapping[str, tuple[str, SpanKind, Mapping[str, Kind], Mapping[str, Kind]]] = {
    "realtime_session": ("chain", SpanKind.INTERNAL, ROOT, ROOT_MORE),
    "chat ": ("llm", SpanKind.CLIENT, CHAT, CHAT_MORE),
    "transcribe ": ("llm", SpanKind.CLIENT, TRANSCRIBE, TRANSCRIBE_MORE),
    "execute_tool ": ("tool", SpanKind.INTERNAL, TOOL, TOOL_MORE),
    "": ("chain", SpanKind.INTERNAL, EVENT, EVENT_MORE),
}
#: Keys that are the app's own: any name, scalar values.
APP = (META, "otel_realtime.metadata.")


def against_table(span: ReadableSpan, app_metadata: frozenset[str] = frozenset()) -> Iterator[str]:
    """Everything in which a span's attributes differ from the table, as sentences."""
    start = next(start for start in TABLE if span.name.startswith(start))
    kind, otel_kind, always, maybe = TABLE[start]
    found = dict(span.attributes or {})
    if span.kind is not otel_kind or found.get("langsmith.span.kind") != kind:
        yield f"{span.name}: is {span.kind} and {found.get('langsmith.span.kind')}"
    for name in always.keys() - found.keys():
        yield f"{span.name}: has no {name}"
    for name, value in found.items():
        if name.startswith(APP) and name.rpartition(".")[2] in app_metadata:
            continue
        expected = always.get(name) or maybe.get(name)
        if expected is None:
            yield f"{span.name}: {name} is not in the table"
        elif not _is(value, expected):
            yield f"{span.name}: {name} is {value!r}, not {expected}"


def _is(value: object, expected: Kind) -> bool:
    if expected is JSON:
        return isinstance(value, str) and _parses(value)
    if expected is TEXTS:
        return isinstance(value, tuple) and all(type(item) is str for item in value)
    return type(value) is expected


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
