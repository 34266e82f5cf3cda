import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";
import { btrfsScratch, platformTest, tempFolder } from "../support/scratch.ts";
import { InputError } from "../../lib/base/errors.ts";
import { atOnce } from "../../lib/base/slices.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { allowedNodes } from "../../ffi/mempolicy.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  fadvise,
  O_RDONLY,
  open,
  POSIX_FADV_DONTNEED,
  syncfs,
  withFd,
} from "../../ffi/files.ts";
import { DenseEmbedder, textsOf } from "./support.ts";

const COLD = { arenaBytes: 0, durability: "relaxed" } as const;

/** Has the kernel forget a pack's pages; nothing may have them mapped. */
function evict(folder: string): void {
  for (const { name } of Deno.readDirSync(`${folder}/vectors`)) {
    if (!name.startsWith("pack-")) continue;
    withFd(open(`${folder}/vectors/${name}`, O_RDONLY), (fd) => {
      syncfs(fd);
      fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    });
  }
}

platformTest("warm brings in what was used last, within its limit", async () => {
  await using disk = await btrfsScratch(300);
  using embedder = new DenseEmbedder(384);
  const texts = textsOf(3000);
  {
    using cache = EmbeddingCache.open(disk.path, COLD);
    await cache.getOrEmbed(texts, embedder);
    cache.compact();
    await cache.getOrEmbed(texts.slice(500, 600), embedder);
  }
  evict(disk.path);
  using cache = EmbeddingCache.open(disk.path, COLD);
  const limitBytes = 600 * 1024;
  const report = cache.warm({ by: "frequency", limitBytes });
  assertTrue(report.bytes <= limitBytes, `${report.bytes}`);
  assertTrue(report.vectors >= 100 && report.vectors < 2000, `${report.vectors}`);
  assertTrue(report.residentAfterBytes >= report.bytes - 64 * 1024);
  const pack = cache.stats().packs[0]!;
  assertTrue(pack.residentBytes < pack.bytes, "not all of it");
  const all = cache.warm({ by: "recency", limitBytes: 2 ** 30 });
  assertEquals([all.vectors, all.residentAfterBytes], [3000, all.totalBytes]);
  assertEquals(cache.warm({ by: "recency", limitBytes: 0 }).vectors, 0);
  assertThrows(() => cache.warm({ by: "recency", limitBytes: -1 }), InputError);
});

platformTest("a large batch from a cold disk is right, and so is its order", async () => {
  await using disk = await btrfsScratch(300);
  using embedder = new DenseEmbedder(384);
  const texts = textsOf(2000);
  let matrix: Float32Array;
  {
    using cache = EmbeddingCache.open(disk.path, COLD);
    matrix = (await cache.getOrEmbed(texts, embedder)).matrix;
    cache.compact();
  }
  evict(disk.path);
  using cache = EmbeddingCache.open(disk.path, COLD);
  const shuffled = texts.map((_, i) => (i * 733) % texts.length);
  const result = await cache.getOrEmbed(shuffled.map((i) => texts[i]!), embedder);
  assertEquals(result.diskHits, 2000);
  shuffled.forEach((i, row) => {
    const [a, b] = [result.matrix.subarray(row * 384, row * 384 + 384), i * 384];
    assertTrue(a.every((x, j) => x === matrix[b + j]), `row ${row}`);
  });
});

Deno.test("uses of packed entries outlive the process and the merge of their pack", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(8);
  using cache = EmbeddingCache.open(folder.path, COLD);
  await cache.getOrEmbed(textsOf(50), embedder);
  cache.compact();
  await cache.getOrEmbed(["text number 7"], embedder);
  cache.flush();
  await cache.getOrEmbed(textsOf(50, "more"), embedder);
  await cache.getOrEmbed(["text number 9"], embedder); // not flushed when its pack goes
  cache.compact({ full: true });
  const later = Date.now() + 10 * 60_000;
  const dry = (olderThanMs: number) =>
    cache.clean({ olderThanMs, dryRun: true, nowMs: later }).removed;
  assertEquals(dry(20 * 60_000), 0);
  assertEquals(dry(60_000), 100);
  assertEquals(cache.clean({ maxEntries: 100, dryRun: true }).removed, 0);
  const ages = cache.stats().ages;
  assertEquals(ages.reduce((sum, { entries }) => sum + entries, 0), 100);
});

Deno.test("the arena's memory is where it was placed, and hits are counted by node", async () => {
  let node: number;
  try {
    node = allowedNodes()[0]!;
  } catch (error) {
    if (isSysError(error, "ENOSYS")) return; // a kernel without NUMA has nowhere to place
    throw error;
  }
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(384);
  const placement = { nodes: [node], policy: "bind" as const, cpus: [], reason: "" };
  using cache = EmbeddingCache.open(folder.path, { placement, arenaBytes: 2 ** 22 });
  await cache.getOrEmbed(textsOf(100), embedder);
  for (let i = 0; i < 3; i++) await cache.getOrEmbed(textsOf(100), embedder);
  cache.flush();
  await cache.getOrEmbed(textsOf(100), embedder);
  const [arena] = cache.arenas();
  assertEquals([arena!.proof!.policy, arena!.proof!.policyNodes], ["bind", [node]]);
  assertEquals(arena!.proof!.pages.get(node), Math.ceil(100 * 1536 / 4096));
  assertEquals([...arena!.hitsByNode], [[node, 400]]);
  using other = EmbeddingCache.open(folder.path);
  assertEquals(atOnce(other.warmArena(embedder.identity, 60)), 60);
  assertEquals(other.arenas()[0]!.vectors, 60);
});

Deno.test("the memory is filled with what was used last, packed or loose", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(384);
  const packed = textsOf(100, "packed"), loose = textsOf(5, "loose");
  {
    using cache = EmbeddingCache.open(folder.path);
    await cache.getOrEmbed(packed, embedder);
    cache.compact();
    await cache.getOrEmbed(loose, embedder);
    const live = cache.live(), all = cache.stats();
    assertEquals([live.entries, live.vectorBytes], [all.entries, all.vectorBytes]);
    assertEquals([live.looseFiles, live.packs], [5, all.packs]);
  }
  // What each record's use file says, in minutes: all but ten were used long ago.
  const uses = `${folder.path}/vectors/pack-1.use`;
  const minutes = new Uint32Array((await Deno.readFile(uses)).buffer);
  const hot = [3, 14, 15, 26, 35, 58, 64, 79, 83, 99];
  for (let record = 0; record < 100; record++) {
    if (!hot.includes(record)) minutes[record * 2 + 1]! -= 1000;
  }
  await Deno.writeFile(uses, new Uint8Array(minutes.buffer));
  using cache = EmbeddingCache.open(folder.path);
  assertEquals(atOnce(cache.warmArena(embedder.identity, 15)), 15);
  const inMemory = (text: string) => cache.peek(text, embedder.identity) !== undefined;
  assertEquals(loose.filter(inMemory), loose);
  assertEquals(packed.filter(inMemory).length, 10);
  assertEquals(atOnce(cache.warmArena(embedder.identity, 1000)), 90);
  assertEquals(packed.filter(inMemory), packed);
  // Filling is no use: the next start finds the same set.
  using again = EmbeddingCache.open(folder.path);
  await Deno.writeFile(uses, new Uint8Array(minutes.buffer));
  atOnce(again.warmArena(embedder.identity, 1000));
  again.flush();
  const after = new Uint32Array((await Deno.readFile(uses)).buffer);
  assertEquals(after, minutes);
});
