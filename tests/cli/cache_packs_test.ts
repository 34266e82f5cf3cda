import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { cli } from "../support/cli.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";

const LINES = Array.from({ length: 400 }, (_, i) => `line of text number ${i}`).join(
  "\n",
);

async function run(root: string, ...args: string[]) {
  const result = await cli(["--root", root, "--json", ...args]);
  assertEquals(result.code, 0, result.stderr);
  return JSON.parse(result.stdout);
}

platformTest("compact, warm, stats, numa and search work on one root", async () => {
  await using disk = await btrfsScratch(300);
  const root = `${disk.path}/r`;
  await run(root, "init");
  const fill = ["--root", root, "embed", "--file", "-", "--output", "none"];
  assertEquals((await cli(fill, { stdin: LINES })).code, 0);
  const before = await run(root, "cache", "search", "number 77", "-k", "5");
  const report = await run(root, "cache", "compact");
  assertEquals([report.packed, report.left, report.packs_after], [400, 0, 1]);
  assertEquals(await run(root, "cache", "search", "number 77", "-k", "5"), before);
  const warm = await run(root, "cache", "warm", "--limit", "1M", "--by", "frequency");
  assertEquals(warm.vectors, 400);
  const stats = await run(root, "cache", "stats");
  assertEquals([stats.loose_files, stats.packs.length], [0, 1]);
  assertTrue(stats.packs[0].resident_bytes > 0);
  const again = await cli(fill, { stdin: LINES });
  assertIncludes(again.stderr, "400 hits");
  assertEquals((await run(root, "cache", "stats")).lifetime.pack_hits, 400);
  const numa = await run(root, "numa", "stats");
  assertEquals([numa.vectors, numa.hits], [400, 400]);
  if (numa.numa_support) {
    const hits = numa.nodes.reduce(
      (sum: number, { hits }: { hits: number }) => sum + hits,
      0,
    );
    assertEquals(hits, 400);
  }
  assertEquals((await cli(["--root", root, "cache", "verify"])).code, 0);
});

platformTest(
  "a long embed ends by compacting, at the threshold of the settings",
  async () => {
    await using disk = await btrfsScratch(300);
    const root = `${disk.path}/r`;
    await run(root, "init");
    const lines = Array.from({ length: 1200 }, (_, i) => `text ${i}`).join("\n");
    const env = { OPDBUS_CACHE_COMPACT_THRESHOLD: "1000" };
    const args = ["--root", root, "embed", "--file", "-", "--output", "none"];
    const result = await cli(args, { stdin: lines, env });
    assertIncludes(result.stderr, "1200 vectors moved into a pack");
  },
);

Deno.test("an embed without end compacts in the middle, too", async () => {
  await using folder = await tempFolder();
  const root = `${folder.path}/r`;
  await run(root, "init", "--plain");
  const lines = Array.from({ length: 6500 }, (_, i) => `text ${i}`).join("\n");
  const env = { OPDBUS_CACHE_COMPACT_THRESHOLD: "200" };
  const args = ["--root", root, "embed", "--file", "-", "--output", "none"];
  const { stderr } = await cli(args, { stdin: lines, env });
  const moved = [...stderr.matchAll(/(\d+) vectors moved into a pack/g)];
  assertTrue(moved.length >= 3, stderr);
  assertEquals(moved.reduce((sum, [, count]) => sum + Number(count), 0), 6500);
  assertIncludes((await cli(args, { stdin: lines })).stderr, "6500 hits");
});

Deno.test("cache clean --explain says of each vector why it goes", async () => {
  await using folder = await tempFolder();
  const root = `${folder.path}/r`;
  await run(root, "init", "--plain");
  const texts = ["embed", "one", "two", "three", "--output", "none"];
  assertEquals((await cli(["--root", root, ...texts])).code, 0);
  const clean = ["cache", "clean", "--max-entries", "1", "--explain"];
  const plan = await run(root, ...clean, "--dry-run");
  assertEquals(plan.evictions.map((one: { reason: string }) => one.reason), [
    "count",
    "count",
  ]);
  const done = await cli(["--root", root, ...clean, "--yes"]);
  const lines = done.stdout.trimEnd().split("\n");
  assertEquals(
    lines.slice(0, 2).map((line) => line.split(" ")[0]),
    plan.evictions.map((one: { key: string }) => one.key),
  );
  assertIncludes(lines[1]!, ": beyond the 1 used last");
  assertIncludes(lines[2]!, "Removed 2 vectors");
});

Deno.test("numa show draws this machine; a bad strategy or node is one clear error", async () => {
  const shown = await cli(["numa", "show"]);
  assertEquals(shown.code, 0, shown.stderr);
  assertIncludes(shown.stdout, /node \d/);
  const json = JSON.parse((await cli(["--json", "numa", "show"])).stdout);
  assertTrue(json.nodes.length >= 1 && json.limits.cpus.length >= 1);
  for (const strategy of ["fastest", "node:999"]) {
    const env = { OPDBUS_PLACEMENT_STRATEGY: strategy };
    const bad = await cli(["numa", "show"], { env });
    assertEquals([bad.code, bad.stdout], [2, ""], bad.stderr);
  }
});

Deno.test("doctor --measure gives this machine's own figures", async () => {
  const result = await cli(["--json", "doctor", "--measure"]);
  assertEquals(result.code, 0, result.stderr);
  const { measured } = JSON.parse(result.stdout);
  assertTrue(
    measured.memory.every((pair: { latency_ns: number }) => pair.latency_ns > 0),
  );
  assertTrue(measured.working_sets.length === 5);
  assertTrue(measured.hit_path.arena_us > 0 && measured.hit_path.pack_us > 0);
  assertTrue(measured.disk.cold_read_us > 0);
});
