/** The files of packs, byte by byte, as lib/cache/pack_format.ts describes them. */
import { crc32 } from "node:zlib";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { tempFolder } from "../support/scratch.ts";
import { EmbeddingCache, verifyCache } from "../../lib/cache/embedding_cache.ts";
import { CODECS } from "../../lib/cache/codec.ts";
import { packHeader, parsePackHeader } from "../../lib/cache/pack_format.ts";
import { isSound } from "../../lib/cache/verify.ts";
import { COLD, DenseEmbedder, files, flip, textsOf } from "./support.ts";

/** Writes a pack as op-dbus did before the keys moved into the idx. */
function asVersion1(vectors: string, number: number): void {
  const path = (ending: string) => `${vectors}/pack-${number}.${ending}`;
  const pack = Deno.readFileSync(path("pack")), idx = Deno.readFileSync(path("idx"));
  const view = new DataView(pack.buffer), idxView = new DataView(idx.buffer);
  const payload = view.getUint32(20, true), record = view.getUint32(24, true);
  const count = view.getUint32(28, true), oldRecord = (32 + payload + 4 + 3) & ~3;
  const old = new Uint8Array(4096 + count * oldRecord);
  const oldView = new DataView(old.buffer);
  old.set(pack.subarray(0, 4096));
  oldView.setUint32(8, 1, true);
  oldView.setUint32(24, oldRecord, true);
  const identity = old.subarray(40, 40 + view.getUint32(32, true));
  const crc = crc32(identity, crc32(old.subarray(0, 36)));
  oldView.setUint32(36, crc, true);
  for (let i = 0; i < count; i++) {
    const at = 4096 + i * oldRecord, from = 4096 + i * record + 4;
    old.set(idx.subarray(64 + i * 32, 96 + i * 32), at);
    old.set(pack.subarray(from, from + payload), at + 32);
    const content = old.subarray(at, at + 32 + payload);
    oldView.setUint32(at + 32 + payload, crc32(content), true);
  }
  const slots = idx.subarray(64 + count * 32);
  const oldIdx = new Uint8Array(64 + slots.length);
  const oldIdxView = new DataView(oldIdx.buffer);
  oldIdx.set(new TextEncoder().encode("OPDVIDX1"));
  const fields = [count, idxView.getUint32(20, true), idxView.getUint32(24, true), crc];
  [...fields, crc32(slots)].forEach((x, i) => oldIdxView.setUint32(8 + i * 4, x, true));
  oldIdxView.setUint32(28, crc32(oldIdx.subarray(0, 28)), true);
  oldIdx.set(slots, 64);
  Deno.writeFileSync(path("pack"), old);
  Deno.writeFileSync(path("idx"), oldIdx);
}

Deno.test("a pack of the first format is read, mended, searched, and merged into a new one", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(24);
  const texts = textsOf(90), more = textsOf(60, "more");
  let right: Float32Array;
  const vectors = `${folder.path}/vectors`;
  {
    using cache = EmbeddingCache.open(folder.path, COLD);
    right = (await cache.getOrEmbed(texts, embedder)).matrix;
    cache.compact();
    asVersion1(vectors, 1);
  }
  Deno.truncateSync(`${vectors}/pack-1.idx`, 70);
  assertEquals(verifyCache(folder.path, { repair: true }).packs, [1]);
  using cache = EmbeddingCache.open(folder.path, COLD);
  const old = await cache.getOrEmbed(texts, embedder);
  assertEquals([old.misses, old.matrix], [0, right]);
  assertTrue(isSound(cache.verify()));
  const query = cache.get(texts[5]!, embedder.identity)!.vector;
  assertEquals(cache.search(query, 1, embedder.identity)[0]!.text, texts[5]!);
  flip(`${vectors}/pack-1.pack`, 4096 + 50);
  assertEquals((await cache.getOrEmbed(texts, embedder)).healed, 1);
  await cache.getOrEmbed(more, embedder);
  assertEquals(cache.compact().packsAfter, 1);
  const merged = await cache.getOrEmbed([...texts, ...more], embedder);
  assertEquals([merged.misses, merged.matrix.slice(0, right.length)], [0, right]);
  const [name] = files(folder.path, /[.]pack$/);
  assertEquals(Deno.readFileSync(`${vectors}/${name}`)[8], 2, "the new format");
});

Deno.test("the idx holds the full keys, and its header version and codec", async () => {
  await using folder = await tempFolder();
  using embedder = new DenseEmbedder(384);
  using cache = EmbeddingCache.open(folder.path, COLD);
  const texts = textsOf(1000);
  await cache.getOrEmbed(texts, embedder);
  cache.compact();
  const idx = Deno.readFileSync(`${folder.path}/vectors/pack-1.idx`);
  const view = new DataView(idx.buffer);
  assertEquals([8, 12, 16].map((at) => view.getUint32(at, true)), [2, 4, 1000]);
  const keys = new Set(
    Array.from(texts, (_, i) => idx.subarray(64 + i * 32, 96 + i * 32).toHex()),
  );
  for (const text of texts) {
    assertTrue(keys.has(cache.get(text, embedder.identity)!.key), text);
  }
  const { size } = Deno.statSync(`${folder.path}/vectors/pack-1.pack`);
  assertTrue(size - 4096 <= 600 * texts.length, `${size} bytes`);
});

Deno.test("a header whose model is no JSON is none, though its checksum is right", () => {
  using embedder = new DenseEmbedder(8);
  const { identity } = embedder;
  const header = packHeader(CODECS.f32, 8, 32, 0, identity)!;
  assertEquals(parsePackHeader(header, 4096)?.identity, identity);
  const length = new DataView(header.buffer).getUint32(32, true);
  for (const text of ["no json", "null", "[1]", '{"name":"x"}']) {
    const bent = new Uint8Array(header), view = new DataView(bent.buffer);
    const json = bent.subarray(40, 40 + length).fill(0x20);
    new TextEncoder().encodeInto(text, json);
    view.setUint32(36, crc32(json, crc32(bent.subarray(0, 36))), true);
    assertEquals(parsePackHeader(bent, 4096), null, text);
  }
});
