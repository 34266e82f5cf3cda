/**
 * The page's drawings. Everything that comes from outside (texts, names) is put in as text,
 * never as markup.
 */
export const PAGE_CHARTS = `"use strict";
const SVG = new Set(["svg", "g", "path", "line", "text", "circle", "rect", "title"]);
const make = (tag, attributes = {}, ...children) => {
  const node = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const number = (value) => new Intl.NumberFormat("en").format(value);
const scaled = (value, step, units) => {
  let at = 0;
  while (value >= step && at < units.length - 1) { value /= step; at++; }
  return (at === 0 ? value : value.toFixed(1)) + units[at];
};
const bytes = (value) => scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
const short = (value) => scaled(value, 1000, ["", " k", " M", " G"]);
const percent = (share) => (100 * share).toFixed(1) + " %";
const time = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19);
const clock = (ms, spanMs) => {
  const text = new Date(ms).toISOString();
  return spanMs > 2 * 86400e3 ? text.slice(5, 10) : text.slice(11, spanMs > 600e3 ? 16 : 19);
};
const ago = (ms) => {
  const units = [[86400e3, " d"], [3600e3, " h"], [60e3, " min"], [1e3, " s"]];
  const [size, unit] = units.find(([size]) => ms >= size) ?? units[3];
  return Math.max(0, Math.round(ms / size)) + unit;
};
const duration = (seconds) => seconds < 0.001 ? +(seconds * 1e6).toPrecision(3) + " µs"
  : seconds < 1 ? +(seconds * 1000).toPrecision(3) + " ms" : +seconds.toPrecision(3) + " s";

const LAYERS = [
  { name: "memory", label: "memory", colour: "a" },
  { name: "disk", label: "disk", colour: "b" },
  { name: "shared", label: "second tier", colour: "c" },
  { name: "model", label: "computed", colour: "d" },
];
const total = (counts) => LAYERS.reduce((sum, { name }) => sum + (counts[name] ?? 0), 0);
const hitShare = (counts) => 1 - (counts.model ?? 0) / total(counts);
const key = (list) => make("p", { class: "key" }, ...list.map(({ label, colour }) =>
  make("span", { style: "--of: var(--" + colour + ")" }, label)));
const empty = (...lines) => make("div", { class: "empty" },
  ...lines.map((line, at) => make(at === 0 ? "p" : "code", {}, line)));

/** Where the axis gets its marks: at round times, so many that they do not touch. */
function ticks(t0, t1, most) {
  const steps = [10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400,
    7 * 86400, 30 * 86400, 90 * 86400, 365 * 86400];
  const step = 1000 * (steps.find((s) => (t1 - t0) / (s * 1000) <= most) ?? 365 * 86400);
  const marks = [];
  for (let t = Math.ceil(t0 / step) * step; t <= t1; t += step) marks.push(t);
  return marks;
}
const timeAxis = (t0, t1, x, y0, y1) => ticks(t0, t1, (x(t1) - x(t0)) / 90).flatMap((t) => [
  make("line", { x1: x(t), x2: x(t), y1: y0, y2: y1, class: "grid" }),
  make("text", { ...(x(t) > x(t1) - 36 ? { x: x(t1) + 8, "text-anchor": "end" }
    : { x: x(t), "text-anchor": "middle" }), y: y1 + 16 }, clock(t, t1 - t0)),
]);

/** Hit rate as a line over the volume by layer; the cursor is moved by arrow keys. */
function hitChart(samples, cursor, width) {
  const W = width, L = 46, R = 12, TOP = 10, MID = 150, BASE = 226;
  const t0 = samples[0].time, t1 = Math.max(samples[samples.length - 1].time, t0 + 1000);
  const x = (t) => +(L + 10 + (W - L - R - 20) * (t - t0) / (t1 - t0)).toFixed(1);
  const y = (share) => +(MID - (MID - TOP) * share).toFixed(1);
  const most = Math.max(1, ...samples.map(total));
  const bar = Math.max(1, Math.min(14, (W - L - R - 20) / samples.length - 1));
  const grid = [0, 0.5, 1].flatMap((share) => [
    make("line", { x1: L, x2: W - R, y1: y(share), y2: y(share), class: "grid" }),
    make("text", { x: L - 6, y: y(share) + 4, "text-anchor": "end" }, share * 100 + " %"),
  ]);
  let path = "", pen = false;
  const dots = [], bars = [];
  for (const sample of samples) {
    const all = total(sample);
    if (all === 0) { pen = false; continue; }
    const at = x(sample.time) + " " + y(hitShare(sample));
    path += (pen ? "L" : "M") + at;
    pen = true;
    if (samples.length <= 60) {
      dots.push(make("circle", { cx: x(sample.time), cy: y(hitShare(sample)), r: 3, class: "rate-dot" }));
    }
    let from = BASE;
    for (const { name, colour } of LAYERS) {
      const height = (sample[name] ?? 0) / most * (BASE - MID - 22);
      if (height === 0) continue;
      from -= height;
      bars.push(make("rect", { x: x(sample.time) - bar / 2, y: from.toFixed(1), width: bar,
        height: Math.max(0.5, height).toFixed(1), fill: "var(--" + colour + ")" }));
    }
  }
  const mark = cursor === null ? [] : [make("line", { x1: x(samples[cursor].time),
    x2: x(samples[cursor].time), y1: TOP, y2: BASE, class: "cursor" })];
  const label = "Hit rate from " + time(t0) + " to " + time(t1) +
    " UTC. Left and right arrow keys read single samples.";
  return make("svg", { viewBox: "0 0 " + W + " 250", role: "img", "aria-label": label },
    ...grid, ...timeAxis(t0, t1, x, TOP, BASE), ...bars,
    make("line", { x1: L, x2: W - R, y1: BASE, y2: BASE, class: "axis" }),
    make("text", { x: L - 6, y: MID + 28, "text-anchor": "end" }, short(most)),
    make("text", { x: L - 6, y: BASE + 4, "text-anchor": "end" }, "0"),
    make("path", { d: path, class: "rate" }), ...dots, ...mark);
}

/** Half and 99 of 100 lookups of each layer, on a logarithmic scale. */
function latencyChart(rows, width) {
  const W = width, L = 84, R = 16, ROW = 44, LOW = -4, HIGH = 1;
  const x = (seconds) => L + (W - L - R) * (Math.log10(Math.min(10, Math.max(1e-4, seconds))) - LOW) / (HIGH - LOW);
  const H = rows.length * ROW + 12;
  const grid = (W < 420 ? [-4, -2, 0] : [-4, -3, -2, -1, 0, 1]).flatMap((power) => [
    make("line", { x1: x(10 ** power), x2: x(10 ** power), y1: 4, y2: H, class: "grid" }),
    make("text", { x: x(10 ** power), y: H + 16, "text-anchor": "middle" }, duration(10 ** power)),
  ]);
  const lines = rows.flatMap(({ label, colour, p50, p99, count }, at) => {
    const y = at * ROW + 30;
    const known = (seconds) => seconds === null ? "over 10 s" : "≤ " + duration(seconds);
    const a = x(p50 ?? 10), b = x(p99 ?? 10);
    return [make("text", { x: 0, y: y + 4, class: "strong" }, label),
      make("text", { x: L, y: y - 12 }, "half " + known(p50) + ", 99 % " + known(p99) +
        (W < 420 ? "" : ", " + number(count) + " lookups")),
      make("line", { x1: a, x2: b, y1: y, y2: y, stroke: "var(--" + colour + ")", class: "range" }),
      make("circle", { cx: a, cy: y, r: 6, fill: "var(--" + colour + ")" }),
      make("circle", { cx: b, cy: y, r: 6, fill: "var(--card)", stroke: "var(--" + colour + ")", "stroke-width": 3 })];
  });
  const label = rows.map(({ label, p50, p99 }) => label + ": half within " +
    (p50 === null ? "over 10 s" : duration(p50)) + ", 99 percent within " +
    (p99 === null ? "over 10 s" : duration(p99))).join("; ");
  return make("svg", { viewBox: "0 0 " + W + " " + (H + 22), role: "img", "aria-label": label },
    ...grid, ...lines);
}

/** What each node's memory holds. */
const NODE_PARTS = [
  { name: "vector_bytes", label: "vectors on disk, in memory here", colour: "a" },
  { name: "own_bytes", label: "this service's other pages", colour: "d" },
  { name: "cache_bytes", label: "other page cache", colour: "b" },
  { name: "used_bytes", label: "other use", colour: "e" },
  { name: "free_bytes", label: "free", colour: "free" },
];
function nodeBar(node) {
  const cached = Math.max(0, node.file_bytes - node.vector_bytes);
  const used = Math.max(0, node.total_bytes - node.free_bytes - node.vector_bytes -
    node.own_bytes - cached);
  const parts = { ...node, cache_bytes: cached, used_bytes: used };
  const text = NODE_PARTS.map(({ name, label }) => label + " " + bytes(parts[name])).join(", ");
  const bar = make("div", { class: "bar", role: "img", "aria-label": text, title: text },
    ...NODE_PARTS.map(({ name, colour }) => make("span", { style: "--of: var(--" + colour +
      "); flex-grow: " + Math.max(parts[name] > 0 ? node.total_bytes / 400 : 0, parts[name]) })));
  const facts = [["Vectors", bytes(node.vector_bytes)], ["Own pages", number(node.own_pages)],
    ["Page cache", bytes(node.file_bytes)], ["Free", bytes(node.free_bytes)], ["All", bytes(node.total_bytes)]];
  return make("div", { class: "node" },
    make("h3", {}, "Node " + node.node, make("small", {}, node.cpus ? " CPUs " + node.cpus : " no CPUs")),
    bar, make("dl", { class: "facts" }, ...facts.map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
}

/** One row of dots per target. */
function timeline(known, now, width) {
  const targets = [...new Set(known.map((one) => one.target))];
  const W = width, L = 96, R = 20, ROW = 32, H = targets.length * ROW + 6;
  const t0 = Math.min(...known.map((one) => one.time)), t1 = Math.max(now, t0 + 60e3);
  const x = (t) => +(L + 8 + (W - L - R) * (t - t0) / (t1 - t0)).toFixed(1);
  const rows = targets.flatMap((target, at) => {
    const y = at * ROW + 20, own = known.filter((one) => one.target === target);
    const name = target.length > 12 ? target.slice(0, 11) + "…" : target;
    return [make("text", { x: 0, y: y + 4, class: "strong" }, name, make("title", {}, target)),
      make("line", { x1: L, x2: W - R + 8, y1: y, y2: y, class: "axis" }),
      ...own.map((one) => make("circle", { cx: x(one.time), cy: y, r: 6, class: "snapshot" },
        make("title", {}, one.name + ", " + time(one.time) + " UTC")))];
  });
  const label = known.length + " snapshots of " + targets.join(", ") + ", from " + time(t0) + " UTC";
  return make("svg", { viewBox: "0 0 " + W + " " + (H + 20), role: "img", "aria-label": label },
    ...timeAxis(t0, t1, x, 4, H), ...rows);
}
`;
