/** The call object (otel_realtime/calls/call.schema.json), version 1. Offsets are milliseconds into the recording. */

export interface Percentiles { p50: number | null; p95: number | null; max: number | null }

export interface TokenCounts {
  total: number | null; text: number | null; audio: number | null; image?: number | null;
  cached?: number | null; cached_text?: number | null; cached_audio?: number | null; cached_image?: number | null;
}

export interface Usage {
  model?: string | null;
  input: TokenCounts | null;
  output: TokenCounts | null;
  seconds?: number | null;
}

export interface LatencyPart { cause: string; ms: number }

export interface Latency { total_ms: number; parts: LatencyPart[] }

export interface Turn {
  index: number;
  role: "user" | "assistant" | string;
  start_ms: number | null;
  end_ms: number | null;
  text: string | null;
  heard_text: string | null;
  interrupted: boolean | null;
  false_interruption: boolean | null;
  generated_ms: number | null;
  heard_ms: number | null;
  heard_source: string | null;
  item_ids: string[];
  responses: number[];
  tools: number[];
  latency: Latency | null;
  usage: Usage | null;
}

export interface ModelCall {
  index: number;
  id: string | null;
  span_id: string | null;
  model: string | null;
  status: string | null;
  reason: string | null;
  start_ms: number;
  end_ms: number | null;
  first_audio_ms: number | null;
  generated_ms: number | null;
  heard_ms: number | null;
  interrupted: boolean | null;
  out_of_band: boolean | null;
  usage: Usage | null;
  error: string | null;
  turn: number | null;
}

export interface ToolCall {
  index: number;
  call_id: string | null;
  span_id: string | null;
  name: string;
  type: string | null;
  start_ms: number;
  end_ms: number | null;
  waited_ms: number | null;
  timing: string | null;
  arguments: unknown;
  result: unknown;
  error: string | null;
  response: number | null;
  turn: number | null;
}

export interface Interruption {
  at_ms: number; turn: number | null; false: boolean; generated_ms: number | null; heard_ms: number | null;
}

export interface CallError {
  at_ms: number; type: string | null; code: string | null; message: string | null; span_id: string | null;
}

export interface Facts {
  turns: number | null; responses: number | null; interruptions: number | null; false_interruptions: number | null;
  tool_calls: number | null; server_errors: number | null; user_talk_s: number | null; agent_talk_s: number | null;
  overlap_s: number | null; dead_air_s: number | null; longest_silence_s: number | null; agent_over_user_s: number | null;
  voice_to_voice_ms: Percentiles | null; first_audio_ms: Percentiles | null;
}

/** A stretch of the recording that was silenced, on one side or on both. */
export interface Redaction { start_ms: number; end_ms: number; side: string; why: string }

export interface Recording {
  file: string | null; mime: string | null; duration_ms: number | null; sample_rate: number | null; channels: string[];
}

export interface Call {
  id: string;
  trace_id: string | null;
  thread_id: string | null;
  name: string | null;
  project: string | null;
  started_at: string | null;
  duration_ms: number | null;
  live: boolean;
  status: "ok" | "error";
  error: string | null;
  close: { code: number | null; reason: string | null } | null;
  model: string | null;
  voice: string | null;
  metadata: Record<string, unknown>;
  tags: string[];
  facts: Facts;
  usage: Usage[];
  recording: Recording | null;
  turns: Turn[];
  responses: ModelCall[];
  tools: ToolCall[];
  interruptions: Interruption[];
  errors: CallError[];
  redacted?: Redaction[];
}

/** A finding of the sandbox: something that LangSmith would drop, ignore or show only in part. */
export interface Finding { kind: string; message: string; rule: string; run_id: string; scope?: string }

export interface CallPage {
  call: Call;
  /** Label and URL of each external page that shows the same call. */
  links: { label: string; href: string }[];
  has_spans: boolean;
  findings: Finding[];
  shapes: Finding[];
}

export interface SpanRow {
  id: string;
  parent: string | null;
  span_id: string;
  name: string;
  kind: string;
  start_ms: number;
  end_ms: number | null;
  error: boolean;
}

/** One row of the list. */
export interface CallRow {
  id: string;
  name: string | null;
  thread_id: string | null;
  project: string | null;
  model: string | null;
  started_at: string | null;
  duration_ms: number | null;
  status: string;
  live: boolean;
  turns: number | null;
  interruptions: number | null;
  tools: number | null;
  errors: number | null;
  tokens: number | null;
  p50: number | null;
  p95: number | null;
  opening: string | null;
  snippet: string | null;
  recording: boolean;
  findings?: number;
}

export interface CallList {
  total: number;
  calls: CallRow[];
}

export interface ListSummary {
  total: number;
  /** Whether this server receives calls and may delete them; a folder of recordings is read-only. */
  takes?: boolean;
  facets: { models: string[]; projects: string[]; tools: string[] };
  /** p50 and p95 of each of the latest calls that match, oldest first. */
  latency: { id: string; started_at: string | null; p50: number; p95: number }[];
}
