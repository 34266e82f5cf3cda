/** The page's script: asks for the data, fills the sections, hears the keys. */
export const PAGE_SCRIPT = `
const EVERY_MS = 5000, OLD_MS = 3 * EVERY_MS;
let latest = null, latestAt = 0, cursor = null, paused = false, timer = null;
const find = (selector) => document.querySelector(selector);
const show = (id, ...nodes) => find("#" + id + " .body").replaceChildren(...nodes);
const widthOf = (id) => Math.max(300, Math.min(1100, find("#" + id + " .body").clientWidth || 640));
const table = (heads, rows) => {
  const right = heads.map((head) => head.startsWith(">"));
  const cell = (tag) => (value, at) => make(tag, {
    ...(right[at] && { class: "number" }), ...(tag === "th" && { scope: "col" }),
  }, value);
  const names = heads.map((head) => head.replace(">", ""));
  return make("table", {}, make("thead", {}, make("tr", {}, ...names.map(cell("th")))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell("td"))))));
};
const pill = (text, kind) => make("span", { class: "pill " + kind }, text);

function figures(data) {
  const { counts } = data.cache, all = total(counts);
  const { packs } = data.cache;
  const list = [
    ["Hit rate", all === 0 ? "–" : percent(hitShare(counts)), "since the start"],
    ["Texts answered", short(all), number(counts.model) + " computed"],
    ["Vectors kept", short(data.cache.entries), bytes(data.cache.vector_bytes)],
    ["Packs in memory", packs.bytes === 0 ? "–" : percent(packs.resident_bytes / packs.bytes),
      packs.bytes === 0 ? "nothing packed yet" : "of " + bytes(packs.bytes)],
    ["Saved by sharing", short(data.cache.shared), "computed once for several"],
    ["Requests now", number(data.requests.active), number(data.requests.queued) + " waiting"],
    ["Memory", bytes(data.memory_bytes), "of this service"],
    ["Chain height", number(data.chain.size), data.chain.problem ? "unreadable" : "blocks"],
  ];
  find("#figures").replaceChildren(...list.map(([name, value, note]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, note)))));
}

const seen = () => latest === null ? [] : latest.history.slice(
  Math.max(0, latest.history.findIndex((sample) => total(sample) > 0)));

function hits() {
  const samples = seen();
  if (!samples.some((sample) => total(sample) > 0)) {
    find("#readout").textContent = "";
    return show("hits", empty("Nothing was asked for yet. A first request:",
      'curl --unix-socket ' + latest.socket + ' http://localhost/v1/embeddings -d \\'{"input": "hello"}\\''));
  }
  if (cursor !== null) cursor = Math.min(cursor, samples.length - 1);
  show("hits", hitChart(samples, cursor, widthOf("hits")),
    key([{ label: "hit rate", colour: "ink" }, ...LAYERS]));
}

function readOut() {
  const samples = seen(), sample = cursor === null ? null : samples[cursor];
  const all = sample ? total(sample) : 0;
  find("#readout").textContent = !sample ? ""
    : time(sample.time) + " UTC: " + (all === 0 ? "no texts" : percent(hitShare(sample)) +
      " hits of " + number(all) + " texts (" + LAYERS.filter(({ name }) => sample[name] > 0)
        .map(({ name, label }) => number(sample[name]) + " " + label).join(", ") + ")");
}

function moveCursor(event) {
  const last = seen().length - 1;
  if (last < 0) return;
  const at = cursor ?? last + 1;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: null }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  cursor = to === null ? null : Math.max(0, Math.min(last, to));
  hits();
  readOut();
}

function latency(data) {
  const rows = LAYERS.flatMap(({ name, label, colour }) => {
    const found = data.latency.find((one) => one.layer === name);
    return found ? [{ ...found, label, colour }] : [];
  });
  if (rows.length === 0) return show("latency", empty("No lookups yet."));
  show("latency", latencyChart(rows, widthOf("latency")),
    make("p", { class: "note" }, "Full dot: half of the lookups. Ring: 99 of 100. By the slowest layer that a request needed."));
}

function chain(data) {
  if (data.chain.problem) return show("chain", make("p", { class: "bad" }, data.chain.problem));
  if (data.chain.blocks.length === 0) return show("chain", empty("The chain begins with the first change."));
  show("chain", make("ol", { class: "blocks", reversed: "" }, ...data.chain.blocks.map((block) =>
    make("li", { value: block.number },
      make("span", { class: "height" }, "#" + block.number),
      make("span", { class: "what" }, make("strong", {}, block.category + " " + block.action), " ", block.what),
      make("span", { class: "note" }, "by " + block.who + ", " + time(Date.parse(block.time)) + " UTC"),
      make("code", { title: block.hash }, block.hash.slice(0, 16))))));
}

function jobs(data) {
  show("jobs", data.leader ? "" : make("p", { class: "note" },
    "Another service on this root runs the schedule."),
    table(["Job", ">Every", ">Last run", ">Next", "State"], data.jobs.map((job) => {
      const off = job.everyMs <= 0;
      const next = job.lastMs === null ? 0 : job.lastMs + job.everyMs - data.now;
      return [job.name, off ? "–" : ago(job.everyMs), job.lastMs === null ? "–" : ago(data.now - job.lastMs) + " ago",
        off ? "–" : next <= 0 ? "now" : "in " + ago(next),
        off ? pill("off", "dim") : job.error ? make("span", { class: "bad" }, job.error) : pill("ok", "good")];
    })));
}

function draw() {
  const data = latest;
  figures(data);
  hits();
  latency(data);
  const known = data.snapshots.filter((one) => one.time !== null);
  show("snapshots", known.length > 0 ? timeline(known, data.now, widthOf("snapshots"))
    : data.snapshots_possible ? empty("No snapshots yet. A first one:", "op-dbus snapshot create")
    : empty("Snapshots need a root on btrfs. A way there:", "op-dbus init --loopback 2G"));
  show("numa", ...data.numa.length === 0 ? [empty("This kernel tells of no NUMA nodes.")]
    : [...data.numa.map(nodeBar), key(NODE_PARTS)]);
  show("plugins", data.plugins.length === 0
    ? empty("No plugins are installed. One from a file:", "op-dbus plugin install FILE")
    : table(["Name", "Version", "State"], data.plugins.map((plugin) => [plugin.name, plugin.version ?? "–",
      plugin.problem ? make("span", { class: "bad" }, plugin.problem) : pill("ok", "good")])));
  chain(data);
  jobs(data);
}

function state(kind, text) {
  const status = find("#status");
  status.className = kind;
  status.textContent = text;
  document.body.classList.toggle("stale", kind === "bad");
}

async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch("/overview.json", { signal: AbortSignal.timeout(EVERY_MS) });
    if (!response.ok) throw new Error("status " + response.status);
    latest = await response.json();
    latestAt = Date.now();
    draw();
    state(paused ? "dim" : "good", (paused ? "Paused, as of " : "Serving, as of ") + time(latest.now).slice(11) + " UTC");
    find("#about").textContent = "version " + latest.version + " · " + latest.root + " · up " +
      ago(latest.now - latest.started) + " · model " + latest.default_model;
  } catch (error) {
    const since = latestAt === 0 ? "" : "; what is shown is " + ago(Date.now() - latestAt) + " old";
    const why = error.name === "TimeoutError" ? "no answer in time"
      : error instanceof TypeError ? "no connection" : error.message;
    state("bad", "The service does not answer (" + why + ")" + since);
  }
  if (!paused) timer = setTimeout(refresh, EVERY_MS);
}

function pause() {
  paused = !paused;
  find("#pause").setAttribute("aria-pressed", String(paused));
  void refresh();
}

find("#hits .body").addEventListener("keydown", moveCursor);
find("#pause").addEventListener("click", pause);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "p") return pause();
  const link = document.querySelectorAll("nav a")[Number(event.key) - 1];
  if (!link) return;
  link.click();
  find(link.getAttribute("href") + " .body").focus({ preventScroll: true });
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width || latest === null) return;
  width = innerWidth;
  draw();
});
void refresh();
`;
