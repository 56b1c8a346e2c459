/** Plays the recording: position, speed, and which side is heard. */

import { batch, effect, signal } from "@preact/signals";
import { source, total, view, zoom, show } from "./state";

export type Side = "user" | "agent";

export const playing = signal(false);
/** Position in ms; updated with every screen frame while the recording plays. */
export const position = signal(0);
export const rate = signal(1);
export const skipSilence = signal(false);
/** Sides that are heard. */
export const heard = signal<Record<Side, boolean>>({ user: true, agent: true });
export const failure = signal<string | null>(null);

const audio = new Audio();
audio.preload = "auto";
audio.preservesPitch = true;

/** Where playback stops by itself: the end of the requested turn or stretch. */
let stopAt: number | null = null;
let graph: { context: AudioContext; set: (sides: Record<Side, boolean>) => void } | null = null;

/**
 * Route the two channels through gains. A single side is played on both channels.
 * A browser plays sound only after a user gesture, so the graph is created at the first play.
 */
function route(): NonNullable<typeof graph> {
  const context = new AudioContext();
  const splitter = context.createChannelSplitter(2);
  const merger = context.createChannelMerger(2);
  context.createMediaElementSource(audio).connect(splitter);
  const gains = ([0, 1] as const).map((channel) => ([0, 1] as const).map((ear) => {
    const gain = context.createGain();
    splitter.connect(gain, channel);
    gain.connect(merger, 0, ear);
    return gain;
  }));
  merger.connect(context.destination);
  const set = (sides: Record<Side, boolean>): void => {
    const both = sides.user && sides.agent;
    const on = [sides.user, sides.agent];
    gains.forEach((ears, channel) => ears.forEach((gain, ear) => {
      gain.gain.value = on[channel] && (!both || channel === ear) ? 1 : 0;
    }));
  };
  set(heard.value);
  return { context, set };
}

export function open(url: string): void {
  audio.src = url;
  failure.value = null;
}

/** The recording of a live call arrives at its end; a kept one is available from the start. */
export const hasSound = (): boolean => Boolean(audio.src);

export function close(): void {
  audio.pause();
  audio.removeAttribute("src");
  audio.load();
  batch(() => {
    playing.value = false;
    position.value = 0;
  });
}

export async function play(from?: number, to?: number): Promise<void> {
  if (!hasSound()) return;
  graph ??= route();
  await graph.context.resume();
  if (from !== undefined) seek(from);
  else if (position.value >= total.value - 50) seek(0);
  stopAt = to ?? null;
  audio.playbackRate = rate.value;
  try {
    await audio.play();
  } catch (error) {
    if ((error as DOMException).name !== "AbortError") failure.value = "The recording cannot be played by this browser.";
  }
}

export const pause = (): void => audio.pause();
export const toggle = (): void => void (playing.value ? pause() : play());

export function seek(ms: number): void {
  const target = Math.max(0, Math.min(total.value, ms));
  stopAt = null;
  position.value = target;
  if (hasSound()) audio.currentTime = target / 1000;
  // The axis follows the playback position.
  const shown = view.value;
  if (zoom.value && (target < shown.from || target > shown.to)) {
    const width = shown.to - shown.from;
    show(target - width * 0.1, target + width * 0.9);
  }
}

export function solo(side: Side): void {
  const other: Side = side === "user" ? "agent" : "user";
  const alone = heard.value[side] && !heard.value[other];
  heard.value = alone ? { user: true, agent: true } : ({ [side]: true, [other]: false } as Record<Side, boolean>);
}

export const mute = (side: Side): void => {
  heard.value = { ...heard.value, [side]: !heard.value[side] };
};

// --- silence --------------------------------------------------------------------------------------

const SILENCE_LEVEL = 2; // buckets of 80 ms
const BUCKET_MS = 80;
/** In units of 255 times the square root of the level: about -40 dB, below speech and above line noise. */
const QUIET = 26;
const SHORTEST_MS = 700;
const MARGIN_MS = 200;
let silences: { from: number; to: number }[] = [];

async function findSilences(): Promise<void> {
  const from = source.value;
  if (!from) return;
  const peaks = await from.peaks(SILENCE_LEVEL, 0, Math.ceil(total.value / BUCKET_MS));
  const found: typeof silences = [];
  let start: number | null = null;
  for (let n = 0; n <= peaks.length / 2; n++) {
    const quiet = n < peaks.length / 2 && Math.max(peaks[2 * n] ?? 0, peaks[2 * n + 1] ?? 0) < QUIET;
    if (quiet) start ??= n * BUCKET_MS;
    else if (start !== null) {
      if (n * BUCKET_MS - start >= SHORTEST_MS) found.push({ from: start + MARGIN_MS, to: n * BUCKET_MS - MARGIN_MS });
      start = null;
    }
  }
  silences = found;
}

// --- what follows from the element's events --------------------------------------------------------

function tick(): void {
  if (!playing.value) return;
  const now = audio.currentTime * 1000;
  position.value = now;
  if (stopAt !== null && now >= stopAt) {
    stopAt = null;
    audio.pause();
  } else if (skipSilence.value) {
    const inside = silences.find((gap) => now >= gap.from && now < gap.to - 50);
    if (inside) audio.currentTime = inside.to / 1000;
  }
  const shown = zoom.value;
  if (shown && (now > shown.to || now < shown.from)) show(now - (shown.to - shown.from) * 0.05, now + (shown.to - shown.from) * 0.95);
  requestAnimationFrame(tick);
}

audio.addEventListener("play", () => {
  playing.value = true;
  requestAnimationFrame(tick);
});
audio.addEventListener("pause", () => {
  playing.value = false;
});
audio.addEventListener("ended", () => {
  playing.value = false;
});
audio.addEventListener("error", () => {
  if (audio.getAttribute("src")) failure.value = "The recording cannot be played by this browser.";
});

effect(() => {
  audio.playbackRate = rate.value;
});
effect(() => graph?.set(heard.value) ?? void heard.value);
effect(() => {
  if (skipSilence.value) void findSilences();
});
