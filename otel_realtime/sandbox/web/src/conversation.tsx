/** Shows one call: heading, facts, time axis, and transcript and details side by side. */

import { batch, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { FactsBar } from "./facts";
import { moment } from "./format";
import { Icon } from "./icons";
import { Inspector } from "./inspector";
import { Help, useKeys } from "./keys";
import { watch } from "./live";
import type { Call, CallPage } from "./model";
import { copy } from "./parts";
import * as player from "./player";
import { page, panel, range, selection, selectSpan, source as shownSource, spans, zoom } from "./state";
import type { Source } from "./source";
import { Timeline } from "./timeline/Timeline";
import { Transcript } from "./transcript";

export function Conversation({ source, id }: { source: Source; id: string }) {
  const failure = useSignal("");
  useEffect(() => {
    shownSource.value = source;
    let gone = false;
    const load = async (): Promise<void> => {
      try {
        const loaded = await source.call();
        if (gone) return;
        failure.value = "";
        show(loaded, source);
      } catch (error) {
        if (!gone) failure.value = (error as Error).message;
      }
    };
    void load();
    const stop = source.isReport ? () => {} : watch((ids) => void ((ids === null || ids.includes(id)) && load()));
    return () => {
      gone = true;
      stop();
      player.close();
      batch(() => {
        page.value = spans.value = zoom.value = range.value = selection.value = null;
        panel.value = "details";
      });
    };
  }, [source, id]);
  const shown = page.value;
  if (failure.value && !shown) return <main class="page"><div class="card notice"><h1>This call cannot be shown</h1><p>{failure.value}</p>{!source.isReport && <p><a href="/">All calls</a></p>}</div></main>;
  if (!shown) return <main class="page"><p class="empty loading">Loading…</p></main>;
  return <Shown shown={shown} />;
}

/** Take new data; the first time, also go to the time or span that the URL names. */
function show(loaded: CallPage, source: Source): void {
  const first = page.value === null;
  const sound = loaded.call.recording !== null;
  batch(() => {
    page.value = loaded;
    if (sound && !player.hasSound()) player.open(source.audioUrl());
    if (first) followAddress();
  });
  document.title = `${title(loaded.call)} · otel-realtime`;
}

/** `#t=12.5` is a time in seconds; anything else the id of a run or span. */
function followAddress(): void {
  const hash = decodeURIComponent(location.hash.slice(1));
  const time = /^t=(\d+(?:\.\d+)?)$/.exec(hash);
  if (time) player.seek(Number(time[1]) * 1000);
  else if (/^[0-9a-f-]{16,36}$/.test(hash)) {
    panel.value = "spans";
    // A LangSmith run id has the span id in its last 16 digits.
    selectSpan(hash.replaceAll("-", "").slice(-16));
  }
}
addEventListener("hashchange", () => page.value && followAddress());

export const title = (call: Call): string => {
  const opening = call.name && call.name !== "realtime_session" ? call.name : call.turns.find((turn) => turn.role === "user" && turn.text)?.text;
  return (opening ?? call.thread_id ?? call.id).slice(0, 120);
};

function Shown({ shown }: { shown: CallPage }) {
  const call = shown.call;
  const sound = call.recording !== null;
  useKeys(call);
  return (
    <main class="page conversation" id="main">
      <div class="heading">
        <h1 title={title(call)}>{title(call)}</h1>
        <Status call={call} />
        <p class="about">
          <span>{moment(call.started_at)}</span>
          {call.model && <span>{call.model}{call.voice ? `, ${call.voice}` : ""}</span>}
          {call.thread_id && <span class="id">thread <button type="button" class="plain mono" title="Copy the thread id" onClick={() => void copy(call.thread_id!, "Thread id")}>{call.thread_id}</button></span>}
          {call.trace_id && <span class="id">trace <button type="button" class="plain mono" title="Copy the trace id" onClick={() => void copy(call.trace_id!, "Trace id")}>{call.trace_id}</button></span>}
          {shown.links.map((link) => <a key={link.href} href={link.href} target="_blank" rel="noreferrer">{link.label} <Icon name="out" /></a>)}
        </p>
      </div>
      {shown.findings.length > 0 && <button type="button" class="warning" onClick={() => (panel.value = "call")}><Icon name="alert" /> {shown.findings.length === 1 ? "1 contract violation" : `${shown.findings.length} contract violations`}</button>}
      <FactsBar call={call} />
      <Timeline call={call} sound={sound} />
      <div class="split">
        <Transcript call={call} sound={sound} />
        <Inspector />
      </div>
      <Help />
    </main>
  );
}

function Status({ call }: { call: Call }) {
  if (call.live) return <span class="status live"><i /> live</span>;
  return call.status === "error" ? <span class="status error" title={call.error ?? ""}><Icon name="alert" /> error</span> : <span class="status ok">ended</span>;
}

