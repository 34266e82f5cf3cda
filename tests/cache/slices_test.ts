import { atOnce, inSlices } from "../../lib/base/slices.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { isSound } from "../../lib/cache/verify.ts";
import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { COLD, DenseEmbedder, denseVector, files, textsOf } from "./support.ts";

/** Every step is a slice of its own. */
const STEP_BY_STEP = { sliceMs: 0 };

Deno.test("a search loses nothing that is compacted between two of its steps", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  using cache = EmbeddingCache.open(folder.path, COLD);
  const packed = textsOf(500, "packed"), loose = textsOf(500, "loose");
  await cache.getOrEmbed(packed, embedder);
  cache.compact();
  await cache.getOrEmbed(loose, embedder);
  const query = denseVector("loose number 499", 384);
  const expected = cache.search(query, 1000, embedder.identity);
  assertEquals(expected.length, 1000);
  // At any moment: with the packs, or among the loose files.
  for (let at = 1, steps = 2; at <= steps; at++) {
    await cache.getOrEmbed(textsOf(500, "loose"), embedder);
    let seen = 0;
    const pause = () => {
      seen++;
      if (seen === at) cache.compact({ full: true });
      return Promise.resolve();
    };
    const search = cache.searching(query, 1000, embedder.identity);
    const found = await inSlices(search, { ...STEP_BY_STEP, pause });
    assertEquals(found, expected, `after step ${at}`);
    steps = Math.max(seen, steps);
    if (at >= steps) assertTrue(steps > 5, `${steps}`);
    cache.clear();
    await cache.getOrEmbed(packed, embedder);
    cache.compact();
  }
});

Deno.test("a compaction in steps lets everything else go on, and loses none of it", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  using cache = EmbeddingCache.open(folder.path, COLD);
  const texts = textsOf(900);
  const { matrix } = await cache.getOrEmbed(texts, embedder);
  let turns = 0;
  const meanwhile: string[] = [];
  const pause = async () => {
    turns++;
    const again = await cache.getOrEmbed(texts, embedder);
    assertEquals([again.misses, again.matrix], [0, matrix]);
    meanwhile.push(`meanwhile ${turns}`);
    await cache.getOrEmbed(meanwhile.slice(-1), embedder);
    assertThrows(() => cache.compact(), Error, /another op-dbus is compacting/);
  };
  const report = await inSlices(cache.compactingIfDue({}, 1), { ...STEP_BY_STEP, pause });
  assertEquals(report?.packed, 900);
  assertTrue(turns > 20, `${turns} turns`);
  const all = [...texts, ...meanwhile];
  const after = await cache.getOrEmbed(all, embedder);
  assertEquals([after.misses, after.matrix.slice(0, matrix.length)], [0, matrix]);
  assertEquals(cache.compact().packed, meanwhile.length);
  assertTrue(isSound(cache.verify()));
});

Deno.test("a compaction that is stopped between two steps leaves nothing behind", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  using cache = EmbeddingCache.open(folder.path, COLD);
  const texts = textsOf(200);
  await cache.getOrEmbed(texts, embedder);
  for (let at = 1;; at++) {
    const stop = new AbortController();
    let seen = 0;
    const pause = () => {
      if (++seen === at) stop.abort(new Error("stopped"));
      return Promise.resolve();
    };
    const steps = cache.compactingIfDue({ signal: stop.signal }, 1);
    const work = inSlices(steps, { ...STEP_BY_STEP, pause });
    const failed = await work.then(() => false, () => true);
    assertEquals(files(folder.path, /tmp/), [], `after step ${at}`);
    assertEquals((await cache.getOrEmbed(texts, embedder)).misses, 0, `step ${at}`);
    if (!failed && seen < at) break; // it was through before
  }
  assertTrue(isSound(cache.verify()));
});

Deno.test("work in slices ends in order when a step or a pause fails", async () => {
  const ended: string[] = [];
  function* work(name: string, fails: boolean) {
    try {
      yield;
      if (fails) throw new Error("step");
      yield () => Promise.reject(new Error("elsewhere"));
      return name;
    } finally {
      ended.push(name);
    }
  }
  const pause = () => Promise.resolve();
  const slices = { ...STEP_BY_STEP, pause };
  await assertRejects(() => inSlices(work("a", true), slices), Error, /step/);
  await assertRejects(() => inSlices(work("b", false), slices), Error, /elsewhere/);
  const broken = { ...slices, pause: () => Promise.reject(new Error("pause")) };
  await assertRejects(() => inSlices(work("c", false), broken), Error, /pause/);
  assertEquals(atOnce(work("d", false)), "d");
  assertEquals(ended, ["a", "b", "c", "d"]);
});
