/** Shows the conversation as turns: who said what when, how much was heard, how long it took. */

import { computed, effect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { clock, compact, length, milliseconds } from "./format";
import { Icon } from "./icons";
import type { Call, CallError, ToolCall, Turn } from "./model";
import { Button, copy, Json } from "./parts";
import * as player from "./player";
import { call as shownCall, related, select, selection } from "./state";
import { causeColor, causeLabel, causeName } from "./timeline/gaps";
import { saveClip } from "./transport";
import { Virtual, type Scroller } from "./virtual";

type Row = { turn: Turn } | { error: CallError; index: number } | { tool: ToolCall };

/** Turns, and between them entries without a turn: server errors and some tools. */
function rowsOf(call: Call): Row[] {
  const rows: { at: number; row: Row }[] = call.turns.map((turn) => ({ at: turn.start_ms ?? 0, row: { turn } }));
  let at = 0; // a turn without a time stays after the previous one
  for (const row of rows) row.at = at = Math.max(at, row.at);
  call.errors.forEach((error, index) => rows.push({ at: error.at_ms, row: { error, index } }));
  call.tools.filter((tool) => tool.turn === null).forEach((tool) => rows.push({ at: tool.start_ms, row: { tool } }));
  return rows.sort((a, b) => a.at - b.at).map((item) => item.row);
}

/** The current turns as text, so that it changes with the turns, not with every frame. */
const nowKey = computed(() => {
  if (!player.playing.value) return "";
  const at = player.position.value;
  return (shownCall.value?.turns ?? []).filter((turn) => turn.start_ms !== null && at >= turn.start_ms && at < (turn.end_ms ?? 0)).map((turn) => turn.index).join();
});
const nowHeard = computed(() => (nowKey.value ? nowKey.value.split(",").map(Number) : []));

export function Transcript({ call, sound }: { call: Call; sound: boolean }) {
  const scroll = useRef<HTMLDivElement>(null);
  const list = useRef<Scroller | null>(null);
  const rows = useMemo(() => rowsOf(call), [call]);

  useEffect(() => effect(() => {
    const chosen = selection.value;
    if (!chosen) return;
    const turn = [...related.value.turns][0];
    const index = rows.findIndex((row) =>
      "turn" in row ? row.turn.index === turn : "error" in row ? chosen.kind === "error" && row.index === Number(chosen.id) : related.value.tools.has(row.tool.index));
    if (index >= 0 && !isVisible(scroll.current, index)) list.current?.scrollToIndex(index, { align: "center" });
  }), [rows]);

  if (!rows.length) return <div class="card transcript"><p class="empty">{call.live ? "Nobody has spoken yet." : "This call has no transcript."}</p></div>;
  return (
    <section class="card transcript" aria-label="Transcript" ref={scroll} tabIndex={0}>
      <Virtual scroll={scroll} count={rows.length} estimate={92} measured handle={list}>
        {(index) => {
          const row = rows[index]!;
          if ("turn" in row) return <TurnRow call={call} turn={row.turn} sound={sound} />;
          return "error" in row ? <ErrorRow error={row.error} index={row.index} /> : <div class="turn lone"><ToolFold tool={row.tool} /></div>;
        }}
      </Virtual>
    </section>
  );
}

function isVisible(box: HTMLElement | null, index: number): boolean {
  const row = box?.querySelector(`[data-index="${index}"]`)?.getBoundingClientRect();
  const frame = box?.getBoundingClientRect();
  return Boolean(row && frame && row.top >= frame.top && row.bottom <= frame.bottom);
}

export const playTurn = (turn: Turn): void => {
  if (turn.start_ms !== null) void player.play(turn.start_ms, turn.end_ms ?? undefined);
};

function TurnRow({ call, turn, sound }: { call: Call; turn: Turn; sound: boolean }) {
  const user = turn.role === "user";
  const now = nowHeard.value.includes(turn.index);
  const chosen = related.value.turns.has(turn.index);
  const range = `${user ? "user" : "agent"}-${turn.index + 1}`;
  return (
    <article class={`turn ${user ? "user" : "agent"} ${chosen ? "chosen" : ""} ${now ? "now" : ""}`} aria-current={chosen ? "true" : undefined}
      onClick={(event) => (event.target as HTMLElement).closest("button,a,details,summary") || chooseTurn(turn)}>
      <div class="who">
        <b>{user ? "User" : "Agent"}</b>
        <button type="button" class="at" title="Hear it from here" aria-label={`${turn.start_ms === null ? "–" : clock(turn.start_ms, 1)}: hear turn ${turn.index + 1}`} disabled={turn.start_ms === null}
          onClick={() => { select("turn", turn.index); sound ? void player.play(turn.start_ms ?? 0) : player.seek(turn.start_ms ?? 0); }}>
          {turn.start_ms === null ? "–" : clock(turn.start_ms, 1)}
        </button>
      </div>
      <div class="said">
        {turn.latency && <LatencyLine turn={turn} />}
        <Words turn={turn} />
        {turn.tools.map((n) => call.tools[n] && <ToolFold key={n} tool={call.tools[n]!} />)}
        <div class="notes">
          {turn.interrupted && <span class="chip cut"><Icon name="cut" /> cut off{turn.heard_ms !== null && turn.generated_ms !== null ? ` · heard ${length(turn.heard_ms)} of ${length(turn.generated_ms)}` : ""}</span>}
          {turn.false_interruption && <span class="chip">false interruption</span>}
          {turn.usage && <span class="quiet" title="Tokens of the model calls of this turn">{compact(turn.usage.input?.total)} in · {compact(turn.usage.output?.total)} out</span>}
          {turn.start_ms !== null && turn.end_ms !== null && <span class="quiet">{length(turn.end_ms - turn.start_ms)}</span>}
          <span class="actions">
            {sound && turn.start_ms !== null && <Button icon="play" filled label={`Play turn ${turn.index + 1}`} kind="ghost" onClick={() => { select("turn", turn.index); playTurn(turn); }} />}
            {sound && turn.start_ms !== null && turn.end_ms !== null && <Button icon="save" label={`Save turn ${turn.index + 1} as WAV`} kind="ghost" onClick={() => saveClip(call, turn.start_ms!, turn.end_ms!, range)} />}
            <Button icon="copy" label={`Copy the words of turn ${turn.index + 1}`} kind="ghost" onClick={() => void copy(turn.text ?? "", "Words")} />
          </span>
        </div>
      </div>
    </article>
  );
}

export function chooseTurn(turn: Turn): void {
  if (getSelection()?.toString()) return; // the user is selecting text
  select("turn", turn.index);
  if (turn.start_ms !== null && !player.playing.value) player.seek(turn.start_ms);
}

/** The words that were heard, followed by those that were not. */
function Words({ turn }: { turn: Turn }) {
  const text = turn.text ?? "";
  const heard = turn.heard_text;
  if (!text && !heard) return <p class="words empty">{turn.role === "user" ? "(not transcribed)" : "(no words)"}</p>;
  if (!turn.interrupted || heard === null || heard === text || !text.startsWith(heard.trimEnd())) return <p class="words">{text || heard}</p>;
  const rest = text.slice(heard.trimEnd().length);
  return <p class="words">{heard.trimEnd()}<del title="Generated, but never heard">{rest}</del></p>;
}

export function LatencyLine({ turn }: { turn: Turn }) {
  const latency = turn.latency!;
  const whole = Math.max(latency.total_ms, latency.parts.reduce((sum, part) => sum + part.ms, 0), 1);
  return (
    <div class="latency" title={latency.parts.map((part) => `${milliseconds(part.ms)} ${causeName(part.cause)}`).join("\n")}>
      <span class={`ms ${latency.total_ms > 1500 ? "slow" : ""}`}>{milliseconds(latency.total_ms)}</span>
      <span class="bar" aria-hidden="true">
        {latency.parts.map((part, n) => <i key={n} class={`part ${causeColor(part.cause)}`} style={{ width: `${(100 * part.ms) / whole}%` }} />)}
      </span>
      <span class="quiet parts">{latency.parts.filter((part) => part.ms >= 1).map((part) => `${causeLabel(part.cause)} ${Math.round(part.ms)}`).join(" · ")}</span>
    </div>
  );
}

export function ToolFold({ tool }: { tool: ToolCall }) {
  const chosen = related.value.tools.has(tool.index);
  return (
    <details class={`tool ${tool.error !== null ? "failed" : ""} ${chosen ? "chosen" : ""}`} onToggle={(event) => event.currentTarget.open && select("tool", tool.index)}>
      <summary><Icon name={tool.error !== null ? "alert" : "tool"} /><b>{tool.name}</b><span class="quiet">{tool.error !== null ? "failed" : length(tool.waited_ms ?? (tool.end_ms ?? tool.start_ms) - tool.start_ms)}</span></summary>
      {tool.error !== null && <p class="bad">{tool.error}</p>}
      {tool.arguments != null && <><h2 class="minor">Arguments</h2><Json value={tool.arguments} label={`Arguments of ${tool.name}`} /></>}
      {tool.result != null && <><h2 class="minor">Result</h2><Json value={tool.result} label={`Result of ${tool.name}`} /></>}
    </details>
  );
}

function ErrorRow({ error, index }: { error: CallError; index: number }) {
  const chosen = selection.value?.kind === "error" && Number(selection.value.id) === index;
  return (
    <article class={`turn failure ${chosen ? "chosen" : ""}`} onClick={() => select("error", index)}>
      <div class="who"><b><Icon name="alert" /> Error</b><button type="button" class="at" onClick={() => { select("error", index); player.seek(error.at_ms); }}>{clock(error.at_ms, 1)}</button></div>
      <div class="said"><p class="words">{error.message ?? "(no message)"}</p><div class="notes"><span class="quiet">{[error.type, error.code].filter(Boolean).join(" · ")}</span></div></div>
    </article>
  );
}
