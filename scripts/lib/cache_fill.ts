/** Fills a cache with many dense vectors fast: straight into packs, rows in bulk. */
import { atOnce } from "../../lib/base/slices.ts";
import { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import { CODECS, encodeVector } from "../../lib/cache/codec.ts";
import { CacheIndex } from "../../lib/cache/index.ts";
import { VectorKeys } from "../../lib/cache/key.ts";
import { LooseStore } from "../../lib/cache/loose.ts";
import { PackSet } from "../../lib/cache/pack_set.ts";
import { PackWriter } from "../../lib/cache/pack_writer.ts";
import type { Embedder, EmbedResult, ModelIdentity } from "../../lib/embed/embedder.ts";

/** What the benches store vectors of. */
export const BENCH_IDENTITY: ModelIdentity = {
  name: "bench-dense",
  digest: "b".repeat(64),
  dimensions: 384,
  pooling: "mean",
  normalisation: "l2",
  prefix: "",
  maxTokens: 256,
};

/** Text number `i`, about 50 characters. */
export function benchText(i: number): string {
  return `a text of some fifty characters, the one number ${i}`;
}

/** A fresh string each time, as texts from outside are: V8 has not hashed it yet. */
export function freshText(i: number): string {
  return `a text of some fifty characters, the one number ${i}`;
}

/** A dense unit vector for a number; cheap, the same each time. */
export function benchVector(i: number, into: Float32Array, at = 0): void {
  const d = BENCH_IDENTITY.dimensions;
  let state = Math.imul(i + 1, 0x9e3779b1) | 1;
  let squares = 0;
  for (let j = 0; j < d; j++) {
    let sum = 0;
    for (let k = 0; k < 3; k++) { // a sum of uniform numbers is near enough to normal
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      sum += state / 0x80000000;
    }
    into[at + j] = sum;
    squares += sum * sum;
  }
  const scale = 1 / Math.sqrt(squares);
  for (let j = 0; j < d; j++) into[at + j]! *= scale;
}

/** Gives {@link benchVector}s; its texts are {@link benchText}s. */
export class BenchEmbedder implements Embedder {
  readonly identity = BENCH_IDENTITY;
  embed(texts: readonly string[]): Promise<EmbedResult> {
    const d = BENCH_IDENTITY.dimensions;
    const matrix = new Float32Array(texts.length * d);
    texts.forEach((text, i) => {
      const number = /(\d+)$/.exec(text)?.[1] ?? "0";
      benchVector(Number(number), matrix, i * d);
    });
    return Promise.resolve({ matrix, tokens: texts.length, truncated: 0 });
  }
  [Symbol.dispose](): void {}
}

/** Makes a cache of `count` int12 vectors in one pack. @param folder exists, empty */
export function fillPacked(folder: string, count: number): void {
  EmbeddingCache.open(folder).close();
  using loose = new LooseStore(`${folder}/vectors`);
  using packs = new PackSet(loose.folderFd, loose.path, () => loose.names(), false);
  using index = CacheIndex.open(`${folder}/index.db`, { durability: "relaxed" });
  const d = BENCH_IDENTITY.dimensions;
  const keys = new VectorKeys(BENCH_IDENTITY);
  using writer = new PackWriter(loose.folderFd, 1, CODECS.int12, d, BENCH_IDENTITY);
  const vector = new Float32Array(d), key = new Uint8Array(32);
  const nowMs = Date.now();
  const rows: { key: string; text: string }[] = [];
  for (let i = 0; i < count; i++) {
    const text = benchText(i), hex = keys.of(text);
    benchVector(i, vector);
    key.setFromHex(hex);
    writer.add(key, encodeVector(vector, CODECS.int12).payload);
    rows.push({ key: hex, text });
  }
  atOnce(writer.publish());
  packs.publish([1]);
  rows.sort((a, b) => (a.key < b.key ? -1 : 1)); // in key order, so that pages fill up
  index.transaction(() => {
    const model = index.modelId(BENCH_IDENTITY);
    for (const { key, text } of rows) {
      index.put(
        { key, codec: CODECS.int12.id, dimensions: d, sizeBytes: 580, text },
        model,
        nowMs,
      );
    }
  });
  index.checkpoint();
}
