/** Keyboard control of everything that the mouse can do with a call. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Call } from "./model";
import * as player from "./player";
import { panel, range, related, select, selection, view, zoom, zoomBy } from "./state";
import { playTurn } from "./transcript";
import { linkToTime, saveClip } from "./transport";

export const help = signal(false);

type Action = (call: Call) => void;

function turnBy(step: number): Action {
  return (call) => {
    const current = [...related.value.turns][0];
    const at = player.position.value;
    const here = current ?? call.turns.findLastIndex((turn) => turn.start_ms !== null && turn.start_ms <= at + 1);
    const next = call.turns[Math.max(0, Math.min(call.turns.length - 1, here + step))];
    if (!next) return;
    select("turn", next.index);
    if (next.start_ms !== null) player.seek(next.start_ms);
  };
}

/** The next of several timed objects after the playhead. */
function nextOf(kind: "error" | "interruption"): Action {
  return (call) => {
    const items = kind === "error" ? call.errors : call.interruptions;
    const chosen = selection.value?.kind === kind ? Number(selection.value.id) : -1;
    const index = chosen >= 0 ? (chosen + 1) % items.length : Math.max(0, items.findIndex((item) => item.at_ms > player.position.value));
    const item = items[index];
    if (!item) return;
    select(kind, index);
    player.seek(item.at_ms);
  };
}

const middle = (): number => (player.position.value >= view.value.from && player.position.value <= view.value.to ? player.position.value : (view.value.from + view.value.to) / 2);
const by = (ms: number): Action => () => player.seek(player.position.value + ms);
const selectedTurn = (call: Call) => call.turns[[...related.value.turns][0] ?? -1];

/** Key, as `event.key` with its modifiers; its action; its description. A key without one is an alternative key. */
const KEYS: [string, Action, string?][] = [
  [" ", () => player.toggle(), "Play or pause"],
  ["ArrowLeft", by(-5000), "Five seconds back"], ["ArrowRight", by(5000), "Five seconds on"],
  ["Shift+ArrowLeft", by(-1000), "One second back"], ["Shift+ArrowRight", by(1000), "One second on"],
  ["Home", () => player.seek(0), "To the start"],
  ["ArrowUp", turnBy(-1), "Turn before"], ["ArrowDown", turnBy(1), "Next turn"], ["k", turnBy(-1)], ["j", turnBy(1)],
  ["Enter", (call) => { const turn = selectedTurn(call); if (turn) playTurn(turn); }, "Play the selected turn"],
  ["1", () => (player.rate.value = 1), "Normal speed"], ["2", () => (player.rate.value = 1.5), "1.5 times the speed"], ["3", () => (player.rate.value = 2), "Twice the speed"],
  ["u", () => player.solo("user"), "Hear only the user"], ["a", () => player.solo("agent"), "Hear only the agent"],
  ["Shift+U", () => player.mute("user"), "Mute the user"], ["Shift+A", () => player.mute("agent"), "Mute the agent"],
  ["s", () => (player.skipSilence.value = !player.skipSilence.value), "Skip silence"],
  ["e", nextOf("error"), "Next error"], ["i", nextOf("interruption"), "Next interruption"],
  ["+", () => zoomBy(0.5, middle()), "Zoom in"], ["=", () => zoomBy(0.5, middle())], ["-", () => zoomBy(2, middle()), "Zoom out"], ["0", () => (zoom.value = null), "Show the whole call"],
  ["c", () => linkToTime(), "Copy a link to this time"],
  ["d", (call) => { const turn = selectedTurn(call); if (turn?.start_ms != null && turn.end_ms != null) saveClip(call, turn.start_ms, turn.end_ms, `turn-${turn.index + 1}`); }, "Save the selected turn as WAV"],
  ["t", () => (panel.value = panel.value === "spans" ? "details" : "spans"), "Spans or selection"],
  ["Escape", () => { if (range.value) range.value = null; else selection.value = null; }, "Remove mark or selection"],
  ["?", () => (help.value = !help.value), "This list"],
];

const NAMES: Record<string, string> = { " ": "space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "Shift+ArrowLeft": "shift ←", "Shift+ArrowRight": "shift →", "Shift+U": "shift u", "Shift+A": "shift a" };

const TYPED = "input:not([type=checkbox]), textarea, select, [contenteditable]";
/** Keys that a focused control uses itself. */
const OF_CONTROLS = new Set([" ", "Enter"]);

export function useKeys(call: Call): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target instanceof HTMLElement ? event.target : document.body;
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || help.value || target.closest(TYPED)) return;
      if (OF_CONTROLS.has(event.key) && target.closest("button, a, summary, [role=tab]")) return;
      const letter = event.key.length === 1 && event.key.toLowerCase() !== event.key.toUpperCase();
      const name = event.shiftKey && (letter || event.key.startsWith("Arrow")) ? `Shift+${event.key}` : event.key;
      const found = KEYS.find(([key]) => key === name);
      if (!found) return;
      event.preventDefault();
      found[1](call);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [call]);
}

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (help.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [help.value]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={() => (help.value = false)} onClick={(event) => event.target === dialog.current && (help.value = false)}>
      <h2 id="help-title">Keyboard</h2>
      <dl>{KEYS.filter(([, , words]) => words).map(([key, , words]) => <div key={key}><dt><kbd>{NAMES[key] ?? key.toLowerCase()}</kbd></dt><dd>{words}</dd></div>)}</dl>
      <p class="quiet">Drag over the waveform to mark a stretch; hold Ctrl or ⌘ and scroll to zoom.</p>
      <form method="dialog"><button class="button primary">Close</button></form>
    </dialog>
  );
}
