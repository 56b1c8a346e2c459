/** The page's icons: strokes on a grid of 16, in the colour of the text. */

const PATHS = {
  play: "M5 3.2v9.6L12.8 8z",
  pause: "M5 3v10M11 3v10",
  back: "M3 8h10M7 4 3 8l4 4",
  link: "M7 9a2.6 2.6 0 0 0 3.7 0l2-2A2.6 2.6 0 0 0 9 3.300l-.8.8M9 7a2.6 2.6 0 0 0-3.700 0l-2 2A2.6 2.6 0 0 0 7 12.700l.8-.8",
  save: "M8 2.500v7.500M4.800 7 8 10.200 11.200 7M3 13.300h10",
  copy: "M5.500 5.500h7.500v7.500H5.500zM10.500 5.500V3H3v7.500h2.500",
  tool: "M9.800 4.300a3 3 0 0 1 3.800-1.100L11.500 5.300l.3 1.700 1.600.2 1-1.400a3 3 0 0 1-4.200 3.300L5.700 13.600a1.300 1.300 0 0 1-2-1.900l4.600-4.400",
  alert: "M8 2.200 14.300 13H1.700zM8 6.500v3M8 11.200v.1",
  cut: "M4 2v12M4 2.500l8 3-8 3",
  search: "M7 11.500a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9zM10.500 10.500 14 14",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2 8h12M5 5 2 8l3 3M11 5l3 3-3 3",
  keys: "M2 4.500h12v7.500H2zM4.500 7h.1M7 7h.1M9.500 7h.1M12 7h.1M5 9.700h6",
  sun: "M8 10.800a2.800 2.800 0 1 0 0-5.600 2.800 2.800 0 0 0 0 5.600zM8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.9.9M11.700 11.700l.9.9M12.600 3.400l-.9.9M4.300 11.700l-.9.9",
  moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3 5.500 5.500 0 1 0 13 9.500z",
  auto: "M8 13.500a5.500 5.500 0 1 0 0-11zM8 13.500a5.500 5.500 0 0 1 0-11",
  close: "M4 4l8 8M12 4l-8 8",
  out: "M6.500 3.500H3V13h9.500V9.500M9.500 3H13v3.500M13 3 7.500 8.500",
  down: "M4 6l4 4 4-4",
} as const;

export type IconName = keyof typeof PATHS;

export const Icon = ({ name, filled = false }: { name: IconName; filled?: boolean }) => (
  <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
    <path d={PATHS[name]} fill={filled ? "currentColor" : "none"} stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" />
  </svg>
);
