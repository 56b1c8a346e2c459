/** Draws the visible part of the time axis: waveforms, ghosts, gaps and lanes. */

import { clock, length } from "../format";
import type { Call, Turn } from "../model";
import type { Related, Selection } from "../state";
import { causeColor, gaps, type Gap } from "./gaps";
import { Tiles } from "./tiles";

/** Rows of the axis from top to bottom, in CSS pixels. */
export interface Rows { ruler: Row; user: Row; gaps: Row; agent: Row; model: Row; tools: Row; height: number }
export interface Row { top: number; height: number }

export function rows(compact: boolean): Rows {
  const heights = compact
    ? { ruler: 20, user: 44, gaps: 22, agent: 44, model: 16, tools: 16 }
    : { ruler: 24, user: 66, gaps: 26, agent: 66, model: 22, tools: 22 };
  let top = 0;
  const placed = Object.fromEntries(Object.entries(heights).map(([name, height]) => {
    const row = { top, height };
    top += height;
    return [name, row];
  })) as unknown as Omit<Rows, "height">;
  return { ...placed, height: top + 4 };
}

export interface Scene {
  call: Call;
  gaps: Gap[];
  tiles: Tiles;
  hasSound: boolean;
  from: number;
  to: number;
  width: number;
  rows: Rows;
  related: Related;
  selection: Selection | null;
  range: { from: number; to: number } | null;
  sides: { user: boolean; agent: boolean };
  colors: Colors;
}

const COLORS = ["ink", "muted", "line", "panel", "user", "agent", "error", "tool", "model", "cause-1", "cause-2", "cause-3", "cause-4", "focus"] as const;
export type Colors = Record<(typeof COLORS)[number], string>;

export function colors(): Colors {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colors;
}

export const sceneGaps = gaps;

/** Level below which only the line is drawn, not a bar. */
const SILENT = 6;
const BAR = 2;
const STEP = 3;
const FONT = '11px "Inter Variable", system-ui, sans-serif';

export function draw(context: CanvasRenderingContext2D, scene: Scene): void {
  const { width, rows: { height } } = scene;
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  drawRuler(context, scene);
  drawRange(context, scene);
  drawTurns(context, scene);
  drawRedactions(context, scene);
  drawGhosts(context, scene);
  drawWaveform(context, scene, 0, scene.rows.user);
  drawWaveform(context, scene, 1, scene.rows.agent);
  drawGhostLabels(context, scene);
  drawGaps(context, scene);
  drawLanes(context, scene);
  drawInterruptions(context, scene);
  drawErrors(context, scene);
}

export const toX = (scene: Pick<Scene, "from" | "to" | "width">, ms: number): number =>
  ((ms - scene.from) / (scene.to - scene.from)) * scene.width;

const onScreen = (scene: Scene, from: number, to: number): boolean => to >= scene.from && from <= scene.to;

function text(context: CanvasRenderingContext2D, value: string, x: number, y: number, color: string, align: CanvasTextAlign = "center"): void {
  context.fillStyle = color;
  context.textAlign = align;
  context.fillText(value, x, y);
}

const STEPS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000];

function drawRuler(context: CanvasRenderingContext2D, scene: Scene): void {
  const { colors, rows } = scene;
  const perPixel = (scene.to - scene.from) / scene.width;
  const step = STEPS.find((candidate) => candidate / perPixel >= 72) ?? STEPS.at(-1)!;
  for (let at = Math.ceil(scene.from / step) * step; at <= scene.to; at += step) {
    const x = Math.round(toX(scene, at)) + 0.5;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, rows.ruler.height - 4);
    context.lineTo(x, rows.height);
    context.stroke();
    if (x > 12 && x < scene.width - 18) text(context, clock(at, step < 1000 ? 1 : 0), x, rows.ruler.height / 2 - 1, colors.muted);
  }
}

function drawRange(context: CanvasRenderingContext2D, scene: Scene): void {
  if (!scene.range) return;
  const x = toX(scene, scene.range.from);
  const end = toX(scene, scene.range.to);
  context.globalAlpha = 0.12;
  context.fillStyle = scene.colors.focus;
  context.fillRect(x, scene.rows.ruler.height, end - x, scene.rows.height);
  context.globalAlpha = 1;
}

function box(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, radius = 4): void {
  context.beginPath();
  context.roundRect(x, y, Math.max(1.5, width), height, radius);
}

const side = (turn: Turn): "user" | "agent" => (turn.role === "user" ? "user" : "agent");

function drawTurns(context: CanvasRenderingContext2D, scene: Scene): void {
  for (const turn of scene.call.turns) {
    if (turn.start_ms === null) continue;
    const end = turn.end_ms ?? scene.to;
    if (!onScreen(scene, turn.start_ms, end)) continue;
    const row = scene.rows[side(turn)];
    const x = toX(scene, turn.start_ms);
    const selected = scene.related.turns.has(turn.index);
    context.globalAlpha = selected ? 0.24 : 0.09;
    context.fillStyle = scene.colors[side(turn)];
    box(context, x, row.top + 2, toX(scene, end) - x, row.height - 4);
    context.fill();
    context.globalAlpha = 1;
    if (selected) {
      context.strokeStyle = scene.colors[side(turn)];
      context.lineWidth = 1.5;
      context.stroke();
    }
  }
}

function drawWaveform(context: CanvasRenderingContext2D, scene: Scene, channel: 0 | 1, row: Row): void {
  const name = channel === 0 ? "user" : "agent";
  const middle = row.top + row.height / 2;
  context.fillStyle = scene.colors[name];
  context.globalAlpha = scene.sides[name] ? 1 : 0.28;
  if (scene.hasSound) {
    const perBar = ((scene.to - scene.from) / scene.width) * STEP;
    const level = Tiles.level(perBar);
    // Bars are aligned to the call, not to the screen, so that they do not change while the axis moves.
    const first = Math.floor(scene.from / perBar);
    const last = Math.ceil(scene.to / perBar);
    const highest = row.height / 2 - 5;
    context.save();
    context.globalAlpha *= 0.4;
    context.fillRect(0, middle - 0.5, scene.width, 1);
    context.restore();
    context.beginPath();
    for (let n = first; n <= last; n++) {
      const loudest = scene.tiles.loudest(channel, n * perBar, (n + 1) * perBar, level);
      if (loudest === null || loudest < SILENT) continue;
      const half = Math.max(0.75, (loudest / 255) ** 1.35 * highest);
      context.roundRect(toX(scene, n * perBar), middle - half, BAR, 2 * half, 1);
    }
    context.fill();
  } else {
    context.globalAlpha = 0.4;
    context.fillRect(0, middle - 0.5, scene.width, 1);
  }
  context.globalAlpha = 1;
}

/** Length of the part of an interrupted answer that was not heard, ms. */
export const unheard = (turn: Turn): number =>
  turn.interrupted && turn.generated_ms !== null && turn.heard_ms !== null ? Math.max(0, turn.generated_ms - turn.heard_ms) : 0;

function hatch(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.beginPath();
  for (let at = x - height; at < x + width; at += 6) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}

/** Stretches that were silenced afterwards, where there was sound before. */
function drawRedactions(context: CanvasRenderingContext2D, scene: Scene): void {
  for (const stretch of scene.call.redacted ?? []) {
    if (!onScreen(scene, stretch.start_ms, stretch.end_ms)) continue;
    const x = toX(scene, stretch.start_ms);
    const width = Math.max(2, toX(scene, stretch.end_ms) - x);
    for (const name of ["user", "agent"] as const) {
      if (stretch.side !== "both" && stretch.side !== name) continue;
      const row = scene.rows[name];
      context.strokeStyle = scene.colors.muted;
      context.lineWidth = 1;
      context.globalAlpha = 0.45;
      hatch(context, x, row.top + 2, width, row.height - 4);
      context.globalAlpha = 1;
      const space = context.measureText("silenced").width + 10;
      if (width < space) continue;
      context.fillStyle = scene.colors.panel;
      box(context, x + width / 2 - space / 2, row.top + row.height / 2 - 8, space, 16, 8);
      context.fill();
      text(context, "silenced", x + width / 2, row.top + row.height / 2, scene.colors.muted);
    }
  }
}

function drawGhosts(context: CanvasRenderingContext2D, scene: Scene): void {
  const row = scene.rows.agent;
  for (const turn of scene.call.turns) {
    const missing = unheard(turn);
    if (turn.end_ms === null || missing < 50 || !onScreen(scene, turn.end_ms, turn.end_ms + missing)) continue;
    const x = toX(scene, turn.end_ms);
    const width = toX(scene, turn.end_ms + missing) - x;
    context.strokeStyle = scene.colors.agent;
    context.lineWidth = 1;
    context.globalAlpha = 0.35;
    hatch(context, x, row.top + 8, width, row.height - 16);
    context.globalAlpha = 0.8;
    context.setLineDash([4, 3]);
    context.strokeRect(x + 0.5, row.top + 8.5, width, row.height - 17);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }
}

function drawGhostLabels(context: CanvasRenderingContext2D, scene: Scene): void {
  const row = scene.rows.agent;
  for (const turn of scene.call.turns) {
    const missing = unheard(turn);
    if (turn.end_ms === null || missing < 50 || !onScreen(scene, turn.end_ms, turn.end_ms + missing)) continue;
    const x = toX(scene, turn.end_ms);
    const width = toX(scene, turn.end_ms + missing) - x;
    const label = `${length(missing)} never heard`;
    const space = context.measureText(label).width + 10;
    if (width >= space) {
      const y = row.top + row.height - 17;
      context.fillStyle = scene.colors.panel;
      box(context, x + width / 2 - space / 2, y - 8, space, 16, 8);
      context.fill();
      text(context, label, x + width / 2, y, scene.colors.agent);
    }
  }
}

function drawGaps(context: CanvasRenderingContext2D, scene: Scene): void {
  const row = scene.rows.gaps;
  const y = row.top + row.height / 2;
  let free = -Infinity; // right end of the last label: labels do not overlap
  for (const gap of scene.gaps) {
    if (!onScreen(scene, gap.from, gap.to)) continue;
    const x = toX(scene, gap.from);
    const width = Math.max(2, toX(scene, gap.to) - x);
    if (gap.silence) {
      context.strokeStyle = scene.colors.muted;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + width, y);
      context.stroke();
      context.setLineDash([]);
    } else {
      drawParts(context, scene, gap, x, width, y);
    }
    const label = length(gap.to - gap.from);
    const space = context.measureText(label).width + 10;
    const at = gap.silence ? x + width / 2 - space / 2 : x + width + 3;
    const fits = gap.silence ? width > space + 8 : at > free + 2;
    if (fits && at > free) {
      context.fillStyle = scene.colors.panel;
      box(context, at, y - 8, space, 16, 8);
      context.fill();
      const chosen = gap.turn !== null && scene.related.turns.has(gap.turn);
      text(context, label, at + space / 2, y + 0.5, chosen ? scene.colors.ink : scene.colors.muted);
      free = at + space;
    }
  }
}

function drawParts(context: CanvasRenderingContext2D, scene: Scene, gap: Gap, x: number, width: number, y: number): void {
  const whole = gap.to - gap.from;
  const known = gap.parts.reduce((sum, part) => sum + part.ms, 0);
  const scale = width / Math.max(whole, known);
  let at = x;
  box(context, x, y - 5, width, 10, 3);
  context.save();
  context.clip();
  context.fillStyle = scene.colors.line;
  context.fillRect(x, y - 5, width, 10);
  gap.parts.forEach((part) => {
    context.fillStyle = scene.colors[causeColor(part.cause)];
    context.fillRect(at, y - 5, Math.max(0, part.ms * scale), 10);
    at += part.ms * scale;
  });
  if (!gap.parts.length) {
    context.fillStyle = scene.colors["cause-3"];
    context.fillRect(x, y - 5, width, 10);
  }
  context.restore();
}

function drawLanes(context: CanvasRenderingContext2D, scene: Scene): void {
  const lane = (row: Row, from: number, to: number | null, color: string, failed: boolean, chosen: boolean, label: string): void => {
    const end = to ?? scene.to;
    if (!onScreen(scene, from, end)) return;
    const x = toX(scene, from);
    const width = Math.max(3, toX(scene, end) - x);
    context.fillStyle = failed ? scene.colors.error : color;
    context.globalAlpha = chosen ? 1 : 0.75;
    box(context, x, row.top + 4, width, row.height - 8, 3);
    context.fill();
    context.globalAlpha = 1;
    if (chosen) {
      context.strokeStyle = scene.colors.ink;
      context.lineWidth = 1.5;
      context.stroke();
    }
    if (context.measureText(label).width + 12 < width) text(context, label, x + 6, row.top + row.height / 2 + 0.5, scene.colors.panel, "left");
  };
  for (const item of scene.call.responses) {
    lane(scene.rows.model, item.start_ms, item.end_ms, scene.colors.model, item.error !== null || item.status === "failed", scene.related.responses.has(item.index), item.status === "completed" ? item.model ?? "" : item.status ?? "");
  }
  for (const tool of scene.call.tools) {
    lane(scene.rows.tools, tool.start_ms, tool.end_ms, scene.colors.tool, tool.error !== null, scene.related.tools.has(tool.index), tool.name);
  }
}

function drawInterruptions(context: CanvasRenderingContext2D, scene: Scene): void {
  scene.call.interruptions.forEach((cut, index) => {
    if (!onScreen(scene, cut.at_ms, cut.at_ms)) return;
    const x = Math.round(toX(scene, cut.at_ms)) + 0.5;
    const chosen = scene.selection?.kind === "interruption" && Number(scene.selection.id) === index;
    context.strokeStyle = scene.colors.ink;
    context.lineWidth = chosen ? 2 : 1;
    context.globalAlpha = cut.false ? 0.5 : 0.85;
    if (cut.false) context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(x, scene.rows.user.top + 6);
    context.lineTo(x, scene.rows.agent.top + scene.rows.agent.height);
    context.stroke();
    context.setLineDash([]);
    // A flag that points to the side that interrupted; hollow for a false interruption.
    context.beginPath();
    context.moveTo(x, scene.rows.user.top + 1);
    context.lineTo(x + 8, scene.rows.user.top + 6);
    context.lineTo(x, scene.rows.user.top + 11);
    context.closePath();
    context.fillStyle = scene.colors.ink;
    if (cut.false) context.stroke();
    else context.fill();
    context.globalAlpha = 1;
  });
}

function drawErrors(context: CanvasRenderingContext2D, scene: Scene): void {
  const y = scene.rows.ruler.height - 1;
  scene.call.errors.forEach((error, index) => {
    if (!onScreen(scene, error.at_ms, error.at_ms)) return;
    const x = Math.round(toX(scene, error.at_ms)) + 0.5;
    const chosen = scene.selection?.kind === "error" && Number(scene.selection.id) === index;
    context.strokeStyle = context.fillStyle = scene.colors.error;
    context.lineWidth = chosen ? 2 : 1;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x, scene.rows.height);
    context.stroke();
    context.beginPath();
    context.arc(x, y - 6, 7, 0, 2 * Math.PI);
    context.fill();
    text(context, "!", x, y - 5.5, scene.colors.panel);
  });
}

/** The objects under a point, smallest first. */
export function hit(scene: Scene, x: number, y: number): Selection | null {
  const at = scene.from + (x / scene.width) * (scene.to - scene.from);
  const slack = ((scene.to - scene.from) / scene.width) * 6;
  const within = (row: Row): boolean => y >= row.top && y < row.top + row.height;
  const covers = (from: number, to: number | null): boolean => at >= from - slack / 2 && at <= (to ?? scene.to) + slack / 2;
  const { call, rows } = scene;
  const error = call.errors.findIndex((item) => Math.abs(item.at_ms - at) <= slack);
  if (error >= 0 && y < rows.ruler.height + 4) return { kind: "error", id: String(error) };
  const cut = call.interruptions.findIndex((item) => at >= item.at_ms - slack / 2 && at <= item.at_ms + slack * 1.4);
  if (cut >= 0 && y >= rows.user.top && y < rows.user.top + 14) return { kind: "interruption", id: String(cut) };
  if (within(rows.model)) {
    const found = call.responses.findLast((item) => covers(item.start_ms, item.end_ms));
    return found ? { kind: "response", id: String(found.index) } : null;
  }
  if (within(rows.tools)) {
    const found = call.tools.findLast((item) => covers(item.start_ms, item.end_ms));
    return found ? { kind: "tool", id: String(found.index) } : null;
  }
  if (within(rows.gaps)) {
    const gap = scene.gaps.find((item) => item.turn !== null && covers(item.from, item.to));
    if (gap) return { kind: "turn", id: String(gap.turn) };
  }
  const wanted = within(rows.user) ? "user" : within(rows.agent) ? "agent" : null;
  const turn = call.turns.find((item) => wanted === side(item) && item.start_ms !== null && covers(item.start_ms, (item.end_ms ?? scene.to) + unheard(item)));
  return turn ? { kind: "turn", id: String(turn.index) } : null;
}
