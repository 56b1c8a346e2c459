/** The pauses between turns: an answer's latency with its causes, or unexplained silence. */

import type { Call, LatencyPart } from "../model";

export interface Gap { from: number; to: number; turn: number | null; parts: LatencyPart[]; silence: boolean }

const SHORTEST_SILENCE_MS = 1500;

/** The meaning of each cause, in chronological order. */
export const CAUSES: Record<string, string> = {
  end_of_speech: "noticing the end of speech",
  request: "the app asking for an answer",
  response: "the service starting an answer",
  model: "the model's first audio",
  tools: "waiting for tools",
  approval: "waiting for an approval",
  playback: "the player's buffer",
};

/** CSS custom property with the colour of a cause, which is the same in every bar. */
const COLORS: Record<string, CauseColor> = {
  end_of_speech: "cause-1", request: "cause-2", response: "cause-2", model: "cause-3", tools: "tool", approval: "cause-4", playback: "model",
};
export type CauseColor = "cause-1" | "cause-2" | "cause-3" | "cause-4" | "tool" | "model";
export const causeColor = (cause: string): CauseColor => COLORS[cause] ?? "model";

/** The causes in one or two words, for little space. */
const SHORT: Record<string, string> = { end_of_speech: "end of speech", response: "start", playback: "player" };

export const causeLabel = (cause: string): string => SHORT[cause] ?? cause.replaceAll("_", " ");

export const causeName = (cause: string): string => CAUSES[cause] ?? cause.replaceAll("_", " ");

export function gaps(call: Call): Gap[] {
  const found: Gap[] = [];
  let latest = 0; // end of the audible sound so far, on either side
  for (const turn of call.turns) {
    if (turn.start_ms === null) continue;
    if (turn.latency && turn.latency.total_ms > 0) {
      found.push({ from: turn.start_ms - turn.latency.total_ms, to: turn.start_ms, turn: turn.index, parts: turn.latency.parts, silence: false });
    } else if (latest && turn.start_ms - latest >= SHORTEST_SILENCE_MS) {
      found.push({ from: latest, to: turn.start_ms, turn: null, parts: [], silence: true });
    }
    latest = Math.max(latest, turn.end_ms ?? turn.start_ms);
  }
  return found;
}
