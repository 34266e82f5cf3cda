import {
  assertEquals,
  assertIncludes,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";
import { LockedError, OpError } from "../../lib/base/errors.ts";
import { atOnce } from "../../lib/base/slices.ts";
import { CODECS } from "../../lib/cache/codec.ts";
import { EmbeddingCache, verifyCache } from "../../lib/cache/embedding_cache.ts";
import { isSound } from "../../lib/cache/verify.ts";
import { lockPacks } from "../../lib/cache/pack_lock.ts";
import { COLD, DenseEmbedder, files, flip, textsOf } from "./support.ts";

Deno.test("compacted, every vector is the same, bit for bit, in every codec", async () => {
  for (const codec of Object.values(CODECS)) {
    for (const dimensions of [384, 5]) {
      await using folder = await tempFolder();
      using embedder = new DenseEmbedder(dimensions);
      const texts = textsOf(300);
      using cache = EmbeddingCache.open(folder.path, { codec: codec.name, ...COLD });
      const before = await cache.getOrEmbed(texts, embedder);
      const report = cache.compact();
      assertEquals([report.packed, report.left, report.packsAfter], [300, 0, 1]);
      assertEquals(files(folder.path, /\.bin$/), []);
      const after = await cache.getOrEmbed(texts, embedder);
      assertEquals([after.diskHits, after.matrix], [300, before.matrix], codec.name);
      using again = EmbeddingCache.open(folder.path, { codec: codec.name, ...COLD });
      assertEquals((await again.getOrEmbed(texts, embedder)).matrix, before.matrix);
      assertEquals(again.stats().session.packHits, 300);
      assertTrue(isSound(again.verify()));
      assertEquals((await again.getOrEmbed(["another"], embedder)).misses, 1);
    }
  }
});

Deno.test("an open cache in the same and in another process sees new packs without reopening", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  using reader = EmbeddingCache.open(folder.path, COLD);
  using writer = EmbeddingCache.open(folder.path, COLD);
  for (let round = 1; round <= 5; round++) {
    const texts = textsOf(100, `round ${round}`);
    const { matrix } = await writer.getOrEmbed(texts, embedder);
    writer.compact();
    const read = await reader.getOrEmbed(texts, embedder);
    assertEquals([read.misses, read.matrix], [0, matrix]);
  }
  assertEquals(reader.stats().session.packHits, 500);
});

Deno.test("packs merge as they grow: few of many sizes remain, none is lost", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, COLD);
  let total = 0, merged = 0;
  for (let round = 0; round < 40; round++) {
    await cache.getOrEmbed(textsOf(50, `r${round}`), embedder);
    total += 50;
    const report = cache.compact();
    merged += report.merged;
    assertTrue(report.packsAfter <= 5, `${report.packsAfter} packs after round ${round}`);
    const records = cache.stats().packs.reduce((sum, pack) => sum + pack.records, 0);
    assertEquals(records, total);
  }
  assertTrue(merged < total * 8, `${merged} records copied for ${total}`);
  for (let round = 0; round < 40; round++) {
    const { misses } = await cache.getOrEmbed(textsOf(50, `r${round}`), embedder);
    assertEquals(misses, 0);
  }
  assertEquals(cache.compact({ full: true }).packsAfter, 1);
  assertEquals(
    cache.compact({ full: true }).merged,
    0,
    "one whole pack: nothing to do",
  );
});

Deno.test("models and codecs get packs of their own", async () => {
  await using folder = await tempFolder();
  const embedders = [new DenseEmbedder(8, "a"), new DenseEmbedder(8, "b")];
  for (const codec of ["int8", "f32", "f32-zstd"] as const) {
    using cache = EmbeddingCache.open(folder.path, { codec, ...COLD });
    for (const embedder of embedders) {
      await cache.getOrEmbed(textsOf(20, codec), embedder);
    }
  }
  using cache = EmbeddingCache.open(folder.path, { codec: "int8", ...COLD });
  assertEquals(cache.compact().packed, 120);
  const { packs } = cache.stats();
  assertEquals(
    packs.map(({ model, codec, records }) => `${model} ${codec} ${records}`).sort(),
    [
      "a f32 40",
      "a int8 20",
      "b f32 40",
      "b int8 20",
    ],
  );
});

Deno.test("an entry of less precision in a pack is replaced, and the pack merges it away", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(16);
  const texts = textsOf(30);
  {
    using cache = EmbeddingCache.open(folder.path, { codec: "int8", ...COLD });
    await cache.getOrEmbed(texts, embedder);
    cache.compact();
  }
  using cache = EmbeddingCache.open(folder.path, { codec: "f32", ...COLD });
  const fine = await cache.getOrEmbed(texts, embedder);
  assertEquals([fine.misses, fine.upgraded], [30, 30]);
  assertEquals((await cache.getOrEmbed(texts, embedder)).matrix, fine.matrix);
  cache.compact({ full: true });
  assertEquals((await cache.getOrEmbed(texts, embedder)).matrix, fine.matrix);
  assertEquals(cache.stats().packs.map(({ records }) => records), [30]);
});

Deno.test("clean marks packed entries as deleted; compaction gives their space back", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(16);
  const texts = textsOf(100);
  using cache = EmbeddingCache.open(folder.path, COLD);
  using other = EmbeddingCache.open(folder.path, COLD);
  await cache.getOrEmbed(texts, embedder);
  cache.compact();
  await other.getOrEmbed(["hello"], embedder);
  assertEquals(cache.clean({ maxEntries: 40 }).byCount, 61);
  assertEquals(cache.stats().packs[0]?.deleted, 61);
  assertTrue(isSound(cache.verify()));
  const report = cache.compact();
  assertEquals([report.dropped, report.packsAfter], [61, 1]);
  assertEquals((await other.getOrEmbed(texts, embedder)).misses, 61);
  assertEquals(cache.clear().removed, 101);
  assertEquals(files(cache.stats() && folder.path, /^pack-/), []);
  assertEquals((await other.getOrEmbed(texts, embedder)).misses, 100);
});

Deno.test("a flipped bit anywhere in a pack, its table or its headers: never a wrong vector", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(12);
  const texts = textsOf(20);
  let right: Float32Array;
  {
    using cache = EmbeddingCache.open(folder.path, COLD);
    right = (await cache.getOrEmbed(texts, embedder)).matrix;
    cache.compact();
  }
  const saved = new Map<string, Uint8Array>();
  for (const name of files(folder.path, /^pack-|^packs.json$/)) {
    saved.set(name, Deno.readFileSync(`${folder.path}/vectors/${name}`));
  }
  for (const [name, whole] of saved) {
    const interesting = name.endsWith(".pack")
      ? [...range(0, 120), ...range(4096, whole.length)]
      : range(0, whole.length);
    for (const at of interesting) {
      if (at % 7 !== 0 && at > 64) continue; // every seventh byte past the headers
      const bad = whole.slice();
      bad[at]! ^= 1 << (at % 8);
      Deno.writeFileSync(`${folder.path}/vectors/${name}`, bad);
      using cache = EmbeddingCache.open(folder.path, { ...COLD, readOnly: true });
      for (const [i, text] of texts.entries()) {
        const entry = cache.get(text, embedder.identity);
        if (!entry) continue;
        assertEquals(
          entry.vector,
          right.slice(i * 12, i * 12 + 12),
          `${name} byte ${at}`,
        );
      }
      Deno.writeFileSync(`${folder.path}/vectors/${name}`, whole);
    }
  }
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

Deno.test("damage in packs heals as misses, and verify --repair mends the rest", async () => {
  const damages: Record<string, (path: string) => void> = {
    "a record": (vectors) => flip(`${vectors}/pack-1.pack`, 4096 + 100),
    "the pack's header": (vectors) => flip(`${vectors}/pack-1.pack`, 20),
    "keys of the table": (vectors) => {
      for (let at = 64; at < 64 + 200 * 32; at += 50) flip(`${vectors}/pack-1.idx`, at);
    },
    "slots of the table": (vectors) => {
      for (let at = 64 + 200 * 32; at < 64 + 200 * 32 + 300; at += 4) {
        flip(`${vectors}/pack-1.idx`, at);
      }
    },
    "the table's header": (vectors) => flip(`${vectors}/pack-1.idx`, 8),
    "a cut pack": (vectors) => Deno.truncateSync(`${vectors}/pack-1.pack`, 5000),
    "a cut table": (vectors) => Deno.truncateSync(`${vectors}/pack-1.idx`, 70),
    "no table": (vectors) => Deno.removeSync(`${vectors}/pack-1.idx`),
    "no pack": (vectors) => Deno.removeSync(`${vectors}/pack-1.pack`),
    "no manifest": (vectors) => Deno.removeSync(`${vectors}/packs.json`),
    "a garbage manifest": (vectors) =>
      Deno.writeTextFileSync(`${vectors}/packs.json`, "{"),
    "no generation": (vectors) => Deno.removeSync(`${vectors}/packs.generation`),
  };
  for (const [what, damage] of Object.entries(damages)) {
    for (const repairFirst of [false, true]) {
      await using folder = await tempFolder();
      using embedder = new DenseEmbedder(64);
      const texts = textsOf(200);
      let matrix: Float32Array;
      {
        using cache = EmbeddingCache.open(folder.path, COLD);
        matrix = (await cache.getOrEmbed(texts, embedder)).matrix;
        cache.compact();
      }
      damage(`${folder.path}/vectors`);
      const harmless = /manifest|generation/.test(what);
      assertEquals(isSound(verifyCache(folder.path)), harmless, what);
      if (repairFirst) {
        const mended = verifyCache(folder.path, { repair: true });
        const { damaged, missing, orphans } = mended;
        if (/table/.test(what)) assertEquals([damaged, missing, orphans], [[], [], []]);
        assertTrue(isSound(verifyCache(folder.path)), `${what}, repaired`);
      }
      using cache = EmbeddingCache.open(folder.path, COLD);
      const healed = await cache.getOrEmbed(texts, embedder);
      assertEquals(healed.matrix, matrix, what);
      if (!repairFirst) assertEquals(healed.healed, healed.misses, what);
      const table = /table/.test(what);
      if (repairFirst && table) assertEquals(healed.misses, 0, `${what}: built anew`);
      cache.compact();
      assertEquals((await cache.getOrEmbed(texts, embedder)).matrix, matrix, what);
      if (repairFirst) assertTrue(isSound(cache.verify()), `${what}, compacted`);
    }
  }
});

Deno.test("a garbage index is rebuilt from packs too, with their models", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(16);
  const texts = textsOf(50);
  {
    using cache = EmbeddingCache.open(folder.path, COLD);
    await cache.getOrEmbed(texts, embedder);
    cache.compact();
  }
  Deno.writeTextFileSync(`${folder.path}/index.db`, "garbage".repeat(1000));
  assertEquals(verifyCache(folder.path, { repair: true }).rebuilt?.adopted, 50);
  using cache = EmbeddingCache.open(folder.path, COLD);
  const query = cache.get(texts[7]!, embedder.identity)!;
  const best = cache.search(query.vector, 1, embedder.identity)[0]!;
  assertEquals([best.key, best.text], [query.key, null]);
  assertEquals(cache.stats().models[0]?.name, "dense");
});

Deno.test("search finds the same over packs, loose files and both", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(24);
  using cache = EmbeddingCache.open(folder.path, COLD);
  await cache.getOrEmbed(textsOf(500), embedder);
  const query = cache.get("text number 77", embedder.identity)!.vector;
  const loose = cache.search(query, 20, embedder.identity);
  assertEquals(loose[0]!.text, "text number 77");
  cache.compact();
  assertEquals(cache.search(query, 20, embedder.identity), loose);
  await cache.getOrEmbed(textsOf(300, "more"), embedder);
  const both = cache.search(query, 20, embedder.identity);
  cache.compact({ full: true });
  assertEquals(cache.search(query, 20, embedder.identity), both);
  cache.clean({ maxEntries: 300 });
  const left = cache.search(query, 800, embedder.identity);
  assertEquals(left.length, 300, "deleted records are no matches");
});

Deno.test("two compactions at once: one works, the other is told", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, COLD);
  await cache.getOrEmbed(textsOf(10), embedder);
  {
    using _lock = lockPacks(folder.path);
    const error = assertThrows(() => cache.compact(), LockedError);
    assertIncludes(error.message, String(Deno.pid));
    assertEquals(atOnce(cache.compactingIfDue({}, 1)), null);
  }
  assertEquals(atOnce(cache.compactingIfDue({}, 11)), null);
  assertEquals(atOnce(cache.compactingIfDue({}, 10))?.packed, 10);
});

Deno.test("a loose file that another process replaces amid a compaction stays", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder();
  {
    using coarse = EmbeddingCache.open(folder.path, { codec: "int8", ...COLD });
    await coarse.getOrEmbed(textsOf(40, "same"), embedder);
  }
  using cache = EmbeddingCache.open(folder.path, { codec: "f32", ...COLD });
  const path = new URL("put_child.ts", import.meta.url).pathname;
  const args = ["run", "-A", "--quiet", path, folder.path, "10", "same", "f32"];
  let replaced = false;
  const progress = (done: number, total: number) => {
    if (done < total || replaced) return; // all are read, none is removed
    replaced = new Deno.Command(Deno.execPath(), { args }).outputSync().success;
  };
  cache.compact({ progress });
  assertTrue(replaced);
  assertEquals(files(folder.path, /[.]bin$/).length, 10);
  assertEquals((await cache.getOrEmbed(textsOf(10, "same"), embedder)).misses, 0);
});

Deno.test("an aborted compaction changes nothing and leaves nothing", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, COLD);
  await cache.getOrEmbed(textsOf(1000), embedder);
  const stop = new AbortController();
  const progress = (done: number) => done > 400 && stop.abort(new Error("stop"));
  assertThrows(() => cache.compact({ signal: stop.signal, progress }), Error, /stop/);
  assertEquals(files(folder.path, /^pack-|^\.tmp/), []);
  assertEquals((await cache.getOrEmbed(textsOf(1000), embedder)).misses, 0);
});

platformTest(
  "a disk that fills up while compacting: the old state stays whole",
  async () => {
    await using disk = await btrfsScratch(64, "", ["--mixed"]);
    using embedder = new DenseEmbedder(4096);
    using cache = EmbeddingCache.open(disk.path, { codec: "f32", ...COLD });
    const texts = textsOf(1600);
    const { matrix } = await cache.getOrEmbed(texts, embedder);
    const error = assertThrows(() => cache.compact(), OpError);
    assertEquals(error.code, "no_space");
    assertEquals(files(disk.path, /^pack-|^\.tmp/), []);
    assertEquals((await cache.getOrEmbed(texts, embedder)).matrix, matrix);
    assertTrue(isSound(cache.verify()));
  },
);
