/** Shows the call's numbers at the top of the page. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { compact, count, length, money, number, UNKNOWN } from "./format";
import type { Call, Usage } from "./model";
import { costOf, edit, edited, PRICED, PRICE_NAMES, pricesOf, reset, totalCost, type Priced } from "./cost";
import { Icon } from "./icons";

function Fact({ name, value, detail, children, warn = false }: { name: string; value: ComponentChildren; detail?: ComponentChildren; children?: ComponentChildren; warn?: boolean }) {
  return (
    <div class={`fact ${warn ? "warn" : ""}`}>
      <dt>{name}</dt>
      <dd><b>{value}</b>{detail && <small>{detail}</small>}{children}</dd>
    </div>
  );
}

const seconds = (value: number | null): string => length(value === null ? null : value * 1000);

export function FactsBar({ call }: { call: Call }) {
  const { facts } = call;
  const latency = facts.voice_to_voice_ms;
  const input = sum(call.usage, (usage) => usage.input?.total);
  const output = sum(call.usage, (usage) => usage.output?.total);
  return (
    <dl class="facts">
      <Fact name="Duration" value={call.live ? "live" : length(call.duration_ms)} />
      <Fact name="Turns" value={number(facts.turns)} detail={facts.tool_calls ? count(facts.tool_calls, "tool call") : undefined} />
      <Fact name="Voice to voice" value={length(latency?.p50)} detail={latency?.p95 != null ? `p95 ${length(latency.p95)}` : undefined} />
      <Fact name="Interruptions" value={number(facts.interruptions)} detail={facts.false_interruptions ? `${number(facts.false_interruptions)} false` : undefined} />
      <Fact name="Dead air" value={seconds(facts.dead_air_s)} detail={facts.longest_silence_s ? `longest ${seconds(facts.longest_silence_s)}` : undefined} />
      <TalkRatio user={facts.user_talk_s} agent={facts.agent_talk_s} overlap={facts.overlap_s} />
      <Fact name="Tokens" value={input === null && output === null ? UNKNOWN : compact((input ?? 0) + (output ?? 0))} detail={input === null ? undefined : `${compact(input)} in, ${compact(output)} out`} />
      <Cost usage={call.usage} />
      {facts.server_errors || call.errors.length ? <Fact name="Errors" value={<><Icon name="alert" /> {number(facts.server_errors ?? call.errors.length)}</>} warn /> : null}
    </dl>
  );
}

function sum(usage: Usage[], read: (usage: Usage) => number | null | undefined): number | null {
  const values = usage.map(read).filter((value): value is number => typeof value === "number");
  return values.length ? values.reduce((all, value) => all + value, 0) : null;
}

function TalkRatio({ user, agent, overlap }: { user: number | null; agent: number | null; overlap: number | null }) {
  if (user === null || agent === null || user + agent === 0) return <Fact name="Talk" value={UNKNOWN} />;
  const share = Math.round((100 * user) / (user + agent));
  return (
    <Fact name="Talk" value={`${share} : ${100 - share}`} detail={overlap ? `${seconds(overlap)} at once` : undefined}>
      <span class="ratio" role="img" aria-label={`User ${seconds(user)}, agent ${seconds(agent)}`} title={`User ${seconds(user)}, agent ${seconds(agent)}`}>
        <i class="user" style={{ width: `${share}%` }} /><i class="agent" style={{ width: `${100 - share}%` }} />
      </span>
    </Fact>
  );
}

function Cost({ usage }: { usage: Usage[] }) {
  const open = useSignal(false);
  void edited.value;
  if (!usage.length) return null;
  const whole = totalCost(usage);
  return (
    <div class="fact cost">
      <dt>Cost</dt>
      <dd>
        <button type="button" class="plain" aria-expanded={open.value} onClick={() => (open.value = !open.value)} title="Show and change the prices">
          <b>{money(whole)}</b><small>{whole === null ? "a price is missing" : "by list prices"} <Icon name="down" /></small>
        </button>
        {open.value && <Prices usage={usage} close={() => (open.value = false)} />}
      </dd>
    </div>
  );
}

function Prices({ usage, close }: { usage: Usage[]; close: () => void }) {
  return (
    <div class="popover" role="dialog" aria-label="Prices" onKeyDown={(event) => event.key === "Escape" && (event.stopPropagation(), close())}>
      {usage.map((item, n) => <ModelPrices key={item.model ?? n} usage={item} />)}
      <p class="quiet">Dollars for a million tokens; a minute where a model is billed by time. Changes stay in this browser.</p>
      <div class="row-end">
        <button type="button" class="button" onClick={reset}>Reset</button>
        <button type="button" class="button primary" onClick={close}>Done</button>
      </div>
    </div>
  );
}

function ModelPrices({ usage }: { usage: Usage }) {
  const model = usage.model ?? "unknown model";
  const price = pricesOf(model);
  const cost = costOf(usage, model);
  const used = cost?.lines ?? [];
  const shown: Priced[] = price ? used.map((line) => line.what) : [...PRICED];
  return (
    <table class="prices">
      <caption>{model} <b>{money(cost?.dollars ?? null)}</b></caption>
      <thead><tr><th scope="col">Kind</th><th scope="col">Tokens</th><th scope="col">Price</th><th scope="col">Cost</th></tr></thead>
      <tbody>
        {shown.map((what) => {
          const line = used.find((item) => item.what === what);
          return (
            <tr key={what}>
              <th scope="row">{PRICE_NAMES[what]}</th>
              <td>{line ? (what === "minute" ? `${Math.round(line.tokens)} s` : number(line.tokens)) : UNKNOWN}</td>
              <td><input type="number" min="0" step="any" aria-label={`${model}: price of ${PRICE_NAMES[what]}`} value={price?.[what] ?? ""}
                onChange={(event) => edit(model, what, event.currentTarget.value === "" ? null : Math.max(0, Number(event.currentTarget.value)))} /></td>
              <td>{money(line?.dollars ?? null)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
