/** The service: cached requests beside Redis, load beyond capacity, time to readiness. */
import { type Bench, type BenchContext, median, type Row, row } from "../bench_kit.ts";

const SECONDS = 4;
/** Of {@link SECONDS} each. */
const OVERLOAD_ROUNDS = 6;
const THREADS = Math.min(navigator.hardwareConcurrency, 4);
const CONNECTIONS = [1, 16, 64];
const REPO = new URL("../../", import.meta.url).pathname;
const ENV = { OPDBUS_CONFIG: "/dev/null" };
const deno = ["run", "--quiet", "-A", "--config", `${REPO}deno.json`];

interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly statuses: Readonly<Record<string, number>>;
}

/** Requests a second, all day long on average. */
const DAY_PER_SECOND = 10;
const DAY = { requests: DAY_PER_SECOND * 86_400, connections: 16, distinct: 20_000 };
const MANY = 1_000_000;
const TRANSFORMERS = "transformers.js behind the same HTTP shape";

// deno-lint-ignore no-explicit-any
async function child(name: string, ...args: (string | number)[]): Promise<any> {
  const path = new URL(`./children/${name}`, import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: [...deno, path, ...args.map(String)],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const text = new TextDecoder().decode(stdout);
  return text === "" ? null : JSON.parse(text);
}

const load = (name: string, ...args: (string | number)[]): Promise<Load> =>
  child(name, ...args);

/** A fresh root on a plain folder. */
async function makeRoot(root: string): Promise<void> {
  const args = [...deno, `${REPO}main.ts`, "--root", root, "init", "--plain"];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    env: ENV,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** The service as a process; `readyMs` is from its start to its word. */
async function startServe(scratch: string, ...set: string[]) {
  const root = `${scratch}/root`, socket = `${scratch}/serve.sock`;
  const main = [...deno, `${REPO}main.ts`, "--root", root];
  if (!await Deno.stat(root).then(() => true, () => false)) await makeRoot(root);
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...main, "serve", "--socket", socket, ...set.flatMap((one) => ["--set", one])],
    env: ENV,
    stderr: "piped",
    stdout: "null",
  }).spawn();
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let said = ""; !said.includes("ready");) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`serve ended: ${said}`);
    said += value;
  }
  const readyMs = performance.now() - start;
  return {
    socket,
    readyMs,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await reader.cancel();
      await child.status;
    },
  };
}

async function startRedis(scratch: string) {
  const socket = `${scratch}/redis.sock`;
  const child = new Deno.Command("redis-server", {
    args: ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", scratch],
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (;;) {
    try {
      (await Deno.connect({ transport: "unix", path: socket })).close();
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10)); // not there yet
    }
  }
  return {
    socket,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

async function cachedRows({ scratch, note }: BenchContext): Promise<Row[]> {
  await using serve = await startServe(scratch);
  await using redis = await startRedis(scratch);
  await load("http_load.ts", serve.socket, 4, 2, 64); // fills the cache
  const rows: Row[] = [];
  for (const count of CONNECTIONS) {
    const ours = await load("http_load.ts", serve.socket, count, SECONDS, 1);
    const theirs = await load("redis_load.ts", redis.socket, count, SECONDS);
    const name = `serve-cached/${count}-connections`;
    const peer = "Redis GET of the same vectors";
    rows.push(
      row(name, "requests/s", "higher", ours.perSecond, {
        name: peer,
        value: theirs.perSecond,
      }),
      row(`${name}/p50`, "ms", "lower", ours.p50, { name: peer, value: theirs.p50 }),
      row(`${name}/p99`, "ms", "lower", ours.p99, { name: peer, value: theirs.p99 }),
    );
  }
  const batch = await load("http_load.ts", serve.socket, 4, SECONDS, 64);
  rows.push(row("serve-cached/batch-64", "texts/s", "higher", batch.perSecond * 64));
  note("every answer was 200: " + String(batch.statuses["200"] !== undefined));
  return rows;
}

function residentMb(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024;
}

async function overloadRows({ scratch, note }: BenchContext): Promise<Row[]> {
  await using serve = await startServe(
    scratch,
    ...["serve.concurrency=4", "serve.queue=8", "serve.rate=2000"],
  );
  await load("http_load.ts", serve.socket, 4, 1, 64);
  const before = residentMb(serve.pid);
  const memory: number[] = [];
  const statuses: Record<string, number> = {};
  for (let round = 0; round < OVERLOAD_ROUNDS; round++) {
    const part = await load("http_load.ts", serve.socket, 256, SECONDS, 1);
    for (const [status, count] of Object.entries(part.statuses)) {
      statuses[status] = (statuses[status] ?? 0) + count;
    }
    memory.push(residentMb(serve.pid));
  }
  note(`MB before ${before.toFixed(0)}, then ${memory.map((mb) => mb.toFixed(0))}`);
  const total = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const share = (...known: string[]) =>
    known.reduce((sum, status) => sum + (statuses[status] ?? 0), 0) / total * 100;
  const name = "serve-overload";
  const half = memory[OVERLOAD_ROUNDS / 2 - 1]!, last = memory.at(-1)!;
  return [
    row(`${name}/other-answers`, "%", "lower", 100 - share("200", "429", "503")),
    row(`${name}/refused`, "%", "lower", share("429", "503")),
    row(`${name}/memory-growth`, "MB", "lower", last - before),
    row(`${name}/memory-growth-of-second-half`, "MB", "lower", last - half),
  ];
}

/** Growth of the second half per 100,000 requests: least squares over its tenths. */
function slope(memory: readonly { done: number; residentMb: number }[]): number {
  const half = memory.slice(memory.length / 2);
  const mean = (pick: (one: typeof half[number]) => number) =>
    half.reduce((sum, one) => sum + pick(one), 0) / half.length;
  const x = mean(({ done }) => done), y = mean(({ residentMb }) => residentMb);
  const up = mean(({ done, residentMb }) => (done - x) * (residentMb - y));
  return up / mean(({ done }) => (done - x) ** 2) * 100_000;
}

async function dayRows({ scratch, note }: BenchContext): Promise<Row[]> {
  await using serve = await startServe(scratch);
  const { requests, connections, distinct } = DAY;
  const args = [serve.socket, requests, connections, distinct, serve.pid];
  const day = await child("day_load.ts", ...args);
  const megabytes = day.memory.map(({ residentMb }: { residentMb: number }) =>
    residentMb.toFixed(0)
  );
  note(`${requests} requests in ${day.seconds.toFixed(0)} s; MB by tenths: ${megabytes}`);
  note(`answers: ${JSON.stringify(day.statuses)}`);
  return [
    row("serve-day", "requests/s", "higher", day.perSecond),
    row("serve-day/p50", "ms", "lower", day.p50),
    row("serve-day/p99", "ms", "lower", day.p99),
    row("serve-day/memory", "MB", "lower", day.memory.at(-1).residentMb),
    row("serve-day/memory-slope", "MB/100,000 requests", "lower", slope(day.memory)),
  ];
}

/** A root with an ONNX model, and transformers.js serving the same one. */
async function startPeer({ scratch, note }: BenchContext) {
  const { COMMANDS, installPeers, PEERS } = await import("./onnx_peers/peer.ts");
  await installPeers(note);
  const { MINILM } = await import("../models/bert_weights.ts");
  const { writeModelFolder } = await import("../models/folder.ts");
  const { addModel } = await import("../../lib/embed/model/add.ts");
  const { Layout } = await import("../../lib/base/layout.ts");
  const folder = `${scratch}/models`, socket = `${scratch}/peer.sock`;
  await writeModelFolder(`${folder}/minilm`, { shape: MINILM });
  await makeRoot(`${scratch}/root`);
  const options = {
    devices: { device: "cpu", library: "" },
    file: "onnx/model.onnx",
  } as const;
  await addModel(new Layout(`${scratch}/root`), "minilm", `${folder}/minilm`, options);
  const [program, ...args] = COMMANDS.transformersHttp;
  const peer = new Deno.Command(program!, {
    args: [...args, socket, folder, "minilm", String(THREADS)],
    cwd: PEERS,
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = peer.stdout.getReader();
  if ((await reader.read()).done) throw new Error("transformers.js ended");
  return {
    socket,
    async [Symbol.asyncDispose]() {
      peer.kill("SIGTERM");
      await reader.cancel();
      await peer.status;
    },
  };
}

async function peerRows(context: BenchContext): Promise<Row[]> {
  await using peer = await startPeer(context);
  const threads = `embed.threads=${THREADS}`;
  await using serve = await startServe(context.scratch, "embed.model=minilm", threads);
  await load("http_load.ts", serve.socket, 4, 2, 64); // fills the cache
  await load("http_load.ts", peer.socket, 1, 1, 1); // warms up
  const rows: Row[] = [];
  for (const [name, more] of [["cached", []], ["new", ["new"]]] as const) {
    for (const count of [1, 16]) {
      const ours = await load("http_load.ts", serve.socket, count, SECONDS, 1, ...more);
      const theirs = await load("http_load.ts", peer.socket, count, SECONDS, 1, ...more);
      const at = `serve-transformers/${name}-${count}-connections`;
      const value = (pick: (load: Load) => number) =>
        [pick(ours), { name: TRANSFORMERS, value: pick(theirs) }] as const;
      rows.push(row(at, "requests/s", "higher", ...value((one) => one.perSecond)));
      rows.push(row(`${at}/p50`, "ms", "lower", ...value((one) => one.p50)));
    }
  }
  return rows;
}

async function startRows({ scratch, note }: BenchContext): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, count] of [["small", 0], [`${MANY}-entries`, MANY]] as const) {
    const place = `${scratch}/${name}`;
    await Deno.mkdir(place);
    await makeRoot(`${place}/root`);
    if (count > 0) {
      note(`filling a cache with ${count} entries`);
      await child("cache_fill_packed.ts", `${place}/root/@cache/embeddings`, count);
    }
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      await using serve = await startServe(place);
      times.push(serve.readyMs);
    }
    rows.push(row(`serve-ready/${name}`, "ms", "lower", median(times)));
  }
  return rows;
}

export const benches: Bench[] = [
  {
    name: "serve-cached",
    about: "cached requests over the unix socket, beside Redis GET (redis-server)",
    run: cachedRows,
  },
  {
    name: "serve-overload",
    about: "256 connections on a service that takes far less",
    run: overloadRows,
  },
  {
    name: "serve-day",
    about: "24 hours' worth of requests at full speed: latency, and memory that is flat",
    run: dayRows,
  },
  {
    name: "serve-transformers",
    about: "the same ONNX model behind the same HTTP shape, by transformers.js",
    run: peerRows,
  },
  {
    name: "serve-ready",
    about: "from start to readiness, with a small cache and with a million entries",
    run: startRows,
  },
];
