/** Shows the selection in full, and the call's own facts. */

import { clock, length, milliseconds, moment, number } from "./format";
import type { Call, CallError, CallPage, Interruption, ModelCall, TokenCounts, ToolCall, Turn, Usage } from "./model";
import { copy, Json, Pairs } from "./parts";
import * as player from "./player";
import { call, page, panel, select, selection, selectSpan } from "./state";
import { SpanPanel } from "./spans";
import { causeColor, causeName } from "./timeline/gaps";
import { unheard } from "./timeline/draw";

const TABS = [["details", "Selection"], ["spans", "Spans"], ["call", "Call"]] as const;

export function Inspector() {
  const shown = page.value!;
  const tabs = TABS.filter(([id]) => id !== "spans" || shown.has_spans);
  const move = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const index = tabs.findIndex(([id]) => id === panel.value);
    panel.value = tabs[(index + step + tabs.length) % tabs.length]![0];
    document.getElementById(`tab-${panel.value}`)?.focus();
  };
  return (
    <section class="card inspector" aria-label="Details">
      <div class="tabs" role="tablist" aria-label="Details" onKeyDown={move}>
        {tabs.map(([id, name]) => (
          <button key={id} id={`tab-${id}`} type="button" role="tab" aria-selected={panel.value === id} aria-controls="panel" tabIndex={panel.value === id ? 0 : -1} onClick={() => (panel.value = id)}>{name}</button>
        ))}
      </div>
      <div id="panel" role="tabpanel" aria-labelledby={`tab-${panel.value}`} class={`panel ${panel.value}`} tabIndex={0}>
        {panel.value === "details" && <Details />}
        {panel.value === "spans" && <SpanPanel />}
        {panel.value === "call" && <CallFacts shown={shown} />}
      </div>
    </section>
  );
}

function Details() {
  const shown = call.value!;
  const chosen = selection.value;
  if (!chosen) return <p class="empty">Select a turn, a pause, a model call or a tool: here is what is known of it.</p>;
  const index = Number(chosen.id);
  if (chosen.kind === "turn" && shown.turns[index]) return <TurnDetails shown={shown} turn={shown.turns[index]!} />;
  if (chosen.kind === "response" && shown.responses[index]) return <ResponseDetails shown={shown} item={shown.responses[index]!} />;
  if (chosen.kind === "tool" && shown.tools[index]) return <ToolDetails tool={shown.tools[index]!} />;
  if (chosen.kind === "error" && shown.errors[index]) return <ErrorDetails error={shown.errors[index]!} />;
  if (chosen.kind === "interruption" && shown.interruptions[index]) return <CutDetails cut={shown.interruptions[index]!} />;
  return <p class="empty">A span is selected: see the tab Spans.</p>;
}

const At = ({ ms }: { ms: number | null }) =>
  ms === null ? <>–</> : <button type="button" class="plain at" title="Go there" onClick={() => player.seek(ms)}>{clock(ms, 2)}</button>;

const SpanLink = ({ id }: { id: string | null }) =>
  id ? <button type="button" class="plain mono" onClick={() => { panel.value = "spans"; selectSpan(id); }}>{id}</button> : null;

function TurnDetails({ shown, turn }: { shown: Call; turn: Turn }) {
  return (
    <>
      <h2 class={turn.role === "user" ? "user" : "agent"}>{turn.role === "user" ? "User" : "Agent"}, turn {turn.index + 1}</h2>
      <Pairs pairs={[
        ["From", <At ms={turn.start_ms} />], ["To", <At ms={turn.end_ms} />],
        ["Generated", turn.generated_ms === null ? null : length(turn.generated_ms)],
        ["Heard", turn.heard_ms === null ? null : `${length(turn.heard_ms)}${turn.heard_source ? ` (${turn.heard_source.replaceAll("_", " ")})` : ""}`],
        ["Never heard", unheard(turn) ? length(unheard(turn)) : null],
        ["Interrupted", turn.interrupted ? (turn.false_interruption ? "yes, but nobody spoke" : "yes") : null],
      ]} />
      {turn.latency && <LatencyTable turn={turn} />}
      {turn.usage && <UsageTable usage={[turn.usage]} title="Tokens" />}
      <Links title="Model calls" items={turn.responses.map((n) => shown.responses[n]).filter((item) => item !== undefined).map((item) => ({ key: item.index, text: `${item.model ?? "model"} · ${item.status ?? "running"}`, go: () => select("response", item.index) }))} />
      <Links title="Tools" items={turn.tools.map((n) => shown.tools[n]).filter((item) => item !== undefined).map((item) => ({ key: item.index, text: item.name, go: () => select("tool", item.index) }))} />
      {turn.item_ids.length > 0 && <Pairs pairs={[["Items", <span class="mono">{turn.item_ids.join(" ")}</span>]]} />}
    </>
  );
}

function Links({ title, items }: { title: string; items: { key: number; text: string; go: () => void }[] }) {
  if (!items.length) return null;
  return <div><h2 class="minor">{title}</h2><ul class="links">{items.map((item) => <li key={item.key}><button type="button" class="plain" onClick={item.go}>{item.text}</button></li>)}</ul></div>;
}

function LatencyTable({ turn }: { turn: Turn }) {
  const latency = turn.latency!;
  const whole = Math.max(latency.total_ms, ...latency.parts.map((part) => part.ms), 1);
  return (
    <div>
      <h2 class="minor">Voice to voice: {milliseconds(latency.total_ms)}</h2>
      <table class="latency-table">
        <tbody>
          {latency.parts.filter((part) => part.ms >= 1).map((part, n) => (
            <tr key={n}><th scope="row">{causeName(part.cause)}</th><td class="meter"><i class={`part ${causeColor(part.cause)}`} style={{ width: `${(100 * part.ms) / whole}%` }} /></td><td>{milliseconds(part.ms)}</td></tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ResponseDetails({ shown, item }: { shown: Call; item: ModelCall }) {
  return (
    <>
      <h2>Model call {item.index + 1}</h2>
      {item.error && <p class="bad" role="note">{item.error}</p>}
      <Pairs pairs={[
        ["Model", item.model], ["Status", `${item.status ?? "running"}${item.reason ? ` (${item.reason})` : ""}`], ["From", <At ms={item.start_ms} />], ["To", <At ms={item.end_ms} />],
        ["First audio", item.first_audio_ms === null ? null : `after ${milliseconds(item.first_audio_ms)}`], ["Generated", item.generated_ms === null ? null : length(item.generated_ms)],
        ["Heard", item.heard_ms === null ? null : length(item.heard_ms)], ["Beside the conversation", item.out_of_band ? "yes" : null],
        ["Response", <span class="mono">{item.id}</span>], ["Span", <SpanLink id={item.span_id} />],
      ]} />
      {item.usage && <UsageTable usage={[item.usage]} title="Tokens" />}
      {item.turn !== null && <Links title="Turn" items={[{ key: item.turn, text: `Turn ${item.turn + 1}: ${(shown.turns[item.turn]?.text ?? "").slice(0, 60)}`, go: () => select("turn", item.turn!) }]} />}
    </>
  );
}

function ToolDetails({ tool }: { tool: ToolCall }) {
  return (
    <>
      <h2>{tool.name}</h2>
      {tool.error !== null && <p class="bad" role="note">{tool.error}</p>}
      <Pairs pairs={[
        ["Kind", tool.type], ["From", <At ms={tool.start_ms} />], ["To", <At ms={tool.end_ms} />],
        ["The caller waited", tool.waited_ms === null ? null : milliseconds(tool.waited_ms)], ["Timing", tool.timing], ["Call", <span class="mono">{tool.call_id}</span>], ["Span", <SpanLink id={tool.span_id} />],
      ]} />
      {tool.arguments != null && <><h2 class="minor">Arguments</h2><Json value={tool.arguments} label="Arguments" /></>}
      {tool.result != null && <><h2 class="minor">Result</h2><Json value={tool.result} label="Result" /></>}
    </>
  );
}

function ErrorDetails({ error }: { error: CallError }) {
  return (
    <>
      <h2 class="bad">{error.code ?? error.type ?? "Error"}</h2>
      <p>{error.message}</p>
      <Pairs pairs={[["At", <At ms={error.at_ms} />], ["Type", error.type], ["Code", error.code], ["Span", <SpanLink id={error.span_id} />]]} />
    </>
  );
}

function CutDetails({ cut }: { cut: Interruption }) {
  return (
    <>
      <h2>{cut.false ? "False interruption" : "Interruption"}</h2>
      <p>{cut.false ? "The answer was cut, but nobody had spoken." : "The user took the floor while the agent spoke."}</p>
      <Pairs pairs={[["At", <At ms={cut.at_ms} />], ["Generated", length(cut.generated_ms)], ["Heard", length(cut.heard_ms)], ["Turn", cut.turn === null ? null : <button type="button" class="plain" onClick={() => select("turn", cut.turn!)}>Turn {cut.turn + 1}</button>]]} />
    </>
  );
}

function UsageTable({ usage, title }: { usage: Usage[]; title: string }) {
  const row = (name: string, read: (counts: TokenCounts) => number | null | undefined, usage: Usage) => {
    const [input, output] = [usage.input && read(usage.input), usage.output && read(usage.output)];
    return input || output ? <tr key={name}><th scope="row">{name}</th><td>{number(input)}</td><td>{number(output)}</td></tr> : null;
  };
  return (
    <>
      {usage.map((item, n) => (
        <table class="usage" key={n}>
          <caption>{usage.length > 1 || item.model ? item.model ?? title : title}</caption>
          <thead><tr><th scope="col">{title}</th><th scope="col">In</th><th scope="col">Out</th></tr></thead>
          <tbody>
            {row("Audio", (counts) => counts.audio, item)}{row("Text", (counts) => counts.text, item)}{row("Image", (counts) => counts.image, item)}
            {row("of it cached", (counts) => counts.cached, item)}{row("Total", (counts) => counts.total, item)}
            {item.seconds ? <tr><th scope="row">Seconds</th><td>{number(item.seconds)}</td><td>–</td></tr> : null}
          </tbody>
        </table>
      ))}
    </>
  );
}

function CallFacts({ shown }: { shown: CallPage }) {
  const it = shown.call;
  const id = (value: string | null, what: string) => value && <button type="button" class="plain mono" title={`Copy the ${what}`} onClick={() => void copy(value, what)}>{value}</button>;
  return (
    <>
      {it.error && <p class="bad" role="note">{it.error}</p>}
      <Pairs pairs={[
        ["Started", moment(it.started_at)], ["Model", it.model], ["Voice", it.voice], ["Project", it.project], ["Closed", it.close ? `${it.close.code ?? ""} ${it.close.reason ?? ""}`.trim() : null],
        ["Thread", id(it.thread_id, "Thread id")], ["Trace", id(it.trace_id, "Trace id")], ["Run", id(it.id, "Run id")], ["Tags", it.tags.join(", ")],
        ["Recording", it.recording ? `${it.recording.file ?? ""} ${it.recording.sample_rate ? `${it.recording.sample_rate / 1000} kHz` : ""}`.trim() : "none"],
        ["Silenced", it.redacted?.length ? <>{it.redacted.map((stretch, n) => <span key={n}>{n > 0 && ", "}<At ms={stretch.start_ms} /> {length(stretch.end_ms - stretch.start_ms)} {stretch.side === "both" ? "" : stretch.side}</span>)}</> : null],
        ["Agent over user", it.facts.agent_over_user_s ? length(it.facts.agent_over_user_s * 1000) : null], ["First audio p50", it.facts.first_audio_ms?.p50 != null ? length(it.facts.first_audio_ms.p50) : null],
        ["Slowest answer", it.facts.voice_to_voice_ms?.max != null ? length(it.facts.voice_to_voice_ms.max) : null],
      ]} />
      {it.usage.length > 0 && <UsageTable usage={it.usage} title="Tokens" />}
      {Object.keys(it.metadata).length > 0 && <><h2 class="minor">Metadata</h2><Json value={it.metadata} label="Metadata" /></>}
      {shown.findings.length > 0 && <Findings title="Contract violations" items={shown.findings} />}
      {shown.shapes.length > 0 && <Findings title="Spans of other instrumentations that LangSmith shows in part" items={shown.shapes} />}
    </>
  );
}

export function Findings({ title, items }: { title: string; items: { kind: string; message: string; rule: string; run_id: string; scope?: string }[] }) {
  return (
    <div class="findings">
      <h2 class="minor">{title}</h2>
      <ul>{items.map((item, n) => <li key={n} title={item.rule}><b>{item.scope || item.kind}</b> {item.message}</li>)}</ul>
    </div>
  );
}
