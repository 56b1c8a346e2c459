/** Reads the page's data from a server, or from the report file that contains the page. */

import { transcript, vtt, srt } from "./captions";
import type { Call, CallList, CallPage, ListSummary, SpanRow } from "./model";
import { clip } from "./wav";

export const PEAK_LEVELS = [5, 20, 80, 320, 1280] as const; // milliseconds of one bucket, as in sandbox/peaks.py

export type ExportKind = "clip" | "vtt" | "srt" | "txt" | "json" | "recording";

export interface Source {
  readonly isReport: boolean;
  call(): Promise<CallPage>;
  audioUrl(): string;
  /** Interleaved user, agent: the square root of each bucket's loudest sample, 0..255. */
  peaks(level: number, start: number, count: number): Promise<Uint8Array>;
  spans(): Promise<SpanRow[]>;
  searchSpans(text: string): Promise<string[]>;
  span(id: string): Promise<Record<string, unknown>>;
  save(kind: ExportKind, call: Call, range?: { from: number; to: number; name: string }): Promise<void>;
}

async function load<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (response.status === 401) location.reload(); // the cookie has expired: the server asks for a key
  if (!response.ok) throw new Error(`${url.split("?")[0]} answered ${response.status}`);
  return (await response.json()) as T;
}

export const calls = (query: URLSearchParams): Promise<CallList> => load(`/api/calls?${query}`);
export const summary = (query: URLSearchParams): Promise<ListSummary> => load(`/api/calls/summary?${query}`);
export const violations = (): Promise<{ violations: { conversation_id: string; kind: string; message: string; rule: string; run_id: string }[] }> =>
  load("/api/violations");

export async function deleteAll(): Promise<void> {
  const response = await fetch("/api/conversations", { method: "DELETE" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
}

function download(href: string, name: string): void {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
}

export class ServerSource implements Source {
  readonly isReport = false;
  private readonly base: string;

  constructor(id: string) {
    this.base = `/api/calls/${encodeURIComponent(id)}`;
  }

  call = (): Promise<CallPage> => load(this.base);
  audioUrl = (): string => `${this.base}/recording`;

  async peaks(level: number, start: number, count: number): Promise<Uint8Array> {
    const response = await fetch(`${this.base}/peaks?level=${level}&start=${start}&count=${count}`);
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array();
  }

  spans = async (): Promise<SpanRow[]> => (await load<{ spans: SpanRow[] }>(`${this.base}/spans`)).spans;
  searchSpans = async (text: string): Promise<string[]> =>
    (await load<{ ids: string[] }>(`${this.base}/spans/search?q=${encodeURIComponent(text)}`)).ids;
  span = (id: string): Promise<Record<string, unknown>> => load(`/api/runs/${encodeURIComponent(id)}`);

  async save(kind: ExportKind, call: Call, range?: { from: number; to: number; name: string }): Promise<void> {
    const query = range ? `?start_ms=${Math.round(range.from)}&end_ms=${Math.round(range.to)}` : "";
    const path = { clip: "clip.wav", vtt: "captions.vtt", srt: "captions.srt", txt: "transcript.txt", json: "call.json", recording: "recording" };
    download(`${this.base}/${path[kind]}${query}`, fileName(call, kind, range?.name));
  }
}

const EXTENSION = { clip: "wav", vtt: "vtt", srt: "srt", txt: "txt", json: "json", recording: "wav" };

const fileName = (call: Call, kind: ExportKind, part?: string): string =>
  `${(call.thread_id ?? call.id).replace(/[^\w.-]+/g, "_").slice(0, 60)}${part ? `-${part}` : ""}.${EXTENSION[kind]}`;

/** The data in the `report` element of a report file; viewing/report.py writes it. */
interface Report { page: CallPage; peaks: Record<string, string>; audio: { mime: string; base64: string } | null }

const bytes = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

export class ReportSource implements Source {
  readonly isReport = true;
  private readonly levels = new Map<number, Uint8Array>();
  private readonly audio: Blob | null;
  private url = "";

  constructor(private readonly report: Report) {
    for (const [level, text] of Object.entries(report.peaks)) this.levels.set(Number(level), bytes(text));
    this.audio = report.audio && new Blob([bytes(report.audio.base64)], { type: report.audio.mime });
  }

  call = (): Promise<CallPage> => Promise.resolve(this.report.page);
  audioUrl = (): string => (this.url ||= this.audio ? URL.createObjectURL(this.audio) : "");
  spans = (): Promise<SpanRow[]> => Promise.resolve([]);
  searchSpans = (): Promise<string[]> => Promise.resolve([]);
  span = (): Promise<Record<string, unknown>> => Promise.resolve({});

  peaks(level: number, start: number, count: number): Promise<Uint8Array> {
    // A report has no finest level; the next one replaces it, with each bucket repeated four times.
    const found = this.levels.get(level);
    if (found) return Promise.resolve(found.subarray(2 * start, 2 * (start + count)));
    const coarse = this.levels.get(level + 1) ?? new Uint8Array();
    const fine = new Uint8Array(2 * Math.max(0, Math.min(count, 2 * coarse.length - start)));
    for (let i = 0; i < fine.length / 2; i++) {
      const bucket = (start + i) >> 2;
      fine[2 * i] = coarse[2 * bucket] ?? 0;
      fine[2 * i + 1] = coarse[2 * bucket + 1] ?? 0;
    }
    return Promise.resolve(fine);
  }

  async save(kind: ExportKind, call: Call, range?: { from: number; to: number; name: string }): Promise<void> {
    const made: Record<ExportKind, () => Promise<Blob> | Blob> = {
      clip: () => clip(this.audio ?? new Blob(), range?.from ?? 0, range?.to ?? 0),
      vtt: () => new Blob([vtt(call)], { type: "text/vtt" }),
      srt: () => new Blob([srt(call)], { type: "application/x-subrip" }),
      txt: () => new Blob([transcript(call)], { type: "text/plain" }),
      json: () => new Blob([JSON.stringify(call, null, 2)], { type: "application/json" }),
      recording: () => this.audio ?? new Blob(),
    };
    const url = URL.createObjectURL(await made[kind]());
    const name = fileName(call, kind, range?.name);
    download(url, kind === "recording" ? name.replace(/wav$/, "ogg") : name);
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }
}
