/** The time axis with its transport: waveforms above, model and tools below, one playhead through all. */

import { effect, useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { clock, length, milliseconds } from "../format";
import type { Call } from "../model";
import * as player from "../player";
import { range, related, select, selection, show, total, view, zoom, zoomBy, type Selection } from "../state";
import { darkness } from "../theme";
import { Transport } from "../transport";
import { colors, draw, hit, rows, sceneGaps, toX, unheard, type Scene } from "./draw";
import { causeName } from "./gaps";
import { arrived, Tiles } from "./tiles";
import { source } from "../state";

const COMPACT = matchMedia("(max-width: 720px)");

export function Timeline({ call, sound }: { call: Call; sound: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useSignal(0);
  const compact = useSignal(COMPACT.matches);
  const hover = useSignal<{ x: number; y: number; at: number; what: Selection | null } | null>(null);
  const tiles = useMemo(() => new Tiles(source.value!), [source.value, call.id, sound]);
  const found = useMemo(() => sceneGaps(call), [call]);
  const scene = (): Scene => ({
    call, tiles, gaps: found, hasSound: sound, from: view.value.from, to: view.value.to, width: width.value, rows: rows(compact.value),
    related: related.value, selection: selection.value, range: range.value, sides: player.heard.value, colors: colors(),
  });

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      width.value = Math.floor(entry!.contentRect.width);
      compact.value = COMPACT.matches;
    });
    observer.observe(canvas.current!.parentElement!);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    let frame = 0;
    const stop = effect(() => {
      void [arrived.value, darkness.value];
      const now = scene();
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => paint(canvas.current, now));
    });
    // The first drawing may happen before the font is loaded.
    void document.fonts.ready.then(() => arrived.value++);
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [call, tiles, found, sound]);

  const timeAt = (clientX: number): number => {
    const box = canvas.current!.getBoundingClientRect();
    return view.value.from + ((clientX - box.left) / box.width) * (view.value.to - view.value.from);
  };

  /** A click plays from that position; a drag marks a stretch. */
  const onPointerDown = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    const startX = event.clientX;
    const start = timeAt(startX);
    const box = canvas.current!.getBoundingClientRect();
    const target = event.currentTarget as HTMLElement;
    let dragged = false;
    const move = (next: PointerEvent): void => {
      dragged ||= Math.abs(next.clientX - startX) > 5;
      if (!dragged) return;
      const now = Math.max(0, Math.min(total.value, timeAt(next.clientX)));
      range.value = { from: Math.min(start, now), to: Math.max(start, now) };
    };
    const up = (next: PointerEvent): void => {
      target.removeEventListener("pointermove", move);
      if (next.type === "pointercancel" || dragged) return;
      range.value = null;
      const what = hit(scene(), startX - box.left, event.clientY - box.top);
      if (what) select(what.kind, what.id);
      else selection.value = null;
      player.seek(start);
      if (sound) void player.play(start);
    };
    if (event.pointerType !== "touch") target.setPointerCapture(event.pointerId);
    if (event.pointerType !== "touch") target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", up, { once: true });
    target.addEventListener("pointercancel", up, { once: true });
  };

  const onWheel = (event: WheelEvent): void => {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoomBy(Math.exp(event.deltaY / 300), timeAt(event.clientX));
    } else if (zoom.value && Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      event.preventDefault();
      const moved = (sideways / width.value) * (view.value.to - view.value.from);
      show(view.value.from + moved, view.value.to + moved);
    }
  };
  useEffect(() => {
    const surface = canvas.current!.parentElement!;
    surface.addEventListener("wheel", onWheel, { passive: false });
    return () => surface.removeEventListener("wheel", onWheel);
  }, []);

  const onHover = (event: PointerEvent): void => {
    if (event.pointerType === "touch") return;
    const box = canvas.current!.getBoundingClientRect();
    const x = event.clientX - box.left;
    hover.value = { x, y: event.clientY - box.top, at: timeAt(event.clientX), what: hit(scene(), x, event.clientY - box.top) };
  };

  const measures = rows(compact.value);
  return (
    <section class="card timeline" aria-label="Time axis">
      <Transport call={call} sound={sound} />
      <div class="axis">
        <Labels compact={compact.value} sound={sound} />
        <div class="surface" onPointerDown={onPointerDown} onPointerMove={onHover} onPointerLeave={() => (hover.value = null)}>
          <canvas ref={canvas} aria-hidden="true" style={{ height: `${measures.height}px` }} />
          <Playhead />
          {hover.value && <Tip call={call} hover={hover.value} width={width.value} />}
          <Slider />
        </div>
      </div>
      <Overview call={call} tiles={tiles} sound={sound} />
    </section>
  );
}

function paint(canvas: HTMLCanvasElement | null, scene: Scene): void {
  if (!canvas || !scene.width) return;
  const density = devicePixelRatio || 1;
  const [width, height] = [Math.round(scene.width * density), Math.round(scene.rows.height * density)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d")!;
  context.setTransform(density, 0, 0, density, 0, 0);
  draw(context, scene);
}

function Labels({ compact, sound }: { compact: boolean; sound: boolean }) {
  const measures = rows(compact);
  const row = (name: "user" | "agent"): { top: string; height: string } => ({ top: `${measures[name].top}px`, height: `${measures[name].height}px` });
  const place = (name: "gaps" | "model" | "tools"): { top: string; height: string } => ({ top: `${measures[name].top}px`, height: `${measures[name].height}px` });
  return (
    <div class="labels" style={{ height: `${measures.height}px` }}>
      {(["user", "agent"] as const).map((side) => (
        <div key={side} class={`label ${side}`} style={row(side)}>
          <b>{side === "user" ? "User" : "Agent"}</b>
          {sound && (
            <span class="sides">
              <button type="button" class="mini" aria-pressed={player.heard.value[side] && !player.heard.value[side === "user" ? "agent" : "user"]}
                title={`Hear only the ${side} (${side === "user" ? "u" : "a"})`} aria-label={`Hear only the ${side}`} onClick={() => player.solo(side)}>S</button>
              <button type="button" class="mini" aria-pressed={!player.heard.value[side]}
                title={`Mute the ${side} (shift ${side === "user" ? "u" : "a"})`} aria-label={`Mute the ${side}`} onClick={() => player.mute(side)}>M</button>
            </span>
          )}
        </div>
      ))}
      <div class="label thin" style={place("gaps")}>Pauses</div>
      <div class="label thin" style={place("model")}>Model</div>
      <div class="label thin" style={place("tools")}>Tools</div>
    </div>
  );
}

function Playhead() {
  const left = useComputed(() => `${(100 * (player.position.value - view.value.from)) / (view.value.to - view.value.from)}%`);
  const hidden = useComputed(() => player.position.value < view.value.from || player.position.value > view.value.to);
  return <div class="playhead" hidden={hidden.value} style={{ left: left.value }} />;
}

/** The axis for the keyboard and for screen readers. */
function Slider() {
  const seconds = Math.round(player.position.value / 1000);
  return (
    <div class="slider" role="slider" tabIndex={0} aria-label="Position in the call" aria-valuemin={0} aria-valuemax={Math.round(total.value / 1000)}
      aria-valuenow={seconds} aria-valuetext={`${clock(player.position.value)} of ${clock(total.value)}`} />
  );
}

function Tip({ call, hover, width }: { call: Call; hover: { x: number; y: number; at: number; what: Selection | null }; width: number }) {
  const lines = hover.what ? describe(call, hover.what) : [];
  const right = hover.x > width * 0.65;
  return (
    <>
      <div class="hairline" style={{ left: `${hover.x}px` }} />
      <div class={`tip ${right ? "right" : ""}`} style={{ left: `${hover.x}px`, top: `${hover.y + 14}px` }}>
        <b>{clock(hover.at, 1)}</b>
        {lines.map((line, n) => <span key={n}>{line}</span>)}
      </div>
    </>
  );
}

function describe(call: Call, what: Selection): string[] {
  const index = Number(what.id);
  const turn = call.turns[index];
  const response = call.responses[index];
  const tool = call.tools[index];
  const error = call.errors[index];
  const cut = call.interruptions[index];
  if (what.kind === "turn" && turn) {
    const words = turn.text ?? "";
    const lines = [`${turn.role === "user" ? "User" : "Agent"}: ${words.length > 90 ? `${words.slice(0, 90)}…` : words || "(no text)"}`];
    if (turn.latency) lines.push(`after ${milliseconds(turn.latency.total_ms)}`, ...turn.latency.parts.filter((part) => part.ms >= 1).map((part) => `· ${milliseconds(part.ms)} ${causeName(part.cause)}`));
    if (unheard(turn)) lines.push(`heard ${length(turn.heard_ms)} of ${length(turn.generated_ms)}`);
    return lines;
  }
  if (what.kind === "response" && response) return [`${response.model ?? "model"}: ${response.status ?? "running"}${response.reason ? ` (${response.reason})` : ""}`, `first audio after ${length(response.first_audio_ms)}`];
  if (what.kind === "tool" && tool) return [`${tool.name}: ${tool.error ?? "done"}`, `took ${length((tool.end_ms ?? tool.start_ms) - tool.start_ms)}, waited for ${length(tool.waited_ms)}`];
  if (what.kind === "error" && error) return [error.code ?? error.type ?? "error", error.message ?? ""];
  if (what.kind === "interruption" && cut) return [cut.false ? "false interruption: nobody spoke" : "interruption", `heard ${length(cut.heard_ms)} of ${length(cut.generated_ms)}`];
  return [];
}

/** The whole call in one strip, shown while the axis shows only a part of it. */
function Overview({ call, tiles, sound }: { call: Call; tiles: Tiles; sound: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = zoom.value;
  useEffect(() => {
    if (!shown) return;
    return effect(() => {
      void [arrived.value, darkness.value];
      const element = canvas.current;
      if (!element) return;
      const density = devicePixelRatio || 1;
      const [width, height] = [element.clientWidth, element.clientHeight];
      Object.assign(element, { width: width * density, height: height * density });
      const context = element.getContext("2d")!;
      context.scale(density, density);
      const palette = colors();
      const perPixel = total.value / width;
      for (let x = 0; x < width && sound; x += 2) {
        for (const channel of [0, 1] as const) {
          const loudest = tiles.loudest(channel, x * perPixel, (x + 2) * perPixel, Tiles.level(2 * perPixel)) ?? 0;
          const half = (loudest / 255) ** 1.35 * (height / 2 - 2);
          context.fillStyle = channel === 0 ? palette.user : palette.agent;
          context.fillRect(x, channel === 0 ? height / 2 - half : height / 2, 1.4, half);
        }
      }
      for (const error of call.errors) {
        context.fillStyle = palette.error;
        context.fillRect(toX({ from: 0, to: total.value, width }, error.at_ms), 0, 2, height);
      }
    });
  }, [shown === null, call, tiles]);
  if (!shown) return null;
  const move = (event: PointerEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const middle = ((event.clientX - box.left) / box.width) * total.value;
    const half = (shown.to - shown.from) / 2;
    show(middle - half, middle + half);
  };
  const down = (event: PointerEvent): void => {
    const strip = event.currentTarget as HTMLElement;
    strip.setPointerCapture(event.pointerId);
    move(event);
    strip.addEventListener("pointermove", move);
    strip.addEventListener("pointerup", () => strip.removeEventListener("pointermove", move), { once: true });
  };
  return (
    <div class="overview" onPointerDown={down} title="The whole call: drag to move">
      <canvas ref={canvas} aria-hidden="true" />
      <i style={{ left: `${(100 * shown.from) / total.value}%`, width: `${(100 * (shown.to - shown.from)) / total.value}%` }} />
    </div>
  );
}

