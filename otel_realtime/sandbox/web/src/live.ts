/** Receives changes while the page is open, by server-sent events. */

/** Call `changed` with the ids of changed calls, or with null if any call may have changed (after a lost connection). */
export function watch(changed: (ids: string[] | null) => void): () => void {
  const events = new EventSource("/api/events");
  let lost = false;
  events.addEventListener("calls", (event) => {
    changed(JSON.parse((event as MessageEvent<string>).data) as string[]);
  });
  events.addEventListener("error", () => (lost = true));
  events.addEventListener("open", () => {
    if (lost) changed(null);
    lost = false;
  });
  return () => events.close();
}
