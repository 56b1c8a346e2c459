/** Builds captions and the transcript in the browser for a report file; a server uses otel_realtime/calls instead. */

import { clock } from "./format";
import type { Call, Turn } from "./model";

const speaker = (turn: Turn): string => (turn.role === "user" ? "User" : "Agent");
const said = (turn: Turn): string => (turn.interrupted ? turn.heard_text ?? turn.text : turn.text) ?? "";

function stamp(ms: number, separator: string): string {
  const total = Math.max(0, Math.round(ms));
  const part = (value: number, width = 2): string => String(Math.floor(value)).padStart(width, "0");
  return `${part(total / 3_600_000)}:${part((total / 60_000) % 60)}:${part((total / 1000) % 60)}${separator}${part(total % 1000, 3)}`;
}

const spoken = (call: Call): (Turn & { start_ms: number })[] =>
  call.turns.filter((turn): turn is Turn & { start_ms: number } => turn.start_ms !== null && said(turn).trim() !== "");

const end = (turn: Turn & { start_ms: number }): number => Math.max(turn.end_ms ?? turn.start_ms, turn.start_ms + 1);
// A blank line or an arrow would end a cue.
const line = (text: string): string => text.replace(/\s+/g, " ").replaceAll("-->", "→").trim();

export function vtt(call: Call): string {
  const escaped = (text: string): string => line(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const cues = spoken(call).map((turn) =>
    `${stamp(turn.start_ms, ".")} --> ${stamp(end(turn), ".")}\n<v ${speaker(turn)}>${escaped(said(turn))}</v>\n`);
  return ["WEBVTT\n", ...cues].join("\n");
}

export function srt(call: Call): string {
  return spoken(call).map((turn, n) =>
    `${n + 1}\n${stamp(turn.start_ms, ",")} --> ${stamp(end(turn), ",")}\n${speaker(turn)}: ${line(said(turn))}\n`).join("\n");
}

export const transcript = (call: Call): string =>
  call.turns.map((turn) => `[${turn.start_ms === null ? "?" : clock(turn.start_ms)}] ${speaker(turn)}: ${line(said(turn))}\n`).join("");
