/** The service: cached requests beside Redis, load beyond capacity, time to readiness. */
import { type Bench, type BenchContext, type Row, row } from "../bench_kit.ts";

const SECONDS = 4;
const CONNECTIONS = [1, 16, 64];
const REPO = new URL("../../", import.meta.url).pathname;
const deno = ["run", "--quiet", "-A", "--config", `${REPO}deno.json`];

interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly statuses: Readonly<Record<string, number>>;
}

async function load(child: string, ...args: (string | number)[]): Promise<Load> {
  const path = new URL(`./children/${child}`, import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: [...deno, path, ...args.map(String)],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The service as a process; `readyMs` is from its start to its word. */
async function startServe(scratch: string, ...set: string[]) {
  const root = `${scratch}/root`, socket = `${scratch}/serve.sock`;
  const main = [...deno, `${REPO}main.ts`, "--root", root];
  const env = { OPDBUS_CONFIG: "/dev/null" };
  await new Deno.Command(Deno.execPath(), { args: [...main, "init", "--plain"], env })
    .output();
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...main, "serve", "--socket", socket, ...set.flatMap((one) => ["--set", one])],
    env,
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

async function overloadRows({ scratch }: BenchContext): Promise<Row[]> {
  await using serve = await startServe(
    scratch,
    ...["serve.concurrency=4", "serve.queue=8", "serve.rate=2000"],
  );
  await load("http_load.ts", serve.socket, 4, 1, 64);
  const before = residentMb(serve.pid);
  const { statuses } = await load("http_load.ts", serve.socket, 256, 2 * SECONDS, 1);
  const total = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const known = ["200", "429", "503"].reduce((sum, s) => sum + (statuses[s] ?? 0), 0);
  return [
    row("serve-overload/other-answers", "%", "lower", (total - known) / total * 100),
    row(
      "serve-overload/refused",
      "%",
      "lower",
      (total - (statuses["200"] ?? 0)) / total * 100,
    ),
    row("serve-overload/memory-growth", "MB", "lower", residentMb(serve.pid) - before),
  ];
}

async function startRows({ scratch }: BenchContext): Promise<Row[]> {
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    await using serve = await startServe(scratch);
    times.push(serve.readyMs);
  }
  times.sort((a, b) => a - b);
  return [row("serve-ready", "ms", "lower", times[2]!)];
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
  { name: "serve-ready", about: "from start to readiness, small cache", run: startRows },
];
