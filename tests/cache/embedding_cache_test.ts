import {
  assertEquals,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { InputError, OpError } from "../../lib/base/errors.ts";
import { CODECS } from "../../lib/cache/codec.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { BuiltinEmbedder } from "../../lib/embed/builtin.ts";
import { DenseEmbedder, denseVector, textsOf } from "./support.ts";

const COLD = { arenaBytes: 0 };

Deno.test("a miss returns, bit for bit, what memory and disk return after it", async () => {
  for (const codec of Object.values(CODECS)) {
    await using folder = await tempFolder();
    using embedder = new DenseEmbedder();
    const texts = textsOf(40);
    using cache = EmbeddingCache.open(folder.path, { codec: codec.name });
    const miss = await cache.getOrEmbed(texts, embedder);
    const memory = await cache.getOrEmbed(texts, embedder);
    using reopened = EmbeddingCache.open(folder.path, { codec: codec.name, ...COLD });
    const disk = await reopened.getOrEmbed(texts, embedder);
    assertEquals([miss.misses, memory.memoryHits, disk.diskHits], [40, 40, 40]);
    assertEquals(memory.matrix, miss.matrix, codec.name);
    assertEquals(disk.matrix, miss.matrix, codec.name);
    assertEquals(embedder.seen.length, 40);
  }
});

Deno.test("answers come in the input's order; repeated texts are computed once", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, { codec: "f32" });
  await cache.getOrEmbed(["c"], embedder);
  const texts = ["a", "b", "a", "c", "b", "d", "c"];
  const result = await cache.getOrEmbed(texts, embedder);
  texts.forEach((text, i) => {
    assertEquals(result.matrix.slice(i * 8, i * 8 + 8), denseVector(text, 8), `${i}`);
  });
  assertEquals([result.misses, result.memoryHits, result.duplicates], [3, 2, 2]);
  assertEquals(embedder.seen, ["c", "a", "b", "d"]);
  assertEquals((await cache.getOrEmbed([], embedder)).matrix.length, 0);
});

Deno.test("concurrent calls compute each text once", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  using cache = EmbeddingCache.open(folder.path);
  const results = await Promise.all(
    Array.from({ length: 8 }, () => cache.getOrEmbed(textsOf(300), embedder)),
  );
  assertEquals(embedder.seen.length, 300);
  for (const { matrix } of results) assertEquals(matrix, results[0]!.matrix);
});

Deno.test("when the computing call fails, a waiting one computes itself", async () => {
  await using folder = await tempFolder();
  using failing = new DenseEmbedder();
  using working = new DenseEmbedder();
  const started = Promise.withResolvers<void>(), fail = Promise.withResolvers<void>();
  failing.before = async () => {
    started.resolve();
    await fail.promise;
    throw new OpError("model", "Cannot run the model");
  };
  using cache = EmbeddingCache.open(folder.path);
  const first = assertRejects(() => cache.getOrEmbed(["x"], failing), OpError, /model/);
  await started.promise;
  const second = cache.getOrEmbed(["x"], working);
  fail.resolve();
  await first;
  assertEquals((await second).misses, 1);
  assertEquals(working.seen, ["x"]);
});

Deno.test("a stored vector of less precision is a miss and is replaced; of more, a hit", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  const rounds = [
    ["int8", 1, 0],
    ["int12", 1, 1],
    ["f32", 1, 1],
    ["int8", 0, 0],
    ["f32-zstd", 0, 0],
  ] as const;
  for (const [codec, misses, upgraded] of rounds) {
    using cache = EmbeddingCache.open(folder.path, { codec, ...COLD });
    const result = await cache.getOrEmbed(["text"], embedder);
    assertEquals([result.misses, result.upgraded, result.healed], [misses, upgraded, 0]);
  }
});

Deno.test("a process of a coarser codec does not overwrite what a finer one stored meanwhile", async () => {
  for (const before of [null, "int8"] as const) { // nothing there, or something coarse
    await using folder = await tempFolder();
    using embedder = new DenseEmbedder(64), slow = new DenseEmbedder(64);
    const texts = textsOf(20);
    if (before) {
      using old = EmbeddingCache.open(folder.path, { codec: before, ...COLD });
      await old.getOrEmbed(texts, embedder);
    }
    using fine = EmbeddingCache.open(folder.path, { codec: "f32", ...COLD });
    using coarse = EmbeddingCache.open(folder.path, { codec: "int12", ...COLD });
    let stored: Float32Array | undefined;
    slow.before = async () => {
      stored = (await fine.getOrEmbed(texts, embedder)).matrix;
    };
    const late = await coarse.getOrEmbed(texts, slow);
    assertEquals([late.misses, late.diskHits], [0, 20], String(before));
    assertEquals(late.matrix, stored, "what the next hit returns");
    const after = await fine.getOrEmbed(texts, embedder);
    assertEquals([after.misses, after.matrix], [0, stored]);
    assertEquals(coarse.get(texts[3]!, embedder.identity)?.codec, "f32");
  }
});

Deno.test("another model never answers", async () => {
  await using folder = await tempFolder();
  using cache = EmbeddingCache.open(folder.path, { codec: "f32" });
  using one = new DenseEmbedder(16, "one"), two = new DenseEmbedder(16, "two");
  await cache.getOrEmbed(["text"], one);
  assertEquals((await cache.getOrEmbed(["text"], two)).misses, 1);
  assertEquals(cache.stats().models.map(({ name }) => name).sort(), ["one", "two"]);
});

Deno.test("empty, non-finite and wrong-sized vectors are refused and not stored", async () => {
  await using folder = await tempFolder();
  using cache = EmbeddingCache.open(folder.path);
  for (const bad of [[NaN, 1], [1, Infinity], [0, 0], [1], [1, 2, 3], []]) {
    using embedder = new DenseEmbedder(2);
    embedder.embed = () =>
      Promise.resolve({ matrix: Float32Array.from(bad), tokens: 1, truncated: 0 });
    const error = await assertRejects(() => cache.getOrEmbed(["x"], embedder), OpError);
    assertEquals(error.code, "bad_vector");
  }
  assertEquals([cache.stats().entries, cache.stats().looseFiles], [0, 0]);
});

Deno.test("odd texts: empty, NUL, 5 MB, half a surrogate", async () => {
  await using folder = await tempFolder();
  using embedder = new BuiltinEmbedder();
  const texts = ["", "\0", "a\0b", "ab", "y".repeat(5_000_000), "\ud800", "\ufffd"];
  using cache = EmbeddingCache.open(folder.path);
  const first = await cache.getOrEmbed(texts, embedder);
  assertEquals([first.misses, first.duplicates], [6, 1], "a lone surrogate is U+FFFD");
  using again = EmbeddingCache.open(folder.path, COLD);
  const second = await again.getOrEmbed(texts, embedder);
  assertEquals([second.misses, second.matrix], [0, first.matrix]);
});

Deno.test("uses are counted in memory and written in batches", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using watcher = EmbeddingCache.open(folder.path);
  {
    using cache = EmbeddingCache.open(folder.path);
    for (let i = 0; i < 5; i++) await cache.getOrEmbed(["a", "b"], embedder);
    assertEquals(watcher.stats().lifetime.memoryHits, 0, "not written yet");
  }
  const { lifetime } = watcher.stats();
  assertEquals([lifetime.memoryHits, lifetime.misses], [8, 2]);
});

Deno.test("aborted, a call keeps what it had stored", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path);
  const stop = new AbortController();
  const call = cache.getOrEmbed(textsOf(1000), embedder, {
    signal: stop.signal,
    progress: (done) => done >= 64 && stop.abort(new Error("stop")),
  });
  assertEquals((await call.catch((error) => error)).message, "stop");
  const { entries } = cache.stats();
  assertTrue(entries >= 64 && entries < 1000, `${entries}`);
  assertEquals((await cache.getOrEmbed(textsOf(1000), embedder)).misses, 1000 - entries);
  assertEquals(cache.verify().damaged, []);
});

Deno.test("get shows an entry without computing; peek gives hot ones without copying", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, { codec: "int8" });
  assertEquals(cache.get("a", embedder.identity), null);
  assertEquals(cache.peek("a", embedder.identity), undefined);
  const { matrix } = await cache.getOrEmbed(["a"], embedder);
  const entry = cache.get("a", embedder.identity)!;
  assertEquals([entry.codec, entry.sizeBytes, entry.vector], ["int8", 12, matrix]);
  assertEquals(cache.peek("a", embedder.identity)!.slice(), matrix);
});

Deno.test("a few texts that are all in memory take the short way, with the same answer", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(16);
  using cache = EmbeddingCache.open(folder.path);
  const texts = ["a", "b", "a", "\ud800"];
  const { matrix } = await cache.getOrEmbed(texts, embedder);
  const again = await cache.getOrEmbed(texts, embedder);
  assertEquals([again.memoryHits, again.misses, again.matrix], [4, 0, matrix]);
  const into = new Float32Array(4 * 16 + 3);
  assertEquals((await cache.getOrEmbed(texts, embedder, { into })).matrix, matrix);
  const [one] = cache.stats().ages.filter(({ entries }) => entries > 0);
  assertEquals([cache.stats().session.memoryHits, one?.entries], [8, 3]);
  const short = { into: new Float32Array(63) };
  await assertRejects(
    () => cache.getOrEmbed(texts, embedder, short),
    Error,
    /do not fit/,
  );
});

Deno.test("memory over its limit evicts, and every answer stays right", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(32);
  using cache = EmbeddingCache.open(folder.path, { arenaBytes: 50 * 32 * 4 });
  const texts = textsOf(200);
  const all = await cache.getOrEmbed(texts, embedder);
  for (let i = 0; i < 2000; i++) {
    const n = Math.imul(i, 2654435761) >>> 24; // 0 to 255, some more often than others
    const text = texts[n % 200]!;
    const { matrix, misses } = await cache.getOrEmbed([text], embedder);
    assertEquals(misses, 0);
    assertEquals(matrix, all.matrix.slice((n % 200) * 32, (n % 200) * 32 + 32));
  }
});

Deno.test("search finds exactly the nearest, with their texts", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(24);
  using other = new DenseEmbedder(24, "other");
  using cache = EmbeddingCache.open(folder.path);
  const texts = textsOf(500);
  const { matrix } = await cache.getOrEmbed(texts, embedder);
  await cache.getOrEmbed(textsOf(20, "foreign"), other);
  const query = denseVector("query", 24);
  const expected = texts.map((text, i) => {
    const row = matrix.subarray(i * 24, i * 24 + 24);
    const norm = Math.hypot(...row) * Math.hypot(...query);
    return { text, score: row.reduce((sum, x, j) => sum + x * query[j]!, 0) / norm };
  }).sort((a, b) => b.score - a.score).slice(0, 10);
  const found = cache.search(query, 10, embedder.identity);
  assertEquals(found.map(({ text }) => text), expected.map(({ text }) => text));
  found.forEach(({ score }, i) =>
    assertTrue(Math.abs(score - expected[i]!.score) < 1e-6)
  );
  assertEquals(cache.search(query, 1000, embedder.identity).length, 500);
  for (const k of [0, -1, 1.5, 1e9]) {
    assertThrows(() => cache.search(query, k, embedder.identity), InputError);
  }
  assertThrows(
    () => cache.search(new Float32Array(24), 1, embedder.identity),
    InputError,
  );
  assertThrows(() => cache.search(new Float32Array(3), 1, embedder.identity), InputError);
});

Deno.test("clean removes by age, count and size, and says which", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path);
  await cache.getOrEmbed(textsOf(30), embedder);
  const later = Date.now() + 1_000_000;
  const dry = cache.clean({ olderThanMs: 1000, nowMs: later, dryRun: true });
  assertEquals([dry.removed, dry.byAge, cache.stats().entries], [30, 30, 30]);
  assertEquals(cache.clean({ olderThanMs: 1e9 }).removed, 0);
  assertEquals(cache.clean({ maxEntries: 20 }).byCount, 10);
  const why: string[] = [];
  const sized = cache.clean({
    maxBytes: 16 * 12,
    explain: ({ key, sizeBytes, reason }) =>
      why.push(`${key.length} ${sizeBytes} ${reason}`),
  });
  assertEquals(why, Array(8).fill("64 16 size"));
  assertEquals([sized.bySize, sized.kept], [8, 12]);
  assertEquals([cache.stats().entries, cache.stats().looseFiles], [12, 12]);
  assertThrows(() => cache.clean({}), InputError);
  assertThrows(() => cache.clean({ maxEntries: -1 }), InputError);
  assertEquals(cache.clear().removed, 12);
  assertEquals((await cache.getOrEmbed(textsOf(30), embedder)).misses, 30);
});

Deno.test("a folder that is not there, an unknown codec, a closed cache: one clear error", async () => {
  await using folder = await tempFolder();
  const missing = assertThrows(() => EmbeddingCache.open(`${folder.path}/no`), OpError);
  assertEquals(missing.code, "not_found");
  const bad = assertThrows(
    () => EmbeddingCache.open(folder.path, { codec: "mp3" as never }),
    InputError,
    /mp3/,
  );
  assertTrue(bad.hint?.includes("int12"));
  const cache = EmbeddingCache.open(folder.path);
  cache.close();
  cache.close();
  assertThrows(() => cache.stats(), TypeError);
});
