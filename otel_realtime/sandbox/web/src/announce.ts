/** Shows one line about the last action. */

import { signal } from "@preact/signals";

export const announcement = signal("");
let timer = 0;

export function announce(text: string): void {
  announcement.value = text;
  clearTimeout(timer);
  timer = window.setTimeout(() => (announcement.value = ""), 2500);
}
