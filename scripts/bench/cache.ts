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

type Use = (text: string) => Float32Array | null | undefined;

/**
 * Times `uses` over texts drawn anew in each round, in turn, so that a slow moment of the
 * machine hits all of them; drawing is not timed.
 *
 * @returns µs per text, in the order of the uses
 */
function perTextUs(
  below: number,
  textOf: (i: number) => string,
  uses: readonly Use[],
): number[] {
  const times: number[][] = uses.map(() => []);
  for (let round = -3; round < 9; round++) {
    uses.forEach((use, i) => {
      const before = drawTexts(LOOKUPS, below, textOf);
      const texts = drawTexts(LOOKUPS, below, textOf);
      let sum = 0;
      for (const text of before) sum += use(text)![0]!; // the others emptied the caches
      const begun = performance.now();
      for (const text of texts) sum += use(text)![0]!;
      if (round >= 0) times[i]!.push((performance.now() - begun) * 1000 / LOOKUPS);
      if (Number.isNaN(sum)) throw new Error("A vector that is not a number");
    });
  }
  return times.map(median);
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
  using arena = EmbeddingCache.open(folder, { arenaBytes: size * 1536 });
  const map = new Map<string, Float32Array>();
  for (let i = 0; i < size; i++) {
    const vector = arena.lookup(freshText(i), identity);
    if (!vector) throw new Error("No hit");
    map.set(freshText(i), vector);
  }
  const [packUs, arenaUs, mapUs] = perTextUs(size, freshText, [
    (text) => packs.lookup(text, identity, one),
    (text) => arena.peek(text, identity),
    (text) => map.get(text),
  ]);
  return { arenaUs: arenaUs!, mapUs: mapUs!, packUs: packUs! };
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
  const [looseUs, seedUs, hotUs] = perTextUs(count, freshText, [
    (text) => loose.lookup(text, identity, one),
    (text) => old.get(text),
    (text) => hot.peek(text, identity),
  ]) as [number, number, number];
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

/**
 * Vectors per second of one call: from packs, from memory, by a Map, and by number, which
 * is what the memory itself allows.
 */
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
  // Views of the arena's own memory: copies would be a second gigabyte.
  const map = new Map<string, Float32Array>();
  const all: Float32Array[] = [];
  for (let from = 0; from < size; from += count) {
    const some = Array.from({ length: count }, (_, i) => fill.freshText(from + i));
    await arena.getOrEmbed(some, embedder, { into });
    for (const text of some) {
      const view = arena.peek(text, fill.BENCH_IDENTITY)!;
      map.set(text, view);
      all.push(view);
    }
  }
  const times: number[][] = [[], [], [], []];
  for (let round = -2; round < calls; round++) {
    const ways: (() => unknown)[] = [
      () => packs.getOrEmbed(texts, embedder, { into }),
      () => arena.getOrEmbed(texts, embedder, { into }),
      () => texts.forEach((text, i) => into.set(map.get(text) ?? [], i * 384)),
      () => numbers.forEach((number, i) => into.set(all[number]!, i * 384)),
    ];
    const numbers = Uint32Array.from({ length: count }, () => Math.random() * size);
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
      const figure = row(
        `cache-bulk/${name}@${size}`,
        "vectors/s",
        "higher",
        found[i]!,
        peer,
      );
      rows.push(size === BULK ? wanted(figure, { least: 400_000 }) : figure);
    }
    const copies = row(
      `cache-bulk/copies-alone@${size}`,
      "vectors/s",
      "higher",
      found[3]!,
    );
    rows.push(copies);
  }
  for (const [i, name] of ["packs", "arena", "map", "copies-alone"].entries()) {
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
