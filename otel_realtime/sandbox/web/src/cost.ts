/** Computes the cost of a call's tokens. Prices are dollars per million tokens; the user may change them. */

import { signal } from "@preact/signals";
import type { Usage } from "./model";

export const PRICED = ["text_in", "text_cached", "audio_in", "audio_cached", "image_in", "image_cached", "text_out", "audio_out", "minute"] as const;
export type Priced = (typeof PRICED)[number];
export type Prices = Record<Priced, number>;

export const PRICE_NAMES: Record<Priced, string> = {
  text_in: "Text in", text_cached: "Text in, cached", audio_in: "Audio in", audio_cached: "Audio in, cached",
  image_in: "Image in", image_cached: "Image in, cached", text_out: "Text out", audio_out: "Audio out", minute: "A minute",
};

const prices = (text: number, textCached: number, audio: number, audioCached: number, image: number, imageCached: number, textOut: number, audioOut: number, minute = 0): Prices =>
  ({ text_in: text, text_cached: textCached, audio_in: audio, audio_cached: audioCached, image_in: image, image_cached: imageCached, text_out: textOut, audio_out: audioOut, minute });

/** List prices of OpenAI's page when this was built; the longest prefix of a model's name counts. */
const LIST: Record<string, Prices> = {
  "gpt-realtime": prices(4, 0.4, 32, 0.4, 5, 0.5, 16, 64),
  "gpt-realtime-mini": prices(0.6, 0.06, 10, 0.3, 0.8, 0.08, 2.4, 20),
  "gpt-4o-realtime": prices(5, 2.5, 40, 2.5, 0, 0, 20, 80),
  "gpt-4o-mini-realtime": prices(0.6, 0.3, 10, 0.3, 0, 0, 2.4, 20),
  "gpt-4o-transcribe": prices(2.5, 2.5, 6, 6, 0, 0, 10, 10),
  "gpt-4o-mini-transcribe": prices(1.25, 1.25, 3, 3, 0, 0, 5, 5),
  "whisper-1": prices(0, 0, 0, 0, 0, 0, 0, 0, 0.006),
};

const KEY = "otel-realtime.prices";

function stored(): Record<string, Partial<Prices>> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return value && typeof value === "object" ? (value as Record<string, Partial<Prices>>) : {};
  } catch {
    return {};
  }
}

/** Changed prices, by model; kept in this browser. */
export const edited = signal(stored());

export function edit(model: string, what: Priced, price: number | null): void {
  const { [what]: _, ...rest } = edited.value[model] ?? {};
  edited.value = { ...edited.value, [model]: price === null ? rest : { ...rest, [what]: price } };
  try {
    localStorage.setItem(KEY, JSON.stringify(edited.value));
  } catch {
    // Without storage, the page keeps them until it is closed.
  }
}

export function reset(): void {
  edited.value = {};
  try {
    localStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

/** The prices of a model; null if there are neither list prices nor changed ones. */
export function pricesOf(model: string): Prices | null {
  const known = Object.keys(LIST).filter((name) => model.startsWith(name)).sort((a, b) => b.length - a.length)[0];
  const own = edited.value[model];
  if (!known && !own) return null;
  return { ...(known ? LIST[known]! : prices(0, 0, 0, 0, 0, 0, 0, 0)), ...own };
}

export interface CostLine { what: Priced; tokens: number; dollars: number }

/** The cost of one model's usage by kind of token; null if a price is missing. Cached tokens are part of the input. */
export function costOf(usage: Usage, model = usage.model ?? ""): { dollars: number; lines: CostLine[] } | null {
  const price = pricesOf(model);
  if (!price) return null;
  const input = usage.input;
  const output = usage.output;
  const parts = { text: input?.text ?? 0, audio: input?.audio ?? 0, image: input?.image ?? 0 };
  // Without details, all tokens count as text, the cheapest kind, so the sum is a lower bound.
  if (input?.total && !parts.text && !parts.audio && !parts.image) parts.text = input.total;
  const cached = { text: input?.cached_text ?? 0, audio: input?.cached_audio ?? 0, image: input?.cached_image ?? 0 };
  if (input?.cached && !cached.text && !cached.audio && !cached.image) cached.text = Math.min(input.cached, parts.text);
  const out = { text: output?.text ?? 0, audio: output?.audio ?? 0 };
  if (output?.total && !out.text && !out.audio) out.text = output.total;
  const amounts: [Priced, number][] = [
    ["text_in", parts.text - cached.text], ["text_cached", cached.text],
    ["audio_in", parts.audio - cached.audio], ["audio_cached", cached.audio],
    ["image_in", parts.image - cached.image], ["image_cached", cached.image],
    ["text_out", out.text], ["audio_out", out.audio],
  ];
  const lines = amounts.filter(([, tokens]) => tokens > 0).map(([what, tokens]) => ({ what, tokens, dollars: (tokens * price[what]) / 1e6 }));
  if (usage.seconds) lines.push({ what: "minute", tokens: usage.seconds, dollars: (usage.seconds / 60) * price.minute });
  return { dollars: lines.reduce((sum, item) => sum + item.dollars, 0), lines };
}

export function totalCost(usage: Usage[]): number | null {
  const costs = usage.map((item) => costOf(item));
  return usage.length && costs.every((cost) => cost !== null) ? costs.reduce((sum, cost) => sum + cost!.dollars, 0) : null;
}
