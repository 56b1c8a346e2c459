/** Formats numbers and times as text. An unknown fact is shown as an en dash, never as zero. */

export const UNKNOWN = "–";

const known = (value: number | null | undefined): value is number => typeof value === "number" && Number.isFinite(value);

/** A position in a call: `1:02.5`, or `1:00:02` in calls of an hour. */
export function clock(ms: number, decimals = 0): string {
  const unit = 10 ** decimals;
  const total = Math.max(0, Math.floor((ms / 1000) * unit + 1e-6)) / unit;
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const seconds = (total % 60).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

/** A duration, in the unit that is easiest to read. */
export function length(ms: number | null | undefined): string {
  if (!known(ms)) return UNKNOWN;
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export const milliseconds = (ms: number | null | undefined): string =>
  known(ms) ? `${Math.round(ms).toLocaleString("en")} ms` : UNKNOWN;

export function compact(value: number | null | undefined): string {
  if (!known(value)) return UNKNOWN;
  if (value < 10_000) return value.toLocaleString("en");
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export const number = (value: number | null | undefined): string => (known(value) ? value.toLocaleString("en") : UNKNOWN);

export const count = (value: number, noun: string): string => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

export function money(dollars: number | null): string {
  if (!known(dollars)) return UNKNOWN;
  return `$${dollars.toFixed(dollars < 0.1 ? 4 : dollars < 10 ? 3 : 2)}`;
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

export function moment(iso: string | null, short = false): string {
  const date = new Date(iso ?? "");
  return Number.isNaN(date.getTime()) ? UNKNOWN : (short ? SHORT : MOMENT).format(date);
}

/** A value as indented JSON; JSON text is parsed first, other text is not changed. */
export function pretty(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value, null, 2) ?? "";
  const text = value.trim();
  if (!text.startsWith("{") && !text.startsWith("[")) return value;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return value;
  }
}
