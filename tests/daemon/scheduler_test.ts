import { Layout } from "../../lib/base/layout.ts";
import { resolveConfig } from "../../lib/base/config.ts";
import { initRoot } from "../../lib/base/root.ts";
import { type Job, Scheduler } from "../../lib/daemon/scheduler.ts";
import { chainPolicy, jobsOf, snapshotChain } from "../../lib/daemon/jobs.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { verifyChain } from "../../lib/chain/verify.ts";
import { InputError } from "../../lib/base/errors.ts";
import { simulate } from "../../lib/snapshot/simulate.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";

async function layoutIn(folder: string): Promise<Layout> {
  const layout = new Layout(folder);
  await Deno.mkdir(layout.meta, { recursive: true });
  return layout;
}

Deno.test("jobs run when due, missed runs are caught up once, a failure stops no other", async () => {
  await using scratch = await tempFolder();
  const layout = await layoutIn(scratch.path);
  const ran: string[] = [];
  let now = 1_000_000;
  const job = (name: string, everyMs: number, fails = false): Job => ({
    name,
    everyMs,
    run() {
      ran.push(name);
      if (fails) throw new Error("broken");
    },
  });
  const jobs = [job("a", 1000), job("bad", 1000, true), job("b", 10_000), job("off", 0)];
  const open = () => new Scheduler(layout, jobs, { now: () => now });
  {
    using first = open();
    await first.runDue();
    assertEquals(ran.splice(0), ["a", "bad", "b"]);
    now += 999;
    await first.runDue();
    assertEquals(ran.splice(0), []);
    now += 1;
    await first.runDue();
    assertEquals(ran.splice(0), ["a", "bad"]);
    const bad = first.states().find(({ name }) => name === "bad");
    assertTrue(bad?.error?.includes("broken"));
  }
  now += 1_000_000; // nothing served for long: each runs once, not once per interval
  using second = open();
  await second.runDue();
  await second.runDue();
  assertEquals(ran.splice(0), ["a", "bad", "b"]);
  now -= 500_000_000; // a clock that went back does not stop the jobs
  await second.runDue();
  assertEquals(ran.splice(0), ["a", "bad", "b"]);
});

Deno.test("of two schedulers one leads, and the other takes over", async () => {
  await using scratch = await tempFolder();
  const layout = await layoutIn(scratch.path);
  const ran: string[] = [];
  const open = (name: string) =>
    new Scheduler(layout, [{ name: "job", everyMs: 1, run: () => void ran.push(name) }]);
  const one = open("one");
  using two = open("two");
  await one.runDue();
  await two.runDue();
  assertEquals([ran, one.leading, two.leading], [["one"], true, false]);
  one[Symbol.dispose]();
  await new Promise((resolve) => setTimeout(resolve, 2));
  await two.runDue();
  assertEquals([ran, two.leading], [["one", "two"], true]);
});

function settings(root: string, more: Record<string, string> = {}) {
  return resolveConfig({ flags: { root, ...more }, env: {} });
}

platformTest(
  "the service compacts by itself, once there are enough loose files",
  async () => {
    await using disk = await btrfsScratch(300);
    const root = `${disk.path}/root`;
    initRoot({ root });
    const layout = new Layout(root);
    const config = settings(root, { "cache.compact_threshold": "20" });
    using cache = EmbeddingCache.open(layout.embeddings, { arenaBytes: 0 });
    using recorder = new ChainRecorder(layout);
    using embedder = new BuiltinEmbedder();
    let now = 1_000_000_000;
    const jobs = jobsOf({ layout, config, cache, recorder });
    using scheduler = new Scheduler(layout, jobs, { now: () => now });
    const storeAndWait = async (from: number, to: number) => {
      const texts = Array.from({ length: to - from }, (_, i) => `text ${from + i}`);
      await cache.getOrEmbed(texts, embedder);
      now += 3_600_000;
      await scheduler.runDue();
      return cache.stats();
    };
    const few = await storeAndWait(0, 19);
    assertEquals([few.looseFiles, few.packs.length], [19, 0]);
    const enough = await storeAndWait(19, 20);
    assertEquals([enough.looseFiles, enough.packs[0]?.records], [0, 20]);
    assertEquals(scheduler.states().filter(({ error }) => error !== null), []);
  },
);

Deno.test("compaction leaves the thread to others before it is over", async () => {
  await using scratch = await tempFolder();
  const root = `${scratch.path}/root`;
  initRoot({ root, plain: true });
  const layout = new Layout(root);
  const config = settings(root, { "cache.compact_threshold": "1" });
  using cache = EmbeddingCache.open(layout.embeddings, { arenaBytes: 0 });
  using recorder = new ChainRecorder(layout);
  using embedder = new BuiltinEmbedder();
  const texts = ["one", "two"];
  await cache.getOrEmbed(texts, embedder);
  const jobs = jobsOf({ layout, config, cache, recorder });
  const compaction = jobs.find(({ name }) => name === "compact")!;
  const running = compaction.run(new AbortController().signal);
  // Had it kept the thread, it would be over by now.
  assertEquals(cache.stats().looseFiles, 2);
  assertEquals((await cache.getOrEmbed(texts, embedder)).diskHits, 2);
  await running;
  assertEquals([cache.stats().looseFiles, cache.stats().packs.length], [0, 1]);
});

platformTest(
  "chain snapshots are made and kept by their own rules, and verify",
  async () => {
    await using disk = await btrfsScratch(512);
    const root = `${disk.path}/root`;
    initRoot({ root });
    const layout = new Layout(root);
    using recorder = new ChainRecorder(layout);
    for (let n = 0; n < 5; n++) {
      const data = { n };
      await recorder.record({
        category: "plugin",
        action: "install",
        subject: "a",
        data,
      });
      await snapshotChain(layout, settings(root));
    }
    for (const name of ["timing", "vectors", "state"]) {
      const made = [...Deno.readDirSync(`${root}/@${name}-snapshots`)]
        .filter((one) => one.name.startsWith(`${name}@`));
      // The oldest and the newest of this hour are kept, those between are not.
      assertEquals(made.length, 2, name);
      if (name !== "timing") continue;
      for (const one of made) {
        const report = await verifyChain(`${root}/@timing-snapshots/${one.name}`);
        assertEquals(report.faults, []);
        assertTrue(report.blocks >= 2);
      }
    }
    using cache = EmbeddingCache.open(layout.embeddings);
    const jobs = (every: string) =>
      jobsOf({
        layout,
        config: settings(root, { "chain.snapshot_every": every }),
        cache,
        recorder,
      }).find(({ name }) => name === "chain-snapshots")!.everyMs;
    assertEquals([jobs("15m"), jobs("off"), jobs("operation")], [900_000, 0, 0]);
    assertThrows(() => jobs("now and then"), InputError, /chain.snapshot_every/);
  },
);

/** The newest time of each of the newest `count` periods that `key` tells apart. */
function newestOfEach(
  times: readonly number[],
  count: number,
  key: (at: Date) => string,
) {
  const newest = new Map(times.map((time) => [key(new Date(time)), time]));
  return [...newest.values()].slice(-count);
}

Deno.test("of the chain's snapshots five hours, days, weeks and quarters are kept", async () => {
  const HOUR_MS = 3_600_000, WEEK_MS = 7 * 24 * HOUR_MS;
  const monday = (at: Date) => Math.floor((at.getTime() - 4 * 24 * HOUR_MS) / WEEK_MS);
  const periods: [string, (at: Date) => string][] = [
    ["hourly", (at) => at.toISOString().slice(0, 13)],
    ["daily", (at) => at.toISOString().slice(0, 10)],
    ["weekly", (at) => `${monday(at)}`],
    ["quarterly", (at) => `${at.getUTCFullYear()} ${Math.floor(at.getUTCMonth() / 3)}`],
  ];
  const startMs = Date.UTC(2024, 1, 3, 0, 7), everyMs = HOUR_MS / 2;
  const forMs = 100 * WEEK_MS;
  const times = Array.from(
    { length: forMs / everyMs + 1 },
    (_, n) => startMs + n * everyMs,
  );
  for (const kept of [5, 3]) {
    const more = Object.fromEntries(
      periods.map(([name]) => [`chain.keep_${name}`, String(kept)]),
    );
    const policy = await chainPolicy(settings("/r", kept === 5 ? {} : more));
    const { steps } = simulate({ policy, everyMs, forMs, startMs }, 1);
    const wanted = periods.flatMap(([, key]) => newestOfEach(times, kept, key));
    assertEquals(
      steps.at(-1)!.existMs.toSorted(),
      [...new Set(wanted)].toSorted(),
    );
  }
});
