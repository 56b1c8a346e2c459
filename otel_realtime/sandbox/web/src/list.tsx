/** Lists all calls: the server searches, filters and sorts them; one screen at a time is shown. */

import { batch, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { announce } from "./announce";
import { clock, compact, count, length, moment, number, UNKNOWN } from "./format";
import { Icon } from "./icons";
import { Findings } from "./inspector";
import { watch } from "./live";
import type { CallRow, ListSummary } from "./model";
import { calls, deleteAll, summary, violations } from "./source";
import { Virtual } from "./virtual";

const PAGE = 100;
const FILTERS = ["q", "model", "project", "tool", "thread", "meta", "latency_over", "status", "interrupted", "live", "sort"] as const;
type Filter = (typeof FILTERS)[number];

/** The filters are in the URL's query, so that a list can be shared. */
const filters = signal(new URLSearchParams(location.search));
const rows = signal(new Map<number, CallRow[]>());
const found = signal<ListSummary | null>(null);
const failure = signal("");
let asked = 0; // answers to earlier requests are dropped

function setFilter(name: Filter, value: string): void {
  const next = new URLSearchParams(filters.value);
  if (value) next.set(name, value);
  else next.delete(name);
  filters.value = next;
  history.replaceState(null, "", next.size ? `?${next}` : location.pathname);
}

async function refresh(visible: number[] = [0]): Promise<void> {
  const question = ++asked;
  try {
    const [all, ...pages] = await Promise.all([summary(filters.value), ...visible.map((index) => loadPage(index))]);
    if (question !== asked) return;
    batch(() => {
      found.value = all;
      rows.value = new Map(pages.map((page, n) => [visible[n]!, page]));
      failure.value = "";
    });
  } catch (error) {
    if (question === asked) failure.value = (error as Error).message;
  }
}

async function loadPage(index: number): Promise<CallRow[]> {
  const query = new URLSearchParams(filters.value);
  query.set("limit", String(PAGE));
  query.set("offset", String(index * PAGE));
  return (await calls(query)).calls;
}

export function List() {
  const scroll = useRef<HTMLDivElement>(null);
  const pages = useRef<number[]>([0]);
  const unlisted = useSignal<Awaited<ReturnType<typeof violations>>["violations"]>([]);

  useEffect(() => {
    document.title = "Calls · otel-realtime";
    const readViolations = (): void => void violations().then((answer) => (unlisted.value = answer.violations.filter((item) => !item.conversation_id)), () => {});
    readViolations();
    let waiting = 0;
    return watch(() => {
      // A live call changes many times a second.
      waiting ||= window.setTimeout(() => {
        waiting = 0;
        void refresh(pages.current);
        readViolations();
      }, 250);
    });
  }, []);

  useEffect(() => {
    const timer = setTimeout(() => {
      scroll.current?.scrollTo({ top: 0 });
      pages.current = [0];
      void refresh();
    }, found.value ? 120 : 0);
    return () => clearTimeout(timer);
  }, [filters.value]);

  const onRange = (first: number, last: number): void => {
    const wanted = [...new Set([Math.floor(first / PAGE), Math.floor(last / PAGE)])];
    pages.current = wanted;
    const question = asked;
    for (const index of wanted) {
      if (rows.value.has(index)) continue;
      void loadPage(index).then((page) => void (question === asked && (rows.value = new Map(rows.value).set(index, page))), () => {});
    }
  };

  const total = found.value?.total ?? 0;
  const filtered = [...filters.value.keys()].some((name) => name !== "sort");
  return (
    <main class="page list" id="main">
      <div class="heading"><h1>Calls</h1>{found.value && <span class="quiet" role="status">{count(total, "call")}{filtered ? " found" : ""}</span>}
        <span class="spring" />
        {found.value?.takes && (total > 0 || unlisted.value.length > 0) && <button type="button" class="button" onClick={forget}>Delete all</button>}
      </div>
      <Filters />
      {found.value && found.value.latency.length > 1 && <Sparkline points={found.value.latency} />}
      {unlisted.value.length > 0 && <div class="card notice"><Findings title="Violations outside of these calls" items={unlisted.value} /></div>}
      {failure.value && <p class="bad" role="alert">The list could not be loaded: {failure.value}</p>}
      {found.value && total === 0 ? <div class="card rows"><Empty filtered={filtered} /></div> : <div class="card table" role="table" aria-label="Calls" aria-rowcount={total + 1}>
        <Head />
        <div class="rows" ref={scroll} role="rowgroup" tabIndex={0} aria-label="Calls">
          <Virtual scroll={scroll} count={total} estimate={62} onRange={onRange}>
            {(index) => <Row row={rows.value.get(Math.floor(index / PAGE))?.[index % PAGE]} index={index} />}
          </Virtual>
        </div>
      </div>}
    </main>
  );
}

function forget(): void {
  if (!confirm("Delete all calls and recordings in this sandbox?")) return;
  deleteAll().then(() => announce("All calls deleted"), (error: Error) => announce(error.message));
}

function Empty({ filtered }: { filtered: boolean }) {
  if (filtered) return <div class="empty"><p>No call matches.</p><button type="button" class="button" onClick={clear}>Remove the filters</button></div>;
  if (!found.value?.takes) return <div class="empty"><h2>No recordings yet</h2><p>They appear here as they are kept.</p></div>;
  return <div class="empty"><h2>No calls yet</h2><p>They appear here as they happen. To send them here:</p><pre>export LANGSMITH_ENDPOINT={location.origin} LANGSMITH_API_KEY=sandbox LANGSMITH_TRACING=true</pre></div>;
}

const clear = (): void => {
  filters.value = new URLSearchParams();
  history.replaceState(null, "", location.pathname);
};

const COLUMNS: { name: string; sort?: string; class?: string }[] = [
  { name: "Call", sort: "started", class: "call" }, { name: "Length", sort: "duration", class: "num" }, { name: "Turns", sort: "turns", class: "num" },
  { name: "Latency", sort: "p50", class: "num latency-cell" }, { name: "p95", sort: "p95", class: "num" }, { name: "Cut", sort: "interruptions", class: "num" }, { name: "Tools", sort: "tools", class: "num" },
  { name: "Errors", sort: "errors", class: "num" }, { name: "Tokens", sort: "tokens", class: "num" }, { name: "Model", class: "model" },
];

function Head() {
  const sort = filters.value.get("sort") ?? "-started";
  return (
    <div class="head tr" role="row">
      {COLUMNS.map((column) => {
        const state = column.sort && sort.replace("-", "") === column.sort ? (sort.startsWith("-") ? "descending" : "ascending") : undefined;
        return (
          <div key={column.name} role="columnheader" class={`cell ${column.class ?? ""}`} aria-sort={state}>
            {column.sort ? <button type="button" class="plain" onClick={() => setFilter("sort", state === "descending" ? column.sort! : `-${column.sort}`)}>{column.name}{state && <span aria-hidden="true">{state === "descending" ? " ↓" : " ↑"}</span>}</button> : column.name}
          </div>
        );
      })}
    </div>
  );
}

const LONGEST_BAR_MS = 3000;

/** A count; zero is shown inconspicuously. */
const Amount = ({ of }: { of: number | null }) => <span class={of ? "" : "none"}>{number(of)}</span>;

function Row({ row, index }: { row: CallRow | undefined; index: number }) {
  if (!row) return <div class="tr waiting" role="row" aria-rowindex={index + 2}><div class="cell call" role="cell"><i class="bone" /></div></div>;
  const name = row.name && row.name !== "realtime_session" ? row.name : row.opening ?? row.thread_id ?? row.id;
  return (
    <div class={`tr ${row.status === "error" ? "failed" : ""}`} role="row" aria-rowindex={index + 2}>
      <div class="cell call" role="cell">
        <span class="name">{row.live ? <span class="status live"><i /> live</span> : row.status === "error" ? <span class="bad" title="The call ended with an error"><Icon name="alert" /><span class="hidden">error</span></span> : null}<a href={`/conversations/${encodeURIComponent(row.id)}`}>{name}</a></span>
        <small>{row.snippet ? <Snippet text={row.snippet} /> : <>{moment(row.started_at, true)} · {row.project}{row.thread_id ? ` · ${row.thread_id}` : ""}{row.recording ? "" : " · no recording"}{row.findings ? ` · ${count(row.findings, "violation")}` : ""}</>}</small>
      </div>
      <div class="cell num" role="cell">{row.duration_ms === null ? (row.live ? "…" : UNKNOWN) : clock(row.duration_ms)}</div>
      <div class="cell num" role="cell">{number(row.turns)}</div>
      <div class="cell num latency-cell" role="cell">{length(row.p50)}{row.p50 !== null && <span class="meter" aria-hidden="true"><i style={{ width: `${Math.min(100, (100 * row.p50) / LONGEST_BAR_MS)}%` }} /></span>}</div>
      <div class="cell num" role="cell">{length(row.p95)}</div>
      <div class="cell num" role="cell"><Amount of={row.interruptions} /></div>
      <div class="cell num" role="cell"><Amount of={row.tools} /></div>
      <div class={`cell num ${row.errors ? "bad" : ""}`} role="cell"><Amount of={row.errors} /></div>
      <div class="cell num" role="cell">{compact(row.tokens)}</div>
      <div class="cell model" role="cell">{row.model ?? UNKNOWN}</div>
    </div>
  );
}

/** The match, between \u0001 and \u0002. */
function Snippet({ text }: { text: string }) {
  return <>{text.split(/\u0001|\u0002/).map((part, n) => (n % 2 ? <mark key={n}>{part}</mark> : part))}</>;
}

function Filters() {
  const facets = found.value?.facets ?? { models: [], projects: [], tools: [] };
  const active = [...filters.value.keys()].some((name) => name !== "sort");
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <label class="search"><Icon name="search" /><span class="hidden">Search in transcripts</span>
        <input type="search" placeholder="Search transcripts" value={filters.value.get("q") ?? ""} onInput={(event) => setFilter("q", event.currentTarget.value)} />
      </label>
      <Choice name="model" label="Model" options={facets.models} />
      <Choice name="project" label="Project" options={facets.projects} />
      <Choice name="tool" label="Tool" options={facets.tools} />
      <Toggle name="status" value="error" label="Errors" />
      <Toggle name="interrupted" value="1" label="Interrupted" />
      <Toggle name="live" value="1" label="Live" />
      <Text name="latency_over" label="Latency over" unit="ms" numeric />
      <Text name="thread" label="Thread" />
      <Text name="meta" label="Metadata" placeholder="key=value" />
      {active && <button type="button" class="button ghost" onClick={() => { clear(); announce("Filters removed"); }}><Icon name="close" /> Clear</button>}
    </form>
  );
}

function Choice({ name, label, options }: { name: Filter; label: string; options: string[] }) {
  const value = filters.value.get(name) ?? "";
  const all = value && !options.includes(value) ? [value, ...options] : options;
  return (
    <label class={`field ${value ? "set" : ""}`}><span class="hidden">{label}</span>
      <select value={value} onChange={(event) => setFilter(name, event.currentTarget.value)}>
        <option value="">{label}: all</option>
        {all.map((option) => <option key={option} value={option}>{option}</option>)}
      </select>
    </label>
  );
}

function Toggle({ name, value, label }: { name: Filter; value: string; label: string }) {
  const on = filters.value.get(name) === value;
  return <button type="button" class="button" aria-pressed={on} onClick={() => setFilter(name, on ? "" : value)}>{label}</button>;
}

function Text({ name, label, placeholder = "", unit = "", numeric = false }: { name: Filter; label: string; placeholder?: string; unit?: string; numeric?: boolean }) {
  const value = filters.value.get(name) ?? "";
  return (
    <label class={`field text ${value ? "set" : ""}`}><span>{label}</span>
      <input inputMode={numeric ? "numeric" : "text"} value={value} placeholder={placeholder} onInput={(event) => setFilter(name, event.currentTarget.value.trim())} />{unit && <small>{unit}</small>}
    </label>
  );
}

/** p50 and p95 of the latest calls, with the oldest on the left. */
function Sparkline({ points }: { points: ListSummary["latency"] }) {
  const width = 600;
  const height = 44;
  const highest = Math.max(...points.map((point) => point.p95), 1);
  const x = (n: number): number => (points.length < 2 ? 0 : (n / (points.length - 1)) * width);
  const y = (ms: number): number => height - 3 - (ms / highest) * (height - 8);
  const path = (read: (point: ListSummary["latency"][number]) => number): string => points.map((point, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(read(point)).toFixed(1)}`).join("");
  const last = points.at(-1)!;
  return (
    <div class="card sparkline">
      <div><b>Voice to voice</b><small class="quiet">the latest {count(points.length, "call")}, highest {length(highest)}</small></div>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`Voice to voice over ${points.length} calls: the latest ${length(last.p50)}, p95 ${length(last.p95)}`}>
        <path class="p95" d={path((point) => point.p95)} /><path class="p50" d={path((point) => point.p50)} />
      </svg>
      <div class="legend"><span><i class="p50" /> p50 <b>{length(last.p50)}</b></span><span><i class="p95" /> p95 <b>{length(last.p95)}</b></span></div>
    </div>
  );
}
