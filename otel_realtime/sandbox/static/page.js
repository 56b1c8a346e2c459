// The sandbox's page: the list of conversations, or one conversation as a run tree with its recording.
// All content comes from recorded calls, so it is inserted as text and never as markup.

const main = document.getElementById("main");
const statusLine = document.getElementById("status");
const POLL_MS = 2000;

function element(tag, properties = {}, ...children) {
  const { dataset, style, ...rest } = properties;
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "className" || name === "hidden") node[name] = value;
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  Object.assign(node.dataset, dataset);
  for (const [name, value] of Object.entries(style ?? {})) node.style.setProperty(name, value);
  return fill(node, ...children);
}

// replaceChildren() would show null as the text "null".
function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null));
  return node;
}

async function load(url, options) {
  const response = await fetch(url, options);
  if (response.status === 401) location.reload(); // the cookie has ended: the page asks for a key
  if (!response.ok) throw new Error(`${url} returned ${response.status}`);
  return response.json();
}

const seconds = (value) => {
  if (value === null || value === undefined) return "…";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(2)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
};
const localTime = (ns) => (ns === null ? "unknown" : new Date(ns / 1e6).toLocaleString());
const statusLabel = (item) => element("span", { className: item.status }, item.status);
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// --- the list -----------------------------------------------------------------------------------

const COLUMNS = [
  ["Conversation", "", (c) => element("a", { href: `/conversations/${c.id}` }, c.name || "(no name)")],
  ["Status", "", statusLabel],
  ["Start", "", (c) => localTime(c.start_ns)],
  ["Duration", "number", (c) => seconds(c.duration_s)],
  ["Turns", "number", (c) => String(c.turns ?? "–")],
  ["Runs", "number", (c) => String(c.runs)],
  ["Tokens", "number", (c) => c.tokens.toLocaleString()],
  ["Recording", "", (c) => (c.has_recording ? "yes" : "–")],
  ["Violations", "number", (c) => (c.violations ? element("span", { className: "badge" }, String(c.violations)) : "0")],
  ["Project", "", (c) => c.project],
  ["Thread", "mono thread", (c) => element("span", { title: c.thread_id }, c.thread_id ?? "–")],
];

async function showList() {
  const [{ conversations }, { violations }] = await Promise.all([
    load("/api/conversations"),
    load("/api/violations"),
  ]);
  // Orphans and rejected requests belong to no conversation in the list.
  const listed = new Set(conversations.map((c) => c.id));
  const unlisted = violations.filter((v) => !listed.has(v.conversation_id));
  const state = JSON.stringify([conversations, unlisted.length]);
  statusLine.textContent = count(conversations.length, "conversation");
  // Re-rendering on every poll would lose the scroll position and the text selection.
  if (main.dataset.state === state) return;
  main.dataset.state = state;
  const focused = document.activeElement?.getAttribute("href");
  fill(main,
    element("div", { className: "bar" },
      element("h1", {}, "Conversations"),
      element("button", { type: "button", onclick: deleteAll, hidden: !conversations.length && !unlisted.length }, "Delete all")),
    unlisted.length ? violationCard(unlisted, "Violations outside of these conversations") : null,
    conversations.length ? listTable(conversations) : element("div", { className: "card empty" },
      `No conversations yet. Set LANGSMITH_ENDPOINT=${location.origin} in an app and make a call.`),
  );
  if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

function listTable(conversations) {
  const head = COLUMNS.map(([title, className]) => element("th", { className, scope: "col" }, title));
  const rows = conversations.map((item) =>
    element("tr", {}, ...COLUMNS.map(([, className, render]) => element("td", { className }, render(item)))));
  return element("div", { className: "card scroll" },
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}

async function deleteAll() {
  if (!confirm("Delete all conversations and recordings in this sandbox?")) return;
  await load("/api/conversations", { method: "DELETE" });
  await showList();
}

function violationCard(violations, title) {
  const items = violations.map((v) =>
    element("li", { title: v.rule }, element("b", {}, v.kind), ` ${v.message} `,
      v.run_id ? element("span", { className: "soft mono" }, v.run_id) : null));
  return element("section", { className: "card violations" }, element("h2", {}, title), element("ul", {}, ...items));
}

function shapeCard(shapes) {
  const items = shapes.map((s) =>
    element("li", { title: s.rule }, element("b", {}, s.scope), ` ${s.message} `));
  return element("section", { className: "card" },
    element("h2", {}, "Spans of other instrumentations that LangSmith shows in part"), element("ul", {}, ...items));
}

// --- one conversation ---------------------------------------------------------------------------

let selected = null;

// Returns whether the conversation is still running.
async function showConversation(id) {
  const conversation = await load(`/api/conversations/${id}?payloads=false`);
  document.title = `${conversation.name} · ${conversation.thread_id ?? conversation.id}`;
  const state = JSON.stringify([
    conversation.runs.length, conversation.status, conversation.has_recording, conversation.violations.length]);
  statusLine.textContent = conversation.status === "pending" ? "live" : "";
  if (main.dataset.state !== state) {
    main.dataset.state = state;
    render(conversation);
  }
  return conversation.status === "pending";
}

function render(conversation) {
  const attachStatus = conversation.root.metadata.ls_audio_attach_status;
  selected ??= location.hash.slice(1) || conversation.id;
  if (!conversation.runs.some((run) => run.id === selected)) selected = conversation.id;
  const focused = document.activeElement?.classList.contains("row");
  const player = element("audio", {
    controls: "", preload: "metadata", src: `/api/conversations/${conversation.id}/recording`,
    "aria-label": "Recording: user on the left, agent on the right" });
  const detail = element("section", { className: "card detail", "aria-live": "polite" });
  const tree = element("div", { className: "card tree", role: "tree", "aria-label": "Runs", onkeydown: moveInTree });
  tree.append(...treeRows(conversation, detail));
  fill(main,
    element("h1", {}, conversation.name || "(no name)"),
    facts([
      ["status", statusLabel(conversation)], ["start", localTime(conversation.start_ns)],
      ["duration", seconds(conversation.duration_s)], ["turns", String(conversation.turns ?? "–")],
      ["tokens", conversation.tokens.toLocaleString()], ["runs", String(conversation.runs.length)],
      ["project", conversation.project], ["thread", conversation.thread_id ?? "none"],
    ]),
    conversation.has_recording
      ? element("section", { className: "card", "aria-label": "Recording" }, player)
      : element("p", { className: "soft" }, `No recording${attachStatus ? ` (${attachStatus})` : ""}.`),
    conversation.violations.length ? violationCard(conversation.violations, "Contract violations") : null,
    conversation.shapes?.length ? shapeCard(conversation.shapes) : null,
    element("div", { className: "split" }, tree, detail),
  );
  const current = tree.querySelector(`[data-run="${CSS.escape(selected)}"]`);
  select(current, detail);
  if (focused) current.focus();
}

function facts(pairs) {
  return element("dl", { className: "facts" }, ...pairs.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

// Depth first with a stack of its own: a trace may be nested deeper than the call stack.
function treeRows(conversation, detail) {
  const children = groupByParent(conversation.runs);
  const start = conversation.start_ns;
  const end = conversation.runs.reduce((latest, run) => Math.max(latest, run.end_ns ?? run.start_ns), start + 1);
  const rows = [];
  const stack = [[conversation.root, 1]];
  while (stack.length) {
    const [run, depth] = stack.pop();
    rows.push(treeRow(run, depth, start, end, detail));
    // A malformed run may name itself as its parent.
    const childRuns = (children.get(run.id) ?? []).filter((child) => child.id !== run.id);
    for (const child of childRuns.reverse()) stack.push([child, depth + 1]);
  }
  return rows;
}

function groupByParent(runs) {
  const groups = new Map();
  for (const run of runs) {
    if (!groups.has(run.parent_id)) groups.set(run.parent_id, []);
    groups.get(run.parent_id).push(run);
  }
  return groups;
}

function treeRow(run, depth, start, end, detail) {
  const position = (ns) => `${(100 * (ns - start)) / (end - start)}%`;
  const width = `${(100 * ((run.end_ns ?? end) - run.start_ns)) / (end - start)}%`;
  return element("div", {
    className: "row", role: "treeitem", tabindex: -1, "aria-level": depth, "aria-selected": "false",
    dataset: { run: run.id }, style: { "--depth": depth - 1 },
    onclick: (event) => { select(event.currentTarget, detail); event.currentTarget.focus(); },
    onfocus: (event) => select(event.currentTarget, detail),
  },
  element("span", { className: "label" },
    element("span", { className: `dot ${run.run_type}`, title: run.run_type }),
    element("b", { className: run.status === "error" ? "error" : "", title: run.name }, run.name || "(no name)")),
  element("span", { className: "number soft" }, seconds(run.duration_s)),
  element("span", { className: "lane", "aria-hidden": "true" },
    element("i", { className: run.run_type, style: { "--from": position(run.start_ns), "--span": width } })));
}

// The keys of the ARIA tree pattern: https://www.w3.org/WAI/ARIA/apg/patterns/treeview/
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity };

function moveInTree(event) {
  const step = STEPS[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const rows = [...event.currentTarget.children];
  const index = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, index + step))].focus();
}

async function select(row, detail) {
  // A click fires both onfocus and onclick.
  const alreadyShown = selected === row.dataset.run && detail.dataset.run === selected;
  if (alreadyShown) return;
  selected = row.dataset.run;
  detail.dataset.run = selected;
  const previous = row.parentElement.querySelector('[aria-selected="true"]');
  previous?.setAttribute("aria-selected", "false");
  previous?.setAttribute("tabindex", "-1");
  row.setAttribute("aria-selected", "true");
  row.setAttribute("tabindex", "0");
  history.replaceState(null, "", `#${selected}`);
  const run = await load(`/api/runs/${selected}`);
  // Another run may have been selected while this one was loading.
  if (run.id === selected) showRun(run, detail);
}

function showRun(run, detail) {
  const block = (title, value) => value === null || value === undefined || Object.keys(value).length === 0
    ? null
    : element("div", {}, element("h2", {}, title),
      element("pre", { tabindex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  fill(detail,
    element("h2", {}, run.name || "(no name)"),
    facts([["type", run.run_type], ["status", statusLabel(run)], ["start", localTime(run.start_ns)],
      ["duration", seconds(run.duration_s)], ["delivered by", run.delivered_by === "otlp" ? "OTLP" : "runs API"]]),
    block("Error", run.error), block("Inputs", run.inputs), block("Outputs", run.outputs),
    block("Usage", run.usage), block("Metadata", run.metadata), block("Tags", run.tags), block("Attachments", run.attachments),
    Object.keys(run.attributes).length ? element("details", {}, element("summary", {}, "Attributes as received"),
      element("pre", { tabindex: 0 }, JSON.stringify(run.attributes, null, 2))) : null,
    element("p", { className: "soft mono" }, run.id));
}

// --- routing and polling ------------------------------------------------------------------------

async function refresh() {
  const match = location.pathname.match(/^\/conversations\/([^/]+)$/);
  let keepPolling = true;
  try {
    if (match) keepPolling = await showConversation(match[1]);
    else await showList();
  } catch (error) {
    statusLine.textContent = `Cannot load: ${error.message}`;
  }
  if (keepPolling) setTimeout(refresh, POLL_MS);
}

refresh();
