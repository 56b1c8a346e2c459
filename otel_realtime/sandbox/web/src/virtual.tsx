/** A list that renders only the rows on the screen. */

import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

export type Scroller = Virtualizer<HTMLElement, HTMLElement>;

interface Properties {
  scroll: RefObject<HTMLElement | null>;
  count: number;
  estimate: number;
  /** Rows that grow with their content are measured. */
  measured?: boolean;
  handle?: { current: Scroller | null };
  onRange?: (first: number, last: number) => void;
  children: (index: number) => ComponentChildren;
}

export function Virtual({ scroll, count, estimate, measured = false, handle, onRange, children }: Properties) {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [list] = useState(() => new Virtualizer<HTMLElement, HTMLElement>({
    count, getScrollElement: () => null, estimateSize: () => estimate, observeElementRect, observeElementOffset, scrollToFn: elementScroll,
  }));
  const top = useRef<HTMLDivElement>(null);
  list.setOptions({
    ...list.options,
    count,
    overscan: 8,
    getScrollElement: () => scroll.current,
    estimateSize: () => estimate,
    scrollMargin: top.current && scroll.current ? offsetWithin(top.current, scroll.current) : 0,
    onChange: () => redraw(0),
  });
  useEffect(() => list._didMount(), []);
  useLayoutEffect(() => list._willUpdate());
  if (handle) handle.current = list;
  const items = list.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => onRange?.(first, last), [first, last, count]);
  return (
    <div ref={top} class="virtual" role="presentation" style={{ height: `${list.getTotalSize()}px` }}>
      {items.map((item) => (
        <div key={item.key} data-index={item.index} class="virtual-row" role="presentation" ref={measured ? (node) => list.measureElement(node) : null}
          style={{ transform: `translateY(${item.start - list.options.scrollMargin}px)`, ...(measured ? {} : { height: `${item.size}px` }) }}>
          {children(item.index)}
        </div>
      ))}
    </div>
  );
}

const offsetWithin = (inner: HTMLElement, outer: HTMLElement): number =>
  inner.getBoundingClientRect().top - outer.getBoundingClientRect().top + outer.scrollTop;
