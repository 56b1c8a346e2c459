"""Every attribute, metadata key and metric name the package writes, once.

The GenAI names follow the (development) GenAI semantic conventions; the published
``opentelemetry-semantic-conventions`` package marks its copies as moved, so they are kept here.
``langsmith.*`` and ``ls_*`` names are those of LangSmith's OpenTelemetry page and its own client.
"""

from __future__ import annotations

from typing import Final

INTEGRATION: Final = "otel-realtime"
ROOT_NAME: Final = "realtime_session"

# --- LangSmith: run fields -------------------------------------------------------------------
LS_TRACE_ID: Final = "langsmith.trace.id"
LS_SPAN_ID: Final = "langsmith.span.id"
LS_PARENT_ID: Final = "langsmith.span.parent_id"
LS_DOTTED_ORDER: Final = "langsmith.span.dotted_order"
LS_PROJECT: Final = "langsmith.trace.session_name"
LS_KIND: Final = "langsmith.span.kind"
LS_TAGS: Final = "langsmith.span.tags"
LS_USAGE: Final = "langsmith.usage_metadata"
LS_METADATA: Final = "langsmith.metadata."
LS_THREAD_ID: Final = LS_METADATA + "thread_id"

KIND_CHAIN: Final = "chain"
KIND_LLM: Final = "llm"
KIND_TOOL: Final = "tool"

# --- who may deliver a span to LangSmith ---------------------------------------------------------
LEG: Final = "otel_realtime.langsmith.leg"
LEG_DIRECT: Final = "direct"
LEG_COLLECTOR: Final = "collector"
LEG_NONE: Final = "none"
ROOT_MARKER: Final = "otel_realtime.langsmith.root"
ROOT_BY_RUNS_API: Final = "runs_api"

# --- GenAI conventions ---------------------------------------------------------------------------
PROMPT: Final = "gen_ai.prompt"
COMPLETION: Final = "gen_ai.completion"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
SYSTEM: Final = "gen_ai.system"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
REALTIME_SESSION_ID: Final = "gen_ai.realtime_session.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
OUTPUT_TYPE: Final = "gen_ai.output.type"
USAGE: Final = "gen_ai.usage."
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

# --- our own -----------------------------------------------------------------------------------
OURS: Final = "otel_realtime."
APP_METADATA: Final = "otel_realtime.metadata."
EVENT_TYPE: Final = "otel_realtime.event.type"
EVENT_ID: Final = "otel_realtime.event.id"
EVENT_RECEIVED_AT: Final = "otel_realtime.event.received_at_s"
ITEM_ID: Final = "otel_realtime.item.id"
OUR_RESPONSE_ID: Final = "otel_realtime.response.id"
CALL_ID: Final = "otel_realtime.call.id"
RESPONSE_STATUS: Final = "otel_realtime.response.status"
RESPONSE_STATUS_REASON: Final = "otel_realtime.response.status_reason"


class Fact:
    """Product facts of a span: ``otel_realtime.<key>``, and LangSmith metadata ``<key>``."""

    TURN: Final = "turn"
    AUDIO_OFFSET: Final = "audio_offset_ms"
    TIME_TO_FIRST_AUDIO: Final = "time_to_first_audio_ms"
    VOICE_TO_VOICE: Final = "voice_to_voice_ms"
    GENERATED: Final = "generated_ms"
    HEARD: Final = "heard_ms"
    HEARD_SOURCE: Final = "heard_source"
    INTERRUPTED: Final = "interrupted"
    CONTEXT_ITEMS: Final = "context_items"
    OUT_OF_BAND: Final = "out_of_band"
    TRANSCRIPTION_SECONDS: Final = "transcription.seconds"


class RootFact:
    """Product facts of a conversation, on its root; in both forms as well."""

    THREAD_ID: Final = "thread_id"
    MODEL: Final = "model"
    CALL_ID: Final = "call_id"
    PARENT_TRACE_ID: Final = "parent_trace_id"
    PARENT_SPAN_ID: Final = "parent_span_id"
    EVENT_COUNT: Final = "event_count"
    DURATION: Final = "duration_s"
    SESSION_ID: Final = "openai_session_id"
    VOICE: Final = "voice"
    INPUT_FORMAT: Final = "input_format"
    OUTPUT_FORMAT: Final = "output_format"
    TURNS: Final = "turns"
    RESPONSES: Final = "responses"
    INTERRUPTIONS: Final = "interruptions"
    TOOL_CALLS: Final = "tool_calls"
    SERVER_ERRORS: Final = "server_errors"
    DROPPED_EVENTS: Final = "dropped_events"
    USER_TALK: Final = "user_talk_s"
    AGENT_TALK: Final = "agent_talk_s"
    OVERLAP: Final = "overlap_s"
    FIRST_AUDIO_P50: Final = "first_audio_ms_p50"
    VOICE_TO_VOICE_P50: Final = "voice_to_voice_ms_p50"
    VOICE_TO_VOICE_MAX: Final = "voice_to_voice_ms_max"
    CLOSE_CODE: Final = "close_code"
    CLOSE_REASON: Final = "close_reason"
    RECORDING_ERROR: Final = "recording_error"


class Meta:
    """LangSmith metadata only: keys that its own code or its pages read."""

    STATUS: Final = "status"
    STATUS_REASON: Final = "status_reason"
    RECEIVED_AT: Final = "received_at_s"
    PROVIDER: Final = "ls_provider"
    MODEL_NAME: Final = "ls_model_name"
    MODALITY: Final = "ls_modality"
    INTEGRATION: Final = "ls_integration"
    INTEGRATION_VERSION: Final = "ls_integration_version"
    OTEL_TRACE_ID: Final = "OTEL_TRACE_ID"
    ATTACH_STATUS: Final = "ls_audio_attach_status"
    RECORDING_STARTED_AT: Final = "ls_audio_recording_started_at"
    RECORDING_START_OFFSET: Final = "ls_audio_recording_start_offset_ms"


#: Beginnings of the keys above that only LangSmith reads.
LANGSMITH_ONLY: Final = ("ls_", Meta.OTEL_TRACE_ID)
#: Of the recording; LangSmith's clients skip names with a ".".
ATTACHMENT_NAME: Final = "conversation"

# --- metrics -------------------------------------------------------------------------------------
TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_MODALITY: Final = "gen_ai.token.modality"
METRIC_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_CACHED: Final = "otel_realtime.token.cached"
METRIC_OPERATION: Final = "gen_ai.client.operation.duration"
METRIC_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_TOOL: Final = "gen_ai.execute_tool.duration"
METRIC_VOICE_TO_VOICE: Final = "otel_realtime.voice_to_voice"
METRIC_CONVERSATION: Final = "otel_realtime.conversation.duration"
METRIC_ACTIVE: Final = "otel_realtime.conversations.active"
METRIC_INTERRUPTIONS: Final = "otel_realtime.interruptions"
METRIC_ERRORS: Final = "otel_realtime.errors"
METRIC_UPLOADS: Final = "otel_realtime.recording.uploads"
METRIC_PENDING: Final = "otel_realtime.recording.pending"
METRIC_LOST: Final = "otel_realtime.telemetry.lost"
