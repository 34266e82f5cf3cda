/** The cache's basic operations against the seed's literal way (../lib/seed_baseline.ts). */
import type { EmbeddingCache } from "../../lib/cache/embedding_cache.ts";
import type { Embedder } from "../../lib/embed/embedder.ts";
import {
  type Bench,
  type BenchContext,
  type Rounds,
  type Row,
  row,
  sideBySide,
} from "../bench_kit.ts";
import type { SeedCache } from "../lib/seed_baseline.ts";

const ENTRIES = 10_000;
const SEED = "the seed's literal path";
const PER_CALL = 1000; // texts timed per candidate and round
const ROUNDS: Rounds = { rounds: 11, warmup: 2 };
const MICRO = 1000 / PER_CALL; // milliseconds of a round to microseconds of a text

/** Both caches with the same entries, and the texts. */
interface Filled extends Disposable {
  readonly texts: readonly string[];
  readonly embedder: Embedder;
  readonly seed: SeedCache;
  open(arenaBytes: number): EmbeddingCache;
}

const textsNamed = (name: string, count: number) =>
  Array.from(
    { length: count },
    (_, i) => `${name} ${i}: rule ${i * 7919 % 65536} on eth0`,
  );

async function fill({ scratch, note }: BenchContext): Promise<Filled> {
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const { BuiltinEmbedder } = await import("../../lib/embed/builtin.ts");
  const { SeedCache } = await import("../lib/seed_baseline.ts");
  const folder = `${scratch}/ours`;
  await Deno.mkdir(folder);
  await Deno.mkdir(`${scratch}/seed`);
  const embedder = new BuiltinEmbedder();
  const texts = textsNamed("entry", ENTRIES);
  note(`filling both caches with ${ENTRIES} texts`);
  using cache = EmbeddingCache.open(folder, { arenaBytes: 0 });
  const { matrix } = await cache.getOrEmbed(texts, embedder);
  const seed = new SeedCache(`${scratch}/seed`);
  seed.put(texts, matrix);
  return {
    texts,
    embedder,
    seed,
    open: (arenaBytes) => EmbeddingCache.open(folder, { arenaBytes }),
    [Symbol.dispose]: () => seed[Symbol.dispose](),
  };
}

/** Texts in an order that no cache of the disk could foresee, the same for everybody. */
function* picks(texts: readonly string[]): Generator<string> {
  for (let at = 1;; at = at * 48271 % 2147483647) yield texts[at % texts.length]!;
}

function take(from: Generator<string>, count: number): string[] {
  return Array.from({ length: count }, () => from.next().value as string);
}

function seedHits(seed: SeedCache, from: Generator<string>) {
  return () => {
    for (const text of take(from, PER_CALL)) {
      if (!seed.get(text)) throw new Error("the baseline lost an entry");
    }
  };
}

async function hits(context: BenchContext): Promise<Row[]> {
  using filled = await fill(context);
  const { texts, embedder, seed } = filled;
  using loose = filled.open(0);
  using memory = filled.open(256 * 1024 * 1024);
  await memory.getOrEmbed(texts, embedder);
  const from = picks(texts);
  const [one, batch, hot, theirs] = await sideBySide([
    async () => {
      for (const text of take(from, PER_CALL)) await loose.getOrEmbed([text], embedder);
    },
    () => loose.getOrEmbed(take(from, PER_CALL), embedder),
    () => {
      for (const text of take(from, PER_CALL)) {
        if (!memory.peek(text, embedder.identity)) throw new Error("not in memory");
      }
    },
    seedHits(seed, from),
  ], ROUNDS);
  const peer = { name: SEED, value: theirs! * MICRO };
  return [
    row("cache-basic/loose", "µs", "lower", one! * MICRO, peer),
    row("cache-basic/loose-batch-of-1000", "µs", "lower", batch! * MICRO, peer),
    row("cache-basic/memory", "µs", "lower", hot! * MICRO, peer),
  ];
}

async function puts(context: BenchContext): Promise<Row[]> {
  using filled = await fill(context);
  const { embedder, seed } = filled;
  using cache = filled.open(0);
  let round = 0;
  const fresh = () => textsNamed(`put ${round++}`, PER_CALL);
  const [compute, ours, theirs] = await sideBySide([
    () => embedder.embed(fresh()),
    () => cache.getOrEmbed(fresh(), embedder),
    async () => {
      const texts = fresh();
      seed.put(texts, (await embedder.embed(texts)).matrix);
    },
  ], ROUNDS);
  const peer = { name: `${SEED}, nothing flushed`, value: (theirs! - compute!) * MICRO };
  return [
    row("cache-put/durable", "µs", "lower", (ours! - compute!) * MICRO, peer),
  ];
}

async function batch(context: BenchContext): Promise<Row[]> {
  using filled = await fill(context);
  const { texts, embedder, seed } = filled;
  using cache = filled.open(256 * 1024 * 1024);
  const half = texts.slice(0, ENTRIES / 2);
  const wanted = [...half, ...half];
  const [ours, theirs] = await sideBySide([
    () => cache.getOrEmbed(wanted, embedder),
    () => {
      for (const text of wanted) seed.get(text);
    },
  ], { rounds: 5, warmup: 1 });
  const peer = { name: SEED, value: theirs! };
  return [row("cache-batch/10000-half-duplicates", "ms", "lower", ours!, peer)];
}

export const benches: Bench[] = [
  { name: "cache-basic", about: "hits from loose files and memory", run: hits },
  { name: "cache-put", about: "storing vectors, computing not counted", run: puts },
  { name: "cache-batch", about: "10,000 texts at once, half of them twice", run: batch },
];
