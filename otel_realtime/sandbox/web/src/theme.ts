/** Light or dark theme: the system's, unless the user chose one. */

import { computed, effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const KEY = "otel-realtime.theme";
const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

export const theme = signal<Theme>(stored());
const system = signal(SYSTEM.matches);
SYSTEM.addEventListener("change", () => (system.value = SYSTEM.matches));

export const darkness = computed(() => (theme.value === "auto" ? system.value : theme.value === "dark"));

effect(() => {
  document.documentElement.dataset.theme = darkness.value ? "dark" : "light";
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // Without storage, the page follows the system.
  }
});

export const nextTheme = (): void => {
  theme.value = theme.value === "auto" ? (system.value ? "light" : "dark") : theme.value === "dark" ? "light" : "dark";
};
