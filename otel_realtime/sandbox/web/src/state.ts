/** The state of the conversation page: one call, one selection, one time axis, shared by all its parts. */

import { computed, signal } from "@preact/signals";
import type { Call, CallPage, SpanRow } from "./model";
import type { Source } from "./source";

export type Kind = "turn" | "response" | "tool" | "error" | "interruption" | "span";
export interface Selection { kind: Kind; id: string }

export const source = signal<Source | null>(null);
export const page = signal<CallPage | null>(null);
export const spans = signal<SpanRow[] | null>(null);
export const selection = signal<Selection | null>(null);
/** The part of the time axis that is shown, in ms; null: all of it. */
export const zoom = signal<{ from: number; to: number } | null>(null);
/** A stretch marked by dragging, in ms. */
export const range = signal<{ from: number; to: number } | null>(null);
export const panel = signal<"details" | "spans" | "call">("details");

export const call = computed<Call | null>(() => page.value?.call ?? null);

/** End of the time axis: the end of the recording, or the last event. */
export const total = computed<number>(() => {
  const shown = call.value;
  if (!shown) return 1;
  const ends = [shown.recording?.duration_ms, shown.duration_ms];
  // A live call has no end yet, so its axis ends with the last event.
  if (shown.live || !ends.some(Boolean)) {
    for (const turn of shown.turns) ends.push(turn.end_ms);
    for (const item of [...shown.responses, ...shown.tools]) ends.push(item.end_ms ?? item.start_ms);
    for (const item of [...shown.errors, ...shown.interruptions]) ends.push(item.at_ms + 1000);
  }
  return Math.max(shown.live ? 5000 : 1000, ...ends.map((end) => end ?? 0));
});

export const view = computed(() => zoom.value ?? { from: 0, to: total.value });

/** The parts that belong to the selection, which every part of the page highlights. */
export interface Related {
  turns: Set<number>; responses: Set<number>; tools: Set<number>; spans: Set<string>; from: number | null; to: number | null;
}

function relatedTo(shown: Call, chosen: Selection | null): Related {
  const found: Related = { turns: new Set(), responses: new Set(), tools: new Set(), spans: new Set(), from: null, to: null };
  if (!chosen) return found;
  const index = Number(chosen.id);
  const within = (from: number | null, to: number | null): void => {
    found.from = from;
    found.to = to ?? from;
  };
  const addSpan = (id: string | null | undefined): void => void (id && found.spans.add(id));
  if (chosen.kind === "turn") {
    const turn = shown.turns[index];
    if (!turn) return found;
    found.turns.add(index);
    turn.responses.forEach((n) => found.responses.add(n));
    turn.tools.forEach((n) => found.tools.add(n));
    within(turn.start_ms, turn.end_ms);
  } else if (chosen.kind === "response") {
    const response = shown.responses[index];
    if (!response) return found;
    found.responses.add(index);
    if (response.turn !== null) found.turns.add(response.turn);
    shown.tools.forEach((tool) => tool.response === index && found.tools.add(tool.index));
    within(response.start_ms, response.end_ms);
  } else if (chosen.kind === "tool") {
    const tool = shown.tools[index];
    if (!tool) return found;
    found.tools.add(index);
    if (tool.response !== null) found.responses.add(tool.response);
    if (tool.turn !== null) found.turns.add(tool.turn);
    within(tool.start_ms, tool.end_ms);
  } else if (chosen.kind === "error") {
    const error = shown.errors[index];
    addSpan(error?.span_id);
    within(error?.at_ms ?? null, null);
  } else if (chosen.kind === "interruption") {
    const cut = shown.interruptions[index];
    if (cut?.turn != null) found.turns.add(cut.turn);
    within(cut?.at_ms ?? null, null);
  } else {
    addSpan(chosen.id);
    const row = spans.value?.find((span) => span.span_id === chosen.id);
    if (row) within(row.start_ms, row.end_ms);
  }
  found.responses.forEach((n) => addSpan(shown.responses[n]?.span_id));
  found.tools.forEach((n) => addSpan(shown.tools[n]?.span_id));
  return found;
}

const NONE: Related = { turns: new Set(), responses: new Set(), tools: new Set(), spans: new Set(), from: null, to: null };
export const related = computed<Related>(() => (call.value ? relatedTo(call.value, selection.value) : NONE));

/** Select a span: its entry in the call object (a model call, a tool), otherwise the span itself. */
export function selectSpan(spanId: string): void {
  const shown = call.value;
  const response = shown?.responses.find((item) => item.span_id === spanId);
  const tool = shown?.tools.find((item) => item.span_id === spanId);
  const error = shown?.errors.findIndex((item) => item.span_id === spanId) ?? -1;
  if (response) select("response", response.index);
  else if (tool) select("tool", tool.index);
  else if (error >= 0) select("error", error);
  else select("span", spanId);
}

export function select(kind: Kind, id: number | string): void {
  selection.value = { kind, id: String(id) };
  reveal();
}

/** Move the time axis to the selection if it is zoomed in somewhere else. */
function reveal(): void {
  const { from, to } = related.value;
  const shown = zoom.value;
  if (!shown || from === null || to === null) return;
  if (to < shown.from || from > shown.to) {
    const width = shown.to - shown.from;
    show(from - width * 0.2, from + width * 0.8);
  }
}

/** Show a part of the time axis; the whole axis means no zoom. */
export function show(from: number, to: number): void {
  const width = Math.min(total.value, Math.max(400, to - from));
  if (width >= total.value * 0.999) {
    zoom.value = null;
    return;
  }
  const start = Math.max(0, Math.min(total.value - width, from));
  zoom.value = { from: start, to: start + width };
}

export function zoomBy(factor: number, around: number): void {
  const { from, to } = view.value;
  show(around - (around - from) * factor, around + (to - around) * factor);
}
