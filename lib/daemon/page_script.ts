/**
 * The page's script. Everything that comes from outside (texts, names) is put in as text,
 * never as markup.
 */
export const PAGE_SCRIPT = `"use strict";
const EVERY_MS = 5000;
const make = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "path", "line", "text", "circle", "rect", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const number = (value) => new Intl.NumberFormat("en").format(value);
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at++; }
  return (at === 0 ? value : value.toFixed(1)) + " " + units[at];
};
const time = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);
const span = (seconds) => seconds === null ? "–" : seconds < 0.001
  ? "≤ " + Math.round(seconds * 1e6) + " µs" : "≤ " + +(seconds * 1000).toFixed(2) + " ms";
const empty = (text) => make("p", { class: "empty" }, text);
const table = (heads, rows) => {
  const right = heads.map((head) => head.startsWith(">"));
  const cell = (tag) => (value, at) => make(tag, {
    ...(right[at] && { class: "number" }), ...(tag === "th" && { scope: "col" }),
  }, value);
  const names = heads.map((head) => head.replace(">", ""));
  return make("table", {}, make("thead", {}, make("tr", {}, ...names.map(cell("th")))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell("td"))))));
};
const show = (id, ...nodes) =>
  document.querySelector("#" + id + " .body").replaceChildren(...nodes);

function hits(data) {
  const samples = data.history.filter((s) => s.memory + s.disk + s.model > 0);
  if (samples.length < 2) return show("hits", empty("The line appears after some seconds of use."));
  const W = 960, H = 200, L = 40, B = 24;
  const t0 = samples[0].time, t1 = samples[samples.length - 1].time;
  const x = (t) => L + (W - L) * (t - t0) / Math.max(1, t1 - t0);
  const y = (share) => 8 + (H - B - 8) * (1 - share);
  const line = (pick, colour, width) => make("path", {
    d: samples.map((s, i) => (i ? "L" : "M") + x(s.time).toFixed(1) + " " +
      y(pick(s) / (s.memory + s.disk + s.model)).toFixed(1)).join(""),
    fill: "none", stroke: "var(--" + colour + ")", "stroke-width": width,
  });
  const grid = [0, 0.5, 1].flatMap((share) => [
    make("line", { x1: L, x2: W, y1: y(share), y2: y(share), stroke: "var(--line)" }),
    make("text", { x: 0, y: y(share) + 4 }, share * 100 + " %"),
  ]);
  const label = "Share of texts found without computing, from " + time(t0) + " to " + time(t1);
  const svg = make("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": label },
    ...grid, line((s) => s.memory + s.disk, "a", 5), line((s) => s.memory, "b", 2),
    make("text", { x: L, y: H - 6 }, time(t0) + " UTC"),
    make("text", { x: W, y: H - 6, "text-anchor": "end" }, time(t1) + " UTC"));
  const key = make("div", { class: "key" },
    make("span", { style: "--of: var(--a)" }, "all hits"),
    make("span", { style: "--of: var(--b)" }, "hits in memory"));
  show("hits", svg, key);
}

function timeline(data) {
  const known = data.snapshots.filter((one) => one.time !== null);
  if (known.length === 0) return show("snapshots", empty("No snapshots yet."));
  const targets = [...new Set(known.map((one) => one.target))];
  const W = 960, L = 90, ROW = 28, H = targets.length * ROW + 26;
  const t0 = Math.min(...known.map((one) => one.time)), t1 = data.now;
  const x = (t) => L + 8 + (W - L - 16) * (t - t0) / Math.max(1, t1 - t0);
  const rows = targets.flatMap((target, at) => {
    const y = at * ROW + 14;
    return [make("text", { x: 0, y: y + 4 }, target),
      make("line", { x1: L, x2: W, y1: y, y2: y, stroke: "var(--line)" }),
      ...known.filter((one) => one.target === target).map((one) =>
        make("circle", { cx: x(one.time).toFixed(1), cy: y, r: 5, fill: "var(--a)" },
          make("title", {}, one.name)))];
  });
  const label = known.length + " snapshots of " + targets.join(", ");
  show("snapshots", make("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": label },
    ...rows, make("text", { x: L, y: H - 4 }, time(t0) + " UTC"),
    make("text", { x: W, y: H - 4, "text-anchor": "end" }, "now")));
}

function figures(data) {
  const { memory, disk, model } = data.cache.counts;
  const all = memory + disk + model;
  const list = [
    ["Hit rate", all === 0 ? "–" : (100 * (memory + disk) / all).toFixed(1) + " %"],
    ["Texts answered", number(all)],
    ["Computed", number(model)],
    ["Vectors kept", number(data.cache.entries)],
    ["On disk", bytes(data.cache.vector_bytes)],
    ["Saved by sharing", number(data.cache.shared)],
    ["Active requests", number(data.requests.active)],
    ["Chain height", number(data.chain.size)],
  ];
  document.querySelector("#figures").replaceChildren(...list.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function draw(data) {
  figures(data);
  hits(data);
  timeline(data);
  const names = { memory: "memory", disk: "disk", model: "model (computed)" };
  show("latency", data.latency.length === 0 ? empty("Nothing was looked up yet.")
    : table(["Layer", ">Half of them", ">99 of 100"],
      data.latency.map((one) => [names[one.layer] ?? one.layer, span(one.p50), span(one.p99)])));
  show("numa", data.numa.length === 0 ? empty("The kernel tells of no nodes.")
    : table(["Node", "CPUs", ">Memory", ">Free", ">Page cache", ">Own pages"],
      data.numa.map((n) => [String(n.node), n.cpus, bytes(n.total_bytes), bytes(n.free_bytes),
        bytes(n.file_bytes), number(n.own_pages)])));
  show("plugins", data.plugins.length === 0 ? empty("No plugins are installed.")
    : table(["Name", "Version", "Note"], data.plugins.map((plugin) =>
      [plugin.name, plugin.version ?? "–", plugin.problem ?? ""])));
  show("chain", data.chain.problem ? make("p", { class: "bad" }, data.chain.problem)
    : data.chain.blocks.length === 0 ? empty("The chain begins with the first change.")
    : table([">Block", "Time (UTC)", "Category", "Action", "What", "Who", "Hash"],
      data.chain.blocks.map((block) => [String(block.number), time(Date.parse(block.time)),
        block.category, block.action, block.what, block.who,
        make("code", {}, block.hash.slice(0, 12))])));
  show("jobs", table(["Job", ">Every", "Last run (UTC)", "Problem"], data.jobs.map((job) =>
    [job.name, job.everyMs > 0 ? Math.round(job.everyMs / 1000) + " s" : "off",
      job.lastMs === null ? "–" : time(job.lastMs), job.error ?? ""])));
}

async function refresh() {
  const status = document.querySelector("#status");
  try {
    const response = await fetch("/overview.json");
    if (!response.ok) throw new Error("status " + response.status);
    const data = await response.json();
    draw(data);
    status.className = "";
    status.textContent = "version " + data.version + ", " + data.root + ", as of " +
      time(data.now) + " UTC";
  } catch (error) {
    status.className = "bad";
    status.textContent = "The service does not answer (" + error.message + ")";
  }
  setTimeout(refresh, EVERY_MS);
}
refresh();
`;
