/** The cache's hit path, by layer and by size, against what a user might pick instead. */
import {
  type Bench,
  type BenchContext,
  median,
  type Row,
  row,
  sideBySide,
  type Target,
  wanted,
} from "../bench_kit.ts";

const LOOKUPS = 5000;
/** OPDBUS_BENCH_LARGE=0 leaves out a million entries (it takes minutes and 5 GB). */
const SIZES = Deno.env.get("OPDBUS_BENCH_LARGE") === "0"
  ? [10_000, 100_000]
  : [10_000, 100_000, 1_000_000];
const ROUNDS = { rounds: 9, warmup: 3 };
/** The stores of others are filled up to this many: a million takes them too long. */
const PEER_LIMIT = 100_000;

/** The figure at the largest size beside the one at the smallest. */
function growth(
  name: string,
  unit: string,
  better: Row["better"],
  values: readonly number[],
): Row {
  return row(name, unit, better, values.at(-1)!, {
    name: `the same at ${SIZES[0]} entries`,
    value: values[0]!,
  });
}

/** Fresh strings every time: a text from outside was never looked up before. */
function drawTexts(
  count: number,
  below: number,
  textOf: (i: number) => string,
): string[] {
  return Array.from({ length: count }, () => textOf(Math.floor(Math.random() * below)));
}

/** Times `use` over texts drawn anew in each round; drawing is not timed. */
function perTextUs(
  below: number,
  textOf: (i: number) => string,
  use: (text: string) => Float32Array | null | undefined,
): number {
  const times: number[] = [];
  for (let round = -3; round < 9; round++) {
    const texts = drawTexts(LOOKUPS, below, textOf);
    let sum = 0;
    const begun = performance.now();
    for (const text of texts) sum += use(text)![0]!;
    if (round >= 0) times.push((performance.now() - begun) * 1000 / LOOKUPS);
    if (Number.isNaN(sum)) throw new Error("A vector that is not a number");
  }
  return median(times);
}

interface Hits {
  readonly arenaUs: number;
  readonly mapUs: number;
  readonly packUs: number;
}

/** Our own layers, and a Map of the same vectors. */
async function ownHits(folder: string, size: number): Promise<Hits> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const { BENCH_IDENTITY: identity, fillPacked, freshText } = await import(
    "../lib/cache_fill.ts"
  );
  fillPacked(folder, size);
  using packs = EmbeddingCache.open(folder, { arenaBytes: 0 });
  const one = new Float32Array(identity.dimensions);
  const packUs = perTextUs(size, freshText, (text) => packs.lookup(text, identity, one));
  using arena = EmbeddingCache.open(folder, { arenaBytes: size * 1536 });
  const map = new Map<string, Float32Array>();
  for (let i = 0; i < size; i++) {
    const vector = arena.lookup(freshText(i), identity);
    if (!vector) throw new Error("No hit");
    map.set(freshText(i), vector);
  }
  const arenaUs = perTextUs(size, freshText, (text) => arena.peek(text, identity));
  const mapUs = perTextUs(size, freshText, (text) => map.get(text));
  return { arenaUs, mapUs, packUs };
}

async function hits({ scratch, note }: BenchContext): Promise<Row[]> {
  const { freshText } = await import("../lib/cache_fill.ts");
  const { installPeers, peerUs, redisUs } = await import("./cache_peers/peers.ts");
  await installPeers(note);
  const rows: Row[] = [];
  const sizes: Hits[] = [];
  for (const size of SIZES) {
    note(`${size} entries`);
    const folder = `${scratch}/hits-${size}`;
    Deno.mkdirSync(folder);
    const ours = await ownHits(folder, size);
    sizes.push(ours);
    const { arenaUs, mapUs, packUs } = ours;
    const add = (
      name: string,
      us: number,
      peer?: string,
      value?: number,
      target?: Target,
    ) => {
      const against = peer === undefined ? undefined : { name: peer, value: value! };
      const found = row(`cache-hit/${name}@${size}`, "µs", "lower", us, against);
      rows.push(target ? wanted(found, target) : found);
    };
    add("arena", arenaUs, "a plain Map", mapUs, { most: 1.5, of: "ratio" });
    if (size > PEER_LIMIT) add("pack", packUs);
    else {
      const peers = `${folder}/peers`;
      const lmdbUs = await peerUs("lmdb", peers, size, LOOKUPS);
      add("pack", packUs, "lmdb in Node", lmdbUs, { most: 1, of: "ratio" });
      const sqliteUs = await peerUs("sqlite", peers, size, LOOKUPS);
      add("pack-sqlite", packUs, "better-sqlite3 in Node", sqliteUs);
      const redis = await redisUs(folder, size, freshText);
      if (redis === null) note("Redis is not installed: no figure against it");
      else add("pack-redis", packUs, "Redis MGET of 1000 over a unix socket", redis);
    }
    Deno.removeSync(folder, { recursive: true });
  }
  for (const name of ["arenaUs", "packUs", "mapUs"] as const) {
    rows.push(
      growth(`cache-hit/growth-${name}`, "µs", "lower", sizes.map((s) => s[name])),
    );
  }
  return rows;
}

async function seed({ scratch }: BenchContext): Promise<Row[]> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const { SeedCache } = await import("../lib/seed_baseline.ts");
  const fill = await import("../lib/cache_fill.ts");
  const { BENCH_IDENTITY: identity, benchText, freshText } = fill;
  const count = 10_000;
  const [ours, theirs] = [`${scratch}/ours`, `${scratch}/seed`];
  Deno.mkdirSync(ours);
  Deno.mkdirSync(theirs);
  using embedder = new fill.BenchEmbedder();
  using loose = EmbeddingCache.open(ours, { arenaBytes: 0 });
  const texts = Array.from({ length: count }, (_, i) => benchText(i));
  const begun = performance.now();
  const { matrix } = await loose.getOrEmbed(texts, embedder);
  const putUs = (performance.now() - begun) * 1000 / count;
  using old = new SeedCache(theirs);
  const seedBegun = performance.now();
  old.put(texts, matrix);
  const seedPutUs = (performance.now() - seedBegun) * 1000 / count;
  using hot = EmbeddingCache.open(ours);
  await hot.getOrEmbed(texts, embedder);
  const one = new Float32Array(identity.dimensions);
  const measure = (use: (text: string) => Float32Array | null | undefined) =>
    perTextUs(count, freshText, use);
  const looseUs = measure((text) => loose.lookup(text, identity, one));
  const seedUs = measure((text) => old.get(text));
  const hotUs = measure((text) => hot.peek(text, identity));
  const twice = [
    ...drawTexts(5000, count, freshText),
    ...drawTexts(5000, count, freshText),
  ];
  const [batchMs, loopMs] = await sideBySide([
    () => hot.getOrEmbed(twice, embedder),
    () => twice.forEach((text) => old.get(text)),
  ], { rounds: 3, warmup: 1 });
  const peer = (value: number) => ({ name: "the seed's path", value });
  return [
    row("cache-seed/loose-hit", "µs", "lower", looseUs, peer(seedUs)),
    wanted(row("cache-seed/memory-hit", "µs", "lower", hotUs, peer(seedUs)), {
      most: 1 / 50,
      of: "ratio",
    }),
    row("cache-seed/put", "µs", "lower", putUs, peer(seedPutUs)),
    row("cache-seed/batch-10000-duplicates", "ms", "lower", batchMs!, peer(loopMs!)),
  ];
}

/** Vectors per second of one call, from packs, from memory, and from a Map. */
async function bulkOf(folder: string, size: number, calls: number): Promise<number[]> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const fill = await import("../lib/cache_fill.ts");
  Deno.mkdirSync(folder);
  fill.fillPacked(folder, size);
  const count = Math.min(size, BULK);
  using embedder = new fill.BenchEmbedder();
  using packs = EmbeddingCache.open(folder, { arenaBytes: 0 });
  using arena = EmbeddingCache.open(folder, { arenaBytes: size * 1536 });
  const into = new Float32Array(count * 384);
  const map = new Map<string, Float32Array>();
  for (let from = 0; from < size; from += count) {
    const some = Array.from({ length: count }, (_, i) => fill.freshText(from + i));
    await arena.getOrEmbed(some, embedder, { into });
    // Beyond this the copies would be no cache but a second gigabyte.
    if (size > BULK) continue;
    some.forEach((text, i) => map.set(text, into.slice(i * 384, (i + 1) * 384)));
  }
  const times: number[][] = [[], [], []];
  for (let round = -2; round < calls; round++) {
    const ways: (() => unknown)[] = [
      () => packs.getOrEmbed(texts, embedder, { into }),
      () => arena.getOrEmbed(texts, embedder, { into }),
      () => texts.forEach((text, i) => into.set(map.get(text) ?? [], i * 384)),
    ];
    let texts: string[] = [];
    for (const [i, way] of ways.entries()) {
      texts = drawTexts(count, size, fill.freshText);
      const begun = performance.now();
      await way();
      if (round >= 0) times[i]!.push(count / (performance.now() - begun) * 1000);
    }
  }
  return times.map(median);
}

const BULK = 100_000;

async function bulk({ scratch, note }: BenchContext): Promise<Row[]> {
  const rows: Row[] = [];
  const all: number[][] = [];
  for (const size of SIZES) {
    note(`${size} entries`);
    const folder = `${scratch}/bulk-${size}`;
    const found = await bulkOf(folder, size, 7);
    Deno.removeSync(folder, { recursive: true });
    all.push(found);
    for (const [i, name] of ["packs", "arena"].entries()) {
      const peer = { name: "a loop over a Map, copying", value: found[2]! };
      const against = size > BULK ? undefined : peer;
      const figure = row(
        `cache-bulk/${name}@${size}`,
        "vectors/s",
        "higher",
        found[i]!,
        against,
      );
      rows.push(size === BULK ? wanted(figure, { least: 400_000 }) : figure);
    }
  }
  for (const [i, name] of ["packs", "arena"].entries()) {
    const values = all.map((found) => found[i]!);
    rows.push(growth(`cache-bulk/growth-${name}`, "vectors/s", "higher", values));
  }
  return rows;
}

async function searching({ scratch }: BenchContext): Promise<Row[]> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const fill = await import("../lib/cache_fill.ts");
  const count = 100_000;
  const folder = `${scratch}/search`;
  Deno.mkdirSync(folder);
  fill.fillPacked(folder, count);
  using cache = EmbeddingCache.open(folder, { arenaBytes: 0 });
  const query = new Float32Array(384);
  fill.benchVector(4711, query);
  const { BENCH_IDENTITY: identity } = fill;
  const [simd, plain] = await sideBySide([
    () => cache.search(query, 10, identity),
    () => cache.search(query, 10, identity, undefined, { byHand: true }),
  ], { ...ROUNDS, rounds: 5, warmup: 1 });
  return [row("cache-search/exact-top-10@100000", "ms", "lower", simd!, {
    name: "the same in plain JavaScript",
    value: plain!,
  })];
}

export const benches: Bench[] = [
  { name: "cache-hit", about: "hits from arena and packs by size, and peers", run: hits },
  { name: "cache-seed", about: "loose and memory hits against the seed's", run: seed },
  { name: "cache-bulk", about: "up to 100,000 texts in one call, by size", run: bulk },
  { name: "cache-search", about: "exact top 10 of 100,000, SIMD or not", run: searching },
];
