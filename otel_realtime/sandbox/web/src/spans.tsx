/** Shows the tree of traced spans; payloads are loaded on demand. */

import { effect, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { length, moment } from "./format";
import type { SpanRow } from "./model";
import { Json, Pairs } from "./parts";
import { call, related, selectSpan, source, spans, total } from "./state";
import { Virtual, type Scroller } from "./virtual";

interface Placed { span: SpanRow; depth: number }

/** Depth first with an explicit stack, because a trace may be nested deeper than the call stack. */
function ordered(rows: SpanRow[]): Placed[] {
  const children = new Map<string | null, SpanRow[]>();
  const known = new Set(rows.map((row) => row.id));
  for (const row of rows) {
    const parent = row.parent !== null && known.has(row.parent) && row.parent !== row.id ? row.parent : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(row);
    else children.set(parent, [row]);
  }
  const placed: Placed[] = [];
  const stack: Placed[] = (children.get(null) ?? []).map((span) => ({ span, depth: 0 })).reverse();
  const seen = new Set<string>();
  while (stack.length) {
    const next = stack.pop()!;
    if (seen.has(next.span.id)) continue;
    seen.add(next.span.id);
    placed.push(next);
    for (const child of (children.get(next.span.id) ?? []).toReversed()) stack.push({ span: child, depth: next.depth + 1 });
  }
  return placed;
}

/** The keys of the ARIA tree pattern: https://www.w3.org/WAI/ARIA/apg/patterns/treeview/ */
const STEPS: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };

export function SpanPanel() {
  const scroll = useRef<HTMLDivElement>(null);
  const list = useRef<Scroller | null>(null);
  const query = useSignal("");
  const matches = useSignal<Set<string> | null>(null);
  const shown = call.value!;

  useEffect(() => {
    const from = source.value!;
    let gone = false;
    void from.spans().then((rows) => void (gone || (spans.value = rows)), () => void (gone || (spans.value ??= [])));
    return () => {
      gone = true;
    };
  }, [shown]);

  useEffect(() => effect(() => {
    const text = query.value.trim();
    if (!text) {
      matches.value = null;
      return;
    }
    const timer = setTimeout(() => void source.value!.searchSpans(text).then((ids) => void (query.peek().trim() === text && (matches.value = new Set(ids)))), 180);
    return () => clearTimeout(timer);
  }), []);

  const all = useMemo(() => ordered(spans.value ?? []), [spans.value]);
  const rows = useMemo(() => (matches.value ? all.filter(({ span }) => matches.value!.has(span.id)) : all), [all, matches.value]);
  const marked = related.value.spans;
  const current = rows.findIndex(({ span }) => marked.has(span.span_id));

  useEffect(() => {
    if (current >= 0) list.current?.scrollToIndex(current, { align: "center" });
  }, [current, rows]);

  if (!spans.value) return <p class="empty">Loading the spans…</p>;
  const step = (event: KeyboardEvent): void => {
    const by = STEPS[event.key];
    if (by === undefined || !rows.length) return;
    event.preventDefault();
    event.stopPropagation();
    const next = rows[Math.max(0, Math.min(rows.length - 1, current + by))]!;
    selectSpan(next.span.span_id);
  };
  const selected = current >= 0 ? rows[current]!.span : null;
  return (
    <div class="spans">
      <label class="search"><span class="hidden">Search names and payloads</span>
        <input type="search" placeholder="Search names and payloads" value={query.value} onInput={(event) => (query.value = event.currentTarget.value)} />
        <small class="quiet">{matches.value ? `${rows.length} of ${all.length}` : all.length.toLocaleString("en")}</small>
      </label>
      <div class="tree" role="tree" aria-label="Spans" tabIndex={0} ref={scroll} onKeyDown={step} aria-activedescendant={selected ? `span-${selected.id}` : undefined}>
        {rows.length === 0 && <p class="empty" role="none">Nothing matches.</p>}
        <Virtual scroll={scroll} count={rows.length} estimate={28} handle={list}>
          {(index) => <Row placed={rows[index]!} marked={marked.has(rows[index]!.span.span_id)} />}
        </Virtual>
      </div>
      {selected && <Payload key={selected.id} span={selected} />}
    </div>
  );
}

function Row({ placed: { span, depth }, marked }: { placed: Placed; marked: boolean }) {
  const left = (100 * span.start_ms) / total.value;
  const width = (100 * ((span.end_ms ?? total.value) - span.start_ms)) / total.value;
  return (
    <div id={`span-${span.id}`} role="treeitem" aria-level={depth + 1} aria-selected={marked} class={`span ${marked ? "chosen" : ""} ${span.error ? "failed" : ""}`} onClick={() => selectSpan(span.span_id)}>
      <span class="name" style={{ paddingLeft: `${Math.min(depth, 12) * 14}px` }}><i class={`dot ${span.kind}`} title={span.kind} />{span.name || "(no name)"}</span>
      <span class="quiet">{span.end_ms === null ? "…" : length(span.end_ms - span.start_ms)}</span>
      <span class="track" aria-hidden="true"><i class={span.kind} style={{ left: `${left}%`, width: `${Math.max(0.6, width)}%` }} /></span>
    </div>
  );
}

const BLOCKS = [["error", "Error"], ["inputs", "Input"], ["outputs", "Output"], ["usage", "Usage"], ["metadata", "Metadata"], ["attributes", "Attributes as received"], ["events", "Events"]] as const;

function Payload({ span }: { span: SpanRow }) {
  const payload = useSignal<Record<string, unknown> | null>(null);
  const failed = useSignal(false);
  useEffect(() => void source.value!.span(span.id).then((value) => (payload.value = value), () => (failed.value = true)), [span.id]);
  if (failed.value) return <p class="bad" role="alert">The payload could not be loaded.</p>;
  const value = payload.value;
  if (!value) return <p class="empty">Loading…</p>;
  const filled = (item: unknown): boolean => item != null && (typeof item !== "object" || Object.keys(item).length > 0);
  return (
    <div class="payload">
      <h2 class="minor">{span.name}</h2>
      <Pairs pairs={[
        ["Kind", String(value.run_type ?? span.kind)], ["Lasted", span.end_ms === null ? null : length(span.end_ms - span.start_ms)],
        ["Start", typeof value.start_ns === "number" ? moment(new Date(value.start_ns / 1e6).toISOString()) : null],
        ["Delivered by", value.delivered_by === "otlp" ? "OTLP" : value.delivered_by === "runs_api" ? "runs API" : null],
        ["Run", <span class="mono">{span.id}</span>], ["Span", <span class="mono">{span.span_id}</span>],
      ]} />
      {BLOCKS.filter(([key]) => filled(value[key])).map(([key, name]) => (
        <details key={key} open={key === "error" || key === "inputs" || key === "outputs"}><summary>{name}</summary><Json value={value[key]} label={name} /></details>
      ))}
    </div>
  );
}

