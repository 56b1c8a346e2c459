/** Controls for playback, speed, silence, zoom and saving. */

import { useComputed } from "@preact/signals";
import { announce } from "./announce";
import { clock, length } from "./format";
import type { Call } from "./model";
import { Button, copy, Menu } from "./parts";
import * as player from "./player";
import { range, source, total, view, zoom, zoomBy } from "./state";

export const RATES = [1, 1.5, 2];

export const linkToTime = (): void => {
  const url = new URL(location.href);
  url.hash = `t=${(player.position.value / 1000).toFixed(2)}`;
  history.replaceState(null, "", url);
  void copy(url.href, `Link to ${clock(player.position.value, 1)}`);
};

export function Transport({ call, sound }: { call: Call; sound: boolean }) {
  const now = useComputed(() => clock(player.position.value, 1));
  const middle = (): number => {
    const { from, to } = view.value;
    const at = player.position.value;
    return at >= from && at <= to ? at : (from + to) / 2;
  };
  return (
    <div class="transport">
      {sound ? (
        <>
          <Button icon={player.playing.value ? "pause" : "play"} filled={!player.playing.value} label={player.playing.value ? "Pause" : "Play"} shortcut="space" kind="primary" onClick={player.toggle} />
          <span class="time"><b>{now.value}</b> / {clock(total.value)}</span>
          <span class="group" role="group" aria-label="Speed">
            {RATES.map((value, n) => (
              <Button key={value} label={`${value} times the speed`} shortcut={String(n + 1)} text={`${value}×`} pressed={player.rate.value === value} onClick={() => (player.rate.value = value)} />
            ))}
          </span>
          <Button label="Skip silence" shortcut="s" text="Skip silence" pressed={player.skipSilence.value} onClick={() => (player.skipSilence.value = !player.skipSilence.value)} />
        </>
      ) : (
        <span class="quiet">{call.live ? "The recording comes when the call has ended." : "No recording of this call."}</span>
      )}
      {player.failure.value && <span class="bad" role="alert">{player.failure.value}</span>}
      {range.value && sound && <RangeTools call={call} />}
      <span class="spring" />
      <span class="group" role="group" aria-label="Zoom">
        <Button icon="minus" label="Zoom out" shortcut="-" disabled={zoom.value === null} onClick={() => zoomBy(2, middle())} />
        <Button icon="plus" label="Zoom in" shortcut="+" onClick={() => zoomBy(0.5, middle())} />
        <Button icon="fit" label="Show the whole call" shortcut="0" disabled={zoom.value === null} onClick={() => (zoom.value = null)} />
      </span>
      <Button icon="link" label="Copy a link to this time" shortcut="c" onClick={linkToTime} />
      <SaveMenu call={call} sound={sound} />
    </div>
  );
}

function RangeTools({ call }: { call: Call }) {
  const marked = range.value!;
  return (
    <span class="group" role="group" aria-label="Marked stretch">
      <Button icon="play" filled label="Play the marked stretch" text={length(marked.to - marked.from)} onClick={() => void player.play(marked.from, marked.to)} />
      <Button icon="save" label="Save the marked stretch as WAV" onClick={() => saveClip(call, marked.from, marked.to, `${clock(marked.from)}-${clock(marked.to)}`.replaceAll(":", "."))} />
      <Button icon="close" label="Remove the mark" shortcut="escape" onClick={() => (range.value = null)} />
    </span>
  );
}

export function saveClip(call: Call, from: number, to: number, name: string): void {
  source.value?.save("clip", call, { from, to, name }).catch(() => announce("The clip could not be made."));
}

function SaveMenu({ call, sound }: { call: Call; sound: boolean }) {
  const item = (kind: "recording" | "vtt" | "srt" | "txt" | "json", text: string, detail: string) => (
    <button type="button" onClick={() => void source.value?.save(kind, call)}><span>{text}</span><small>{detail}</small></button>
  );
  return (
    <Menu label="Save the call" icon="save" text="Save">
      {sound && item("recording", "Recording", source.value?.isReport ? "Ogg Opus" : "as recorded")}
      {item("vtt", "Captions", "WebVTT")}
      {item("srt", "Captions", "SubRip")}
      {item("txt", "Transcript", "text")}
      {item("json", "Call", "JSON")}
    </Menu>
  );
}

