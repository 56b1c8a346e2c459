// The sandbox's page: the list of conversations, or one of them as a tree with its recording.
// Everything shown was recorded from calls, so it only ever becomes text, never markup.

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

function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null));
  return node;
}

async function load(address, options) {
  const response = await fetch(address, options);
  if (!response.ok) throw new Error(`${response.status} for ${address}`);
  return response.json();
}

const seconds = (value) => {
  if (value === null || value === undefined) return "…";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(2)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
};
const clock = (ns) => (ns === null ? "unknown" : new Date(ns / 1e6).toLocaleString());
const statusOf = (item) => element("span", { className: item.status }, item.status);

// --- the list -----------------------------------------------------------------------------------

const COLUMNS = [
  ["Conversation", "", (c) => element("a", { href: `/conversations/${c.id}` }, c.name || "(no name)")],
  ["Status", "", statusOf],
  ["Start", "", (c) => clock(c.start_ns)],
  ["Duration", "number", (c) => seconds(c.duration_s)],
  ["Turns", "number", (c) => String(c.turns ?? "–")],
  ["Runs", "number", (c) => String(c.runs)],
  ["Tokens", "number", (c) => c.tokens.toLocaleString()],
  ["Audio", "", (c) => (c.has_recording ? "recorded" : "–")],
  ["Contract", "", (c) => (c.violations ? element("span", { className: "badge" }, `${c.violations} broken`) : "kept")],
  ["Project", "", (c) => c.project],
  ["Thread", "mono", (c) => c.thread_id ?? "–"],
];

async function showList() {
  const [{ conversations }, { violations }] = await Promise.all([
    load("/api/conversations"),
    load("/api/violations"),
  ]);
  const shown = new Set(conversations.map((c) => c.id));
  const stray = violations.filter((v) => !shown.has(v.conversation_id));
  const state = JSON.stringify([conversations, stray.length]);
  statusLine.textContent = `${conversations.length} conversations`;
  if (main.dataset.state === state) return;
  main.dataset.state = state;
  const focused = document.activeElement?.getAttribute("href");
  fill(main,
    element("div", { className: "bar" },
      element("h1", {}, "Conversations"),
      element("button", { type: "button", onclick: clearAll, hidden: !conversations.length && !stray.length }, "Delete all")),
    stray.length ? violationCard(stray, "Broken rules outside these conversations") : null,
    conversations.length ? listTable(conversations) : element("div", { className: "card empty" },
      `Nothing yet. Set LANGSMITH_ENDPOINT=${location.origin} in an app and make a call.`),
  );
  if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

function listTable(conversations) {
  const head = COLUMNS.map(([title, kind]) => element("th", { className: kind, scope: "col" }, title));
  const rows = conversations.map((item) =>
    element("tr", {}, ...COLUMNS.map(([, kind, show]) => element("td", { className: kind }, show(item)))));
  return element("div", { className: "card scroll" },
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}

async function clearAll() {
  if (!confirm("Delete all conversations and recordings of this sandbox?")) return;
  await load("/api/conversations", { method: "DELETE" });
  await showList();
}

function violationCard(violations, title) {
  const items = violations.map((v) =>
    element("li", { title: v.rule }, element("b", {}, v.kind), ` ${v.message} `,
      v.run_id ? element("span", { className: "soft mono" }, v.run_id) : null));
  return element("section", { className: "card violations" }, element("h2", {}, title), element("ul", {}, ...items));
}

// --- one conversation ---------------------------------------------------------------------------

let selected = null;

async function showConversation(id) {
  const found = await load(`/api/conversations/${id}?payloads=false`);
  document.title = `${found.name} · ${found.thread_id ?? found.id}`;
  const version = JSON.stringify([found.runs.length, found.status, found.has_recording, found.violations.length]);
  statusLine.textContent = found.status === "pending" ? "live" : "";
  if (main.dataset.state !== version) {
    main.dataset.state = version;
    render(found);
  }
  return found.status === "pending";
}

function render(found) {
  selected ??= location.hash.slice(1) || found.id;
  if (!found.runs.some((run) => run.id === selected)) selected = found.id;
  const focused = document.activeElement?.classList.contains("row");
  const player = element("audio", {
    controls: "", preload: "metadata", src: `/api/conversations/${found.id}/recording`,
    "aria-label": "Recording: user on the left, agent on the right" });
  const detail = element("section", { className: "card detail", "aria-live": "polite" });
  const tree = element("div", { className: "card tree", role: "tree", "aria-label": "Runs", onkeydown: moveInTree });
  tree.append(...treeRows(found, detail));
  fill(main,
    element("h1", {}, found.name || "(no name)"),
    facts([
      ["status", statusOf(found)], ["start", clock(found.start_ns)], ["duration", seconds(found.duration_s)],
      ["turns", String(found.turns ?? "–")], ["tokens", found.tokens.toLocaleString()], ["runs", String(found.runs.length)],
      ["project", found.project], ["thread", found.thread_id ?? "none"],
    ]),
    found.has_recording
      ? element("section", { className: "card", "aria-label": "Recording" }, player)
      : element("p", { className: "soft" }, `No recording (${found.root.metadata.ls_audio_attach_status ?? "none attached"}).`),
    found.violations.length ? violationCard(found.violations, "The contract was broken") : null,
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

function treeRows(found, detail) {
  const children = groupByParent(found.runs);
  const start = found.start_ns;
  const end = found.runs.reduce((latest, run) => Math.max(latest, run.end_ns ?? run.start_ns), start + 1);
  const rows = [];
  const stack = [[found.root, 1]];
  while (stack.length) {
    const [run, depth] = stack.pop();
    rows.push(treeRow(run, depth, start, end, detail));
    const below = (children.get(run.id) ?? []).filter((child) => child.id !== run.id);
    for (const child of below.reverse()) stack.push([child, depth + 1]);
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
  const share = (ns) => `${(100 * (ns - start)) / (end - start)}%`;
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
    element("i", { className: run.run_type, style: { "--from": share(run.start_ns), "--span": width } })));
}

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
  const again = selected === row.dataset.run && detail.dataset.run === selected;
  if (again) return;
  selected = row.dataset.run;
  detail.dataset.run = selected;
  const before = row.parentElement.querySelector('[aria-selected="true"]');
  before?.setAttribute("aria-selected", "false");
  before?.setAttribute("tabindex", "-1");
  row.setAttribute("aria-selected", "true");
  row.setAttribute("tabindex", "0");
  history.replaceState(null, "", `#${selected}`);
  const run = await load(`/api/runs/${selected}`);
  if (run.id === selected) showRun(run, detail);
}

function showRun(run, detail) {
  const block = (title, value) => value === null || value === undefined || Object.keys(value).length === 0
    ? null
    : element("div", {}, element("h2", {}, title),
      element("pre", { tabindex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2)));
  fill(detail,
    element("h2", {}, run.name || "(no name)"),
    facts([["type", run.run_type], ["status", statusOf(run)], ["start", clock(run.start_ns)],
      ["duration", seconds(run.duration_s)], ["delivered by", run.delivered_by === "otlp" ? "OTLP" : "runs API"]]),
    block("Error", run.error), block("Inputs", run.inputs), block("Outputs", run.outputs),
    block("Usage", run.usage), block("Metadata", run.metadata), block("Tags", run.tags), block("Attachments", run.attachments),
    Object.keys(run.attributes).length ? element("details", {}, element("summary", {}, "Attributes as received"),
      element("pre", { tabindex: 0 }, JSON.stringify(run.attributes, null, 2))) : null,
    element("p", { className: "soft mono" }, run.id));
}

// --- which of the two -----------------------------------------------------------------------------

async function refresh() {
  const match = location.pathname.match(/^\/conversations\/([^/]+)$/);
  let again = true;
  try {
    if (match) again = await showConversation(match[1]);
    else await showList();
  } catch (error) {
    statusLine.textContent = `Not reachable: ${error.message}`;
  }
  if (again) setTimeout(refresh, POLL_MS);
}

refresh();
