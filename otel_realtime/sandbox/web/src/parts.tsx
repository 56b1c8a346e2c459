/** Small parts that several views share. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icons";
import { pretty } from "./format";

/** The last action, for screen readers and shown briefly on the screen. */
import { announcement, announce } from "./announce";

export function Announcement() {
  return <div class={`toast ${announcement.value ? "shown" : ""}`} role="status">{announcement.value}</div>;
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} copied`);
  } catch {
    announce(`Copying needs a permission of the browser: ${text}`);
  }
}

export function Button({ icon, label, filled, onClick, pressed, text, shortcut, disabled = false, kind = "" }: {
  icon?: IconName; label: string; filled?: boolean; onClick: () => void; pressed?: boolean; text?: ComponentChildren; shortcut?: string; disabled?: boolean; kind?: string;
}) {
  return (
    <button type="button" class={`button ${kind}`} title={shortcut ? `${label} (${shortcut})` : label} aria-label={label} aria-pressed={pressed} disabled={disabled} onClick={onClick}>
      {icon && <Icon name={icon} filled={filled ?? false} />}
      {text && <span>{text}</span>}
    </button>
  );
}

/** A menu that opens under its button and closes on a choice, on Escape and on a click elsewhere. */
export function Menu({ label, icon, text, children }: { label: string; icon: IconName; text?: string; children: ComponentChildren }) {
  const open = useSignal(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open.value) return;
    const away = (event: Event): void => void (box.current?.contains(event.target as Node) || (open.value = false));
    const escape = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      open.value = false;
      box.current?.querySelector("button")?.focus();
    };
    addEventListener("pointerdown", away);
    box.current?.addEventListener("keydown", escape);
    return () => {
      removeEventListener("pointerdown", away);
      box.current?.removeEventListener("keydown", escape);
    };
  }, [open.value]);
  return (
    <div class="menu" ref={box}>
      <button type="button" class="button" aria-expanded={open.value} title={label} aria-label={label} onClick={() => (open.value = !open.value)}>
        <Icon name={icon} />{text && <span>{text}</span>}<Icon name="down" />
      </button>
      {open.value && <div class="menu-items" onClick={(event) => (event.target as HTMLElement).closest("button,a") && (open.value = false)}>{children}</div>}
    </div>
  );
}

/** A JSON value that may be long: folded to a few lines. */
export function Json({ value, label }: { value: unknown; label: string }) {
  const text = pretty(value);
  const long = text.length > 600 || text.split("\n").length > 14;
  const open = useSignal(false);
  return (
    <div class={`json ${long && !open.value ? "folded" : ""}`}>
      <pre tabIndex={0} aria-label={label}>{long && !open.value ? text.slice(0, 2000) : text}</pre>
      {long && <button type="button" class="more" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>{open.value ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`}</button>}
    </div>
  );
}

export function Pairs({ pairs }: { pairs: [string, ComponentChildren][] }) {
  return (
    <dl class="pairs">
      {pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => (
        <div key={name}><dt>{name}</dt><dd>{value}</dd></div>
      ))}
    </dl>
  );
}
