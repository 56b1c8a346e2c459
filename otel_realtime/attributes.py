"""Every attribute, metadata key and metric name that the package writes, each defined once.

The ``opentelemetry-semantic-conventions`` package marks its ``gen_ai.*`` constants as moved, and the
repository they moved to has no release yet, so they are defined here. Each group names its source.
If no type is stated, the value is a string.

- GenAI semantic conventions (status: development):
  https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs/gen-ai
- LangSmith's mapping of OpenTelemetry attributes to run fields:
  https://docs.langchain.com/langsmith/trace-with-opentelemetry
"""

from __future__ import annotations

from typing import Final

#: Value of ``ls_integration``.
INTEGRATION: Final = "otel-realtime"
#: Name of the root span and root run; LangSmith's own Realtime wrapper uses the same name.
ROOT_NAME: Final = "realtime_session"

# -- LangSmith run fields --------------------------------------------------------------------------
# https://docs.langchain.com/langsmith/trace-with-opentelemetry ("Supported OpenTelemetry attributes")

#: UUID of the root run, which is also LangSmith's trace id; not the OTel trace id.
LS_TRACE_ID: Final = "langsmith.trace.id"
#: UUID of the run that this span becomes.
LS_SPAN_ID: Final = "langsmith.span.id"
#: UUID of the parent run.
LS_PARENT_ID: Final = "langsmith.span.parent_id"
#: Path of start times and run ids from the root down to this run; see ``langsmith.ids``.
LS_DOTTED_ORDER: Final = "langsmith.span.dotted_order"
#: Name (not id) of the project; LangSmith's API still calls a project a "session".
LS_PROJECT: Final = "langsmith.trace.session_name"
#: Run type: one of the ``KIND_*`` values.
LS_KIND: Final = "langsmith.span.kind"
#: One string of comma-separated tags.
LS_TAGS: Final = "langsmith.span.tags"
#: JSON object of token counts and their details; the only way to report token details over OTLP.
LS_USAGE: Final = "langsmith.usage_metadata"
#: JSON list of files, each with base64 ``content``; only spans of other instrumentations have it.
LS_ATTACHMENTS: Final = "langsmith.attachments"
#: Prefix: the rest of the key is a metadata key of the run.
LS_METADATA: Final = "langsmith.metadata."
#: Required on every span; without it LangSmith leaves the run out of the thread's filters and token sums:
#: https://docs.langchain.com/langsmith/threads
LS_THREAD_ID: Final = LS_METADATA + "thread_id"

#: Values of ``LS_KIND``.
KIND_CHAIN: Final = "chain"
KIND_LLM: Final = "llm"
KIND_TOOL: Final = "tool"
#: Value of ``Meta.MODALITY``.
MODALITY_AUDIO: Final = "audio"

# -- Routing to LangSmith (our own; read by our exporter and by the bundled Collector) -------------

#: Which process may deliver the span to LangSmith: one of the ``LEG_*`` values.
LEG: Final = "otel_realtime.langsmith.leg"
#: This process delivers the span itself.
LEG_DIRECT: Final = "direct"
#: A process that forwards the span, such as a Collector, may deliver it.
LEG_COLLECTOR: Final = "collector"
#: Nobody delivers it: LangSmith is off, or did not sample the conversation.
LEG_NONE: Final = "none"
#: Marks a root that LangSmith receives another way, so that it is not delivered a second time.
ROOT_MARKER: Final = "otel_realtime.langsmith.root"
#: Value of ``ROOT_MARKER``: the runs API delivers the root run.
ROOT_BY_RUNS_API: Final = "runs_api"

# -- Run inputs and outputs ------------------------------------------------------------------------
# ``gen_ai.prompt`` and ``gen_ai.completion`` are deprecated in the GenAI registry, but LangSmith maps
# them to a run's inputs and outputs, tool calls included:
# https://docs.langchain.com/langsmith/trace-with-opentelemetry

#: JSON object: the run's inputs.
PROMPT: Final = "gen_ai.prompt"
#: JSON object: the run's outputs. LangSmith drops the usage of an llm run without outputs.
COMPLETION: Final = "gen_ai.completion"

# -- GenAI semantic conventions: model calls -------------------------------------------------------
# https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md

#: JSON array of messages with ``parts``, in the convention's own schema.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
#: JSON list of message parts: instructions of ``response.create`` that replaced the session's.
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
#: JSON list of tools of ``response.create`` that replaced the session's.
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
#: ``chat`` or ``execute_tool``.
OPERATION: Final = "gen_ai.operation.name"
#: ``openai``, ``azure.ai.openai``, ``x_ai``.
PROVIDER: Final = "gen_ai.provider.name"
#: Older name of ``PROVIDER``, which LangSmith's documented mapping still reads.
SYSTEM: Final = "gen_ai.system"
#: Set only to an id that the app gave, because the convention forbids inventing one.
CONVERSATION_ID: Final = "gen_ai.conversation.id"
#: The server's ``session.id``; proposed in
#: https://github.com/open-telemetry/semantic-conventions-genai/pull/394
REALTIME_SESSION_ID: Final = "gen_ai.realtime_session.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
#: ``reasoning.effort`` as it was requested.
REQUEST_REASONING: Final = "gen_ai.request.reasoning.level"
#: float
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
#: int
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
#: str[]: ``stop``, ``length``, ``content_filter``, ``tool_call``, ``error``, or the server's reason
#: for a cancelled response (``turn_detected``, ``client_cancelled``).
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
#: ``text`` or ``speech``.
OUTPUT_TYPE: Final = "gen_ai.output.type"
#: Prefix of token counts (int): ``input_tokens``, ``output_tokens``, and their parts by modality.
USAGE: Final = "gen_ai.usage."

# -- GenAI semantic conventions: tool calls --------------------------------------------------------
# https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/execute-tool.md

#: Tool spans only: LangSmith turns any span that carries it into a tool run.
TOOL_NAME: Final = "gen_ai.tool.name"
#: ``function`` (run by the app) or ``extension`` (run by the server, MCP).
TOOL_TYPE: Final = "gen_ai.tool.type"
#: Values of ``TOOL_TYPE``.
TOOL_FUNCTION: Final = "function"
TOOL_EXTENSION: Final = "extension"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
#: JSON text of the arguments.
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
#: Name of the agent that a framework hands the conversation over to:
#: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-agent-spans.md
AGENT_NAME: Final = "gen_ai.agent.name"
#: JSON text of the result.
TOOL_RESULT: Final = "gen_ai.tool.call.result"

#: Values of ``Fact.TOOL_TIMING``. The tool's own execution, as seen by ``call.tool()`` or an adapter:
TIMING_EXACT: Final = "exact"
#: Spans of the app or of its libraries show that the tool ran; its start time is a guess.
TIMING_OBSERVED: Final = "observed"
#: From the request to the result, as both were seen on the wire.
TIMING_WIRE: Final = "wire"

# -- General semantic conventions ------------------------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/server/
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/

#: Host of the server as the app named it.
SERVER_ADDRESS: Final = "server.address"
#: int
SERVER_PORT: Final = "server.port"
#: The server's error code, or the type of the app's exception.
ERROR_TYPE: Final = "error.type"

# -- Our own: events and responses -----------------------------------------------------------------
# Fields of the server's events: https://platform.openai.com/docs/api-reference/realtime-server-events

#: Prefix of the product facts (``Fact``, ``RootFact``) for any backend.
OURS: Final = "otel_realtime."
#: Prefixes of all attributes that this package writes on spans below a root, except ``ERROR_TYPE``.
WRITTEN: Final = (OURS, "gen_ai.", "langsmith.")
#: Prefix: the rest of the key is a metadata key of the app.
APP_METADATA: Final = "otel_realtime.metadata."
#: The event's ``type``, which is also the span's name.
EVENT_TYPE: Final = "otel_realtime.event.type"
EVENT_ID: Final = "otel_realtime.event.id"
#: ``type`` of the event that a ``response.event`` or ``decision.event`` of a Live session carries.
EVENT_CARRIED: Final = "otel_realtime.event.carried_type"
#: float: seconds from the root's start to the event's receipt.
EVENT_RECEIVED_AT: Final = "otel_realtime.event.received_at_s"
ITEM_ID: Final = "otel_realtime.item.id"
OUR_RESPONSE_ID: Final = "otel_realtime.response.id"
#: ``call_id`` of a function call.
CALL_ID: Final = "otel_realtime.call.id"
#: Label of an MCP server, as the session names it.
MCP_SERVER: Final = "otel_realtime.mcp.server"
#: int: error code of a failed MCP call, from the MCP protocol or from HTTP.
MCP_ERROR_CODE: Final = "otel_realtime.mcp.error_code"
#: ``response.status``: ``completed``, ``cancelled``, ``incomplete``, ``failed``, ``in_progress``.
RESPONSE_STATUS: Final = "otel_realtime.response.status"
#: Reason or error code of ``response.status_details``.
RESPONSE_STATUS_REASON: Final = "otel_realtime.response.status_reason"


class Fact:
    """Product facts of a span: ``otel_realtime.<key>``, and LangSmith metadata ``<key>``."""

    #: int: number of the turn, from 1; a turn is a maximal run of items of one role.
    TURN: Final = "turn"
    #: int, ms: offset into the recording.
    AUDIO_OFFSET: Final = "audio_offset_ms"
    #: int, ms: from ``response.created`` to the first audio delta.
    TIME_TO_FIRST_AUDIO: Final = "time_to_first_audio_ms"
    #: int, ms: from the end of the user's speech to the first audible sample of the answer.
    VOICE_TO_VOICE: Final = "voice_to_voice_ms"
    #: Prefix of the parts of ``VOICE_TO_VOICE``, which add up to it: ``<part>_ms`` (int), and
    #: ``<part>_owner``, which names who can shorten it; see ``core.protocol.breakdown``.
    LATENCY: Final = "latency."
    #: int, ms: audio the model generated.
    GENERATED: Final = "generated_ms"
    #: int, ms: the part of the generated audio that was played, which is what the recording contains.
    HEARD: Final = "heard_ms"
    #: Evidence for ``HEARD``: ``tap``, ``client_truncate``, ``server`` or ``estimated``.
    HEARD_SOURCE: Final = "heard_source"
    #: bool: part of the generated audio was not played.
    INTERRUPTED: Final = "interrupted"
    #: Cause of the interruption: ``vad``, ``client`` or ``server``; and bool: the user said nothing, so the
    #: agent stopped without reason.
    INTERRUPTION_CAUSE: Final = "interruption_cause"
    FALSE_INTERRUPTION: Final = "false_interruption"
    #: int: number of items in the conversation before the response added its own.
    CONTEXT_ITEMS: Final = "context_items"
    #: bool: the response is not part of the conversation (``"conversation": "none"``).
    OUT_OF_BAND: Final = "out_of_band"
    #: bool: another model made the response, for a Live model that speaks about it.
    DELEGATED: Final = "delegated"
    #: Id of the Live model's delegation: ``delegation_id`` of ``response.event``, if the server sends it.
    DELEGATION_ID: Final = "delegation_id"
    #: Prompt template and its version: ``prompt`` of the response, else of the session.
    PROMPT_ID: Final = "prompt_id"
    PROMPT_VERSION: Final = "prompt_version"
    #: Prefix: the rest of the key is a key of ``response.create.metadata``, which holds the app's labels.
    RESPONSE_METADATA: Final = "response.metadata."
    #: Source of a tool's times: one of the ``TIMING_*`` values.
    TOOL_TIMING: Final = "tool.timing"
    #: int, ms: from the moment a call's arguments were complete until its result was sent.
    TOOL_WAITED: Final = "tool.waited_ms"
    #: bool: the client's answer to the server's request to run an MCP tool.
    MCP_APPROVED: Final = "mcp.approved"
    #: Languages that a transcription detected, comma-separated.
    LANGUAGES: Final = "languages"
    #: float, s: billed audio duration, for a transcription model that is billed by duration.
    TRANSCRIPTION_SECONDS: Final = "transcription.seconds"
    #: int, str: how the connection before a gap was closed (RFC 6455, section 7.4).
    CLOSE_CODE: Final = "close_code"
    CLOSE_REASON: Final = "close_reason"
    #: int: handshakes that the server refused during a gap; absent if none.
    REFUSED_HANDSHAKES: Final = "refused_handshakes"


class RootFact:
    """Product facts of a conversation, on its root, in the same two forms as ``Fact``."""

    THREAD_ID: Final = "thread_id"
    #: The session's model, which may differ from the one in the URL.
    MODEL: Final = "model"
    #: ``call_id`` of a SIP or WebRTC call that this connection controls.
    CALL_ID: Final = "call_id"
    #: 32 and 16 hex digits: ids of the span that was current at the handshake.
    PARENT_TRACE_ID: Final = "parent_trace_id"
    PARENT_SPAN_ID: Final = "parent_span_id"
    #: URL of a page that shows the conversation: ``Settings.view_url`` with the ids filled in.
    VIEW_URL: Final = "view_url"
    #: int: number of server events received, including audio deltas.
    EVENT_COUNT: Final = "event_count"
    #: float, s: duration of the conversation
    DURATION: Final = "duration_s"
    #: ``session.id``. The key is not ``session_id``, which LangSmith would take for the thread's id.
    SESSION_ID: Final = "openai_session_id"
    VOICE: Final = "voice"
    #: Audio format of each direction, as in ``session.audio``.
    INPUT_FORMAT: Final = "input_format"
    OUTPUT_FORMAT: Final = "output_format"
    #: int counts
    TURNS: Final = "turns"
    RESPONSES: Final = "responses"
    INTERRUPTIONS: Final = "interruptions"
    #: int: number of times the agent stopped although the user said nothing.
    FALSE_INTERRUPTIONS: Final = "false_interruptions"
    #: Prefixes, int: number of interruptions and of false ones by cause, such as ``interruptions_by_vad``.
    INTERRUPTIONS_BY: Final = "interruptions_by_"
    FALSE_BY: Final = "false_interruptions_by_"
    #: int: number of tool spans, and how many of them are calls that the server itself made (MCP).
    TOOL_CALLS: Final = "tool_calls"
    MCP_CALLS: Final = "mcp_calls"
    SERVER_ERRORS: Final = "server_errors"
    #: int: number of times the server spoke because of a silence (``timeout_triggered``).
    IDLE_TIMEOUTS: Final = "idle_timeouts"
    #: int: number of keys that the caller pressed.
    DTMF: Final = "dtmf"
    #: int: number of tasks that a Live model delegated (``session.delegation.created``); absent in other
    #: conversations, like the next five.
    DELEGATIONS: Final = "delegations"
    #: float, s: total billed time of a Live session, from ``session.usage.updated`` and
    #: ``session.closed``; int, s: its active and paused parts, if the server reports them.
    BILLED: Final = "billed_s"
    BILLED_ACTIVE: Final = "billed_active_s"
    BILLED_PAUSED: Final = "billed_paused_s"
    #: float, 0 to 1: the part of the Live model's context that was in use at the last report.
    CONTEXT_RATIO: Final = "context_usage_ratio"
    #: Why the server ended the session: ``reason`` of ``session.closed``.
    SESSION_CLOSED: Final = "session_close_reason"
    #: Language that live translation speaks: ``session.audio.output.language``.
    TARGET_LANGUAGE: Final = "target_language"
    #: Languages that the transcription detected, comma-separated.
    LANGUAGES: Final = "languages"
    #: ``prompt`` and ``reasoning.effort`` of the session.
    PROMPT_ID: Final = "prompt_id"
    PROMPT_VERSION: Final = "prompt_version"
    REASONING_EFFORT: Final = "reasoning_effort"
    #: int: number of events that got no span because of ``Settings.span_limit``.
    DROPPED_EVENTS: Final = "dropped_events"
    #: int, ms: audio that arrived faster than it could be written, so the recording is silent there;
    #: absent if none.
    DROPPED_AUDIO: Final = "dropped_audio_ms"
    #: int: number of ``at_ns`` times that jumped back, or forward by more than an hour; absent if none.
    TIME_JUMPS: Final = "time_jumps"
    #: int: number of times another connection continued a conversation after a close; absent if none.
    RECONNECTS: Final = "reconnects"
    #: Prefix, int: number of reconnects by the kind of failure that closed the previous connection, such
    #: as ``reconnects_after_websocket_1011``.
    RECONNECTS_AFTER: Final = "reconnects_after_"
    #: float, s: time each side talked, and time both talked at once.
    USER_TALK: Final = "user_talk_s"
    AGENT_TALK: Final = "agent_talk_s"
    OVERLAP: Final = "overlap_s"
    #: float, s: total time in which nobody talked, and its longest stretch.
    DEAD_AIR: Final = "dead_air_s"
    LONGEST_SILENCE: Final = "longest_silence_s"
    #: float, s: time in which both talked and the user had started first.
    AGENT_OVER_USER: Final = "agent_over_user_s"
    #: float, LUFS: integrated loudness of each side (ITU-R BS.1770). It is known only once the recording
    #: has been rendered, so it is on LangSmith's run, not on the OTel root. Absent for a silent side.
    USER_LOUDNESS: Final = "user_loudness_lufs"
    AGENT_LOUDNESS: Final = "agent_loudness_lufs"
    #: int, ms: median, 95th percentile and maximum over the responses.
    FIRST_AUDIO_P50: Final = "first_audio_ms_p50"
    VOICE_TO_VOICE_P50: Final = "voice_to_voice_ms_p50"
    VOICE_TO_VOICE_P95: Final = "voice_to_voice_ms_p95"
    VOICE_TO_VOICE_MAX: Final = "voice_to_voice_ms_max"
    #: Prefix: the same for each part of the wait, such as ``latency.<part>_ms_p50``.
    LATENCY: Final = "latency."
    #: int, ms: how much audio the client's player buffered before it played, as shown by its truncations
    #: or a tap; absent if unknown.
    PLAYER_BUFFER: Final = "player_buffer_ms"
    #: int and str of the received close frame:
    #: https://www.rfc-editor.org/rfc/rfc6455#section-7.4
    CLOSE_CODE: Final = "close_code"
    CLOSE_REASON: Final = "close_reason"
    #: int: number of stretches of the recording that were redacted; int, ms: the time in which at least
    #: one side is silent because of it. Absent if there are none.
    REDACTIONS: Final = "redactions"
    REDACTED_MS: Final = "redacted_ms"
    #: JSON text: the first hundred of these stretches, ``[{"start_ms", "end_ms", "side", "why"}]``.
    #: ``side`` is ``user``, ``agent`` or ``both``; ``why`` is ``call``, ``hook`` or ``command``.
    REDACTED: Final = "redacted"
    #: Why the recording is missing or incomplete.
    RECORDING_ERROR: Final = "recording_error"


class Meta:
    """Keys of LangSmith metadata only, which LangSmith's pages or its client read.

    ``ls_*`` keys: https://docs.langchain.com/langsmith/ls-metadata-parameters and, for voice,
    https://docs.langchain.com/langsmith/trace-voice-fundamentals
    """

    STATUS: Final = "status"
    STATUS_REASON: Final = "status_reason"
    #: float: seconds from the root's start to the event's receipt.
    RECEIVED_AT: Final = "received_at_s"
    #: Provider and model as LangSmith's price map spells them:
    #: https://docs.langchain.com/langsmith/cost-tracking
    PROVIDER: Final = "ls_provider"
    MODEL_NAME: Final = "ls_model_name"
    #: ``root``: the run that LangSmith's trajectory view starts from.
    AGENT_TYPE: Final = "ls_agent_type"
    #: ``completions``: how that view reads the outputs of a model call.
    MESSAGE_FORMAT: Final = "ls_message_format"
    #: bool: that view leaves the run out; its presence counts, not its value.
    MESSAGE_VIEW_EXCLUDE: Final = "ls_message_view_exclude"
    #: ``audio`` marks a voice conversation.
    MODALITY: Final = "ls_modality"
    INTEGRATION: Final = "ls_integration"
    INTEGRATION_VERSION: Final = "ls_integration_version"
    #: 32 hex digits, to find the same conversation in another backend.
    OTEL_TRACE_ID: Final = "OTEL_TRACE_ID"
    #: ``attached``, ``none``, ``no_credentials``, ``disabled``, ``too_large``, ``failed``, ``pending``.
    ATTACH_STATUS: Final = "ls_audio_attach_status"
    #: float: epoch seconds of the recording's first sample.
    RECORDING_STARTED_AT: Final = "ls_audio_recording_started_at"
    #: int, ms: start of the recording minus start of the root; aligns player and waterfall.
    RECORDING_START_OFFSET: Final = "ls_audio_recording_start_offset_ms"
    #: bool, on ``speech_started``: the app reported that its player was still audible. LangSmith's own
    #: Realtime wrapper uses the same name.
    WAS_INTERRUPTED: Final = "was_interrupted"


#: Prefixes of metadata keys that only LangSmith reads; they are not sent to other backends.
LANGSMITH_ONLY: Final = ("ls_", Meta.OTEL_TRACE_ID)
#: Name of the recording among the run's attachments; LangSmith's clients skip names with a ".".
#: https://docs.langchain.com/langsmith/upload-files-with-traces
ATTACHMENT_NAME: Final = "conversation"

# -- Metrics ---------------------------------------------------------------------------------------
# https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md

#: Attribute: ``input`` or ``output``.
TOKEN_TYPE: Final = "gen_ai.token.type"
#: Attribute: ``text``, ``audio`` or ``image``; the modalities partition the total.
TOKEN_MODALITY: Final = "gen_ai.token.modality"
#: Histogram, {token}
METRIC_TOKENS: Final = "gen_ai.client.token.usage"
#: Counter, {token}: input tokens read from the cache.
METRIC_CACHED: Final = "otel_realtime.token.cached"
#: Histogram, s: from ``response.created`` to ``response.done``.
METRIC_OPERATION: Final = "gen_ai.client.operation.duration"
#: Histogram, s: from ``response.created`` to the first audio delta.
METRIC_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
#: Histogram, s
METRIC_TOOL: Final = "gen_ai.execute_tool.duration"
#: Histogram, s
METRIC_VOICE_TO_VOICE: Final = "otel_realtime.voice_to_voice"
#: Histogram, s: one part of voice-to-voice latency, by ``LATENCY_PART`` and ``LATENCY_OWNER``.
METRIC_LATENCY: Final = "otel_realtime.latency"
LATENCY_PART: Final = "otel_realtime.latency.part"
LATENCY_OWNER: Final = "otel_realtime.latency.owner"
#: Histogram, s
METRIC_CONVERSATION: Final = "otel_realtime.conversation.duration"
#: Up-down counter, {conversation}
METRIC_ACTIVE: Final = "otel_realtime.conversations.active"
#: Counter, {response}, by the next two attributes.
METRIC_INTERRUPTIONS: Final = "otel_realtime.interruptions"
INTERRUPTION_CAUSE: Final = "otel_realtime.interruption.cause"
INTERRUPTION_FALSE: Final = "otel_realtime.interruption.false"
#: Histograms, s, one value for each recorded conversation; see the names in ``RootFact``.
METRIC_DEAD_AIR: Final = "otel_realtime.dead_air"
METRIC_LONGEST_SILENCE: Final = "otel_realtime.longest_silence"
METRIC_AGENT_OVER_USER: Final = "otel_realtime.agent_over_user"
#: Counter, {error}: ``error`` events from the server.
METRIC_ERRORS: Final = "otel_realtime.errors"
#: Counter, {recording}, by ``outcome`` (a value of ``Meta.ATTACH_STATUS``).
METRIC_UPLOADS: Final = "otel_realtime.recording.uploads"
#: Up-down counter, By: size of this process's conversations on disk.
METRIC_PENDING: Final = "otel_realtime.recording.pending"
#: Counter, {item}, by ``what`` (see ``diagnostics``).
METRIC_LOST: Final = "otel_realtime.telemetry.lost"
