/** ONNX embeddings against onnxruntime-node, onnxruntime-web and transformers.js. */
import { type Bench, type BenchContext, median, type Row, row } from "../bench_kit.ts";
import type { Peer } from "./onnx_peers/peer.ts";

/** Threads of every native engine: what the machine has, at most these. */
const THREADS = Math.min(navigator.hardwareConcurrency, 4);
const PRECISIONS = ["fp32", "int8"] as const;
type Precision = typeof PRECISIONS[number];
/** transformers.js's names for them. */
const DTYPES = { fp32: "fp32", int8: "q8" } as const;
/** Batch size that transformers.js's own documentation uses. */
const PEER_BATCH = 32;

/** Calls per round: a hit is too short for a clock, and for one that is not compiled yet. */
const HITS = 2000, MISSES = 20;

/**
 * Pause between peers. By default ONNX Runtime's threads spin for 40 ms after a run, which
 * would be counted against whoever comes next.
 */
const SETTLE_MS = 120;
/** Rounds of a case and a pair of processes at most. */
const MAX_ROUNDS = 11;
/** Pairs of fresh processes for a case, so that one process alone does not decide it. */
const PAIRS = 3;
/**
 * Small runs before the first that is timed. V8 compiles the engine's functions a second
 * time, better, while they run: until about the fortieth run that is what one would time.
 */
const WARMUP_RUNS = 60;
/** Rounds of the 2,000 sentences: one alone was decided by the machine's other guests. */
const TEXTS_ROUNDS = 3;

/** A root with both models in it, and the same as transformers.js wants them. */
interface Place {
  readonly root: string;
  readonly folder: string;
  readonly file: Readonly<Record<Precision, string>>;
}

async function prepare({ scratch, note }: BenchContext): Promise<Place> {
  const { installPeers } = await import("./onnx_peers/peer.ts");
  await installPeers(note);
  const { MINILM } = await import("../models/bert_weights.ts");
  const { writeModelFolder } = await import("../models/folder.ts");
  const { addModel } = await import("../../lib/embed/model/add.ts");
  const { Layout } = await import("../../lib/base/layout.ts");
  const root = `${scratch}/root`, folder = `${scratch}/models`;
  await Deno.mkdir(root, { recursive: true });
  note("writing random models of all-MiniLM-L6-v2's shape");
  await writeModelFolder(`${folder}/minilm`, { shape: MINILM });
  await writeModelFolder(`${scratch}/int8`, { shape: MINILM, precision: "int8" });
  const file = {
    fp32: `${folder}/minilm/onnx/model.onnx`,
    int8: `${folder}/minilm/onnx/model_quantized.onnx`,
  };
  await Deno.rename(`${scratch}/int8/onnx/model.onnx`, file.int8);
  const devices = { device: "cpu", library: "" } as const;
  for (const precision of PRECISIONS) {
    const name = file[precision].slice(`${folder}/minilm/`.length);
    const options = { devices, file: name };
    await addModel(new Layout(root), precision, `${folder}/minilm`, options);
  }
  return { root, folder, file };
}

async function openOurs(place: Place, name: string, device = "cpu"): Promise<Peer> {
  const { start } = await import("./onnx_peers/peer.ts");
  const peer = start("ours");
  await peer.ask({ op: "open", root: place.root, name, device, threads: THREADS });
  return peer;
}

/**
 * Asks in turn, whoever came last first, so that a slow moment hits both alike.
 *
 * @returns the times of each in milliseconds
 */
async function timesInTurn(
  peers: readonly Peer[],
  request: Record<string, unknown>,
  rounds: number,
): Promise<number[][]> {
  const times: number[][] = peers.map(() => []);
  const order = [...peers.entries()];
  for (let round = -1; round < rounds; round++) {
    for (const [i, peer] of order) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      const { ms } = await peer.ask(request);
      if (round >= 0) times[i]!.push(ms);
    }
    order.reverse();
  }
  return times;
}

/** Medians of {@link timesInTurn}. */
async function inTurn(
  peers: readonly Peer[],
  request: Record<string, unknown>,
  rounds: number,
): Promise<number[]> {
  return (await timesInTurn(peers, request, rounds)).map(median);
}

/** See {@link WARMUP_RUNS}. */
async function warmUp(peer: Peer): Promise<void> {
  for (let run = 0; run < WARMUP_RUNS; run++) {
    await peer.ask({ op: "run", rows: 1, columns: 16 });
  }
}

/** Milliseconds per text of one run of the model, without tokenising. */
async function runs(
  context: BenchContext,
  device: "cpu" | "wasm",
  precisions: readonly Precision[],
): Promise<Row[]> {
  const place = await prepare(context);
  const { start } = await import("./onnx_peers/peer.ts");
  const peerName = device === "cpu" ? "onnxruntime-node" : "onnxruntime-web by hand";
  const rows: Row[] = [];
  for (const precision of precisions) {
    const cases = [1, 32].flatMap((batch) =>
      [16, 64, 128].map((columns) => ({ batch, columns, times: [[], []] as number[][] }))
    );
    for (let pair = 0; pair < PAIRS; pair++) {
      await using ours = await openOurs(place, precision, device);
      await using theirs = start(device === "cpu" ? "node" : "web");
      await theirs.ask({ op: "open", file: place.file[precision], threads: THREADS });
      if (device === "wasm") { for (const peer of [ours, theirs]) await warmUp(peer); }
      for (const { batch, columns, times } of cases) {
        // About as many tokens for every case: the small ones need more rounds.
        const budget = device === "cpu" ? 6_000 : 2_000;
        const count = Math.min(MAX_ROUNDS, Math.floor(budget / (batch * columns)) + 1);
        const request = { op: "run", rows: batch, columns };
        const found = await timesInTurn([ours, theirs], request, count);
        found.forEach((more, i) => times[i]!.push(...more));
      }
    }
    for (const { batch, columns, times } of cases) {
      const [a, b] = times.map(median);
      const name = `onnx-run/${device}-${precision}-${batch}x${columns}`;
      const peer = { name: peerName, value: b! / batch };
      rows.push(row(name, "ms/text", "lower", a! / batch, peer));
    }
  }
  return rows;
}

/** 2,000 sentences of 3 to 60 tokens, most of them short. */
async function mixedSentences(): Promise<string[]> {
  const { randomFrom } = await import("../models/random.ts");
  const { word } = await import("../models/tokenizer_json.ts");
  const random = randomFrom(42);
  return Array.from({ length: 2000 }, () => {
    const words = 1 + Math.floor(random() ** 2 * 28);
    return Array.from({ length: words }, () => word(random)).join(" ");
  });
}

async function throughput(context: BenchContext): Promise<Row[]> {
  const place = await prepare(context);
  const { start } = await import("./onnx_peers/peer.ts");
  const texts = await mixedSentences();
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    await using ours = await openOurs(place, precision);
    await using theirs = start("transformers");
    await theirs.ask({
      op: "open",
      folder: place.folder,
      name: "minilm",
      dtype: DTYPES[precision],
      threads: THREADS,
    });
    const one = { op: "embed", texts: [texts[0]], batch: 1 };
    const [a, b] = [await ours.ask(one), await theirs.ask(one)];
    checkSame(precision, a.result as number[], b.result as number[]);
    const request = { op: "embed", texts, batch: PEER_BATCH };
    const [mine, other] = await inTurn([ours, theirs], request, TEXTS_ROUNDS);
    const perSecond = (ms: number) => texts.length / ms * 1000;
    const peer = { name: "transformers.js, batches of 32", value: perSecond(other!) };
    const name = `onnx-throughput/${precision}`;
    rows.push(row(name, "texts/s", "higher", perSecond(mine!), peer));
    const [own, their] = await inTurn([ours, theirs], one, 15);
    const single = { name: "transformers.js", value: their! };
    rows.push(row(`${name}-one-text`, "ms", "lower", own!, single));
    const peaks = [await ours.ask({ op: "peak" }), await theirs.ask({ op: "peak" })];
    const [ourPeak, theirPeak] = peaks.map(({ result }) => result as number);
    const memory = { name: "transformers.js", value: theirPeak! };
    rows.push(row(`${name}-peak-memory`, "MB", "lower", ourPeak!, memory));
  }
  return rows;
}

/** A figure about other vectors would say nothing. */
function checkSame(precision: Precision, a: number[], b: number[]): void {
  const cosine = a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  const least = precision === "fp32" ? 0.99999 : 0.999;
  if (!(cosine > least)) {
    throw new Error(`Other vectors (${precision}): cosine ${cosine}`);
  }
}

/** From starting the process to its first vector. */
async function cold(context: BenchContext): Promise<Row[]> {
  const place = await prepare(context);
  const { start } = await import("./onnx_peers/peer.ts");
  const text = { op: "embed", texts: ["one short sentence"], batch: 1 };
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const times: [number[], number[]] = [[], []];
    for (let round = -1; round < 5; round++) {
      const timed = async (which: 0 | 1, first: () => Promise<Peer>) => {
        const startMs = performance.now();
        await using peer = await first();
        await peer.ask(text);
        if (round >= 0) times[which].push(performance.now() - startMs);
      };
      await timed(0, () => openOurs(place, precision));
      await timed(1, async () => {
        const peer = start("transformers");
        const dtype = DTYPES[precision];
        const model = { folder: place.folder, name: "minilm", dtype, threads: THREADS };
        await peer.ask({ op: "open", ...model });
        return peer;
      });
    }
    const peer = { name: "transformers.js", value: median(times[1]) };
    rows.push(row(`onnx-cold/${precision}`, "ms", "lower", median(times[0]), peer));
  }
  return rows;
}

/** A hit in the cache against computing the vector. */
async function hit(context: BenchContext): Promise<Row[]> {
  const place = await prepare(context);
  const { EmbeddingCache } = await import("../../lib/cache/embedding_cache.ts");
  const { openModel } = await import("../../lib/embed/model/open.ts");
  const { Layout } = await import("../../lib/base/layout.ts");
  const { sideBySide } = await import("../bench_kit.ts");
  const folder = `${context.scratch}/cache`;
  await Deno.mkdir(folder);
  const rows: Row[] = [];
  for (const precision of PRECISIONS) {
    const options = { device: "cpu", library: "", threads: THREADS } as const;
    using embedder = await openModel(new Layout(place.root), precision, options);
    using cache = EmbeddingCache.open(folder);
    const text = "a sentence of about a dozen words that somebody looks up again";
    await cache.getOrEmbed([text], embedder);
    const [peek, cached, computed] = await sideBySide([
      () => {
        for (let i = 0; i < HITS; i++) cache.peek(text, embedder.identity);
      },
      async () => {
        for (let i = 0; i < HITS; i++) await cache.getOrEmbed([text], embedder);
      },
      async () => {
        for (let i = 0; i < MISSES; i++) await embedder.embed([text]);
      },
    ], { rounds: 21, warmup: 5 });
    const peer = { name: "computing it", value: computed! / MISSES };
    const name = `onnx-hit/${precision}`;
    rows.push(row(`${name}-peek`, "ms", "lower", peek! / HITS, peer));
    rows.push(row(`${name}-getOrEmbed`, "ms", "lower", cached! / HITS, peer));
  }
  return rows;
}

export const benches: Bench[] = [
  {
    name: "onnx-run",
    about: "one run of a full-size MiniLM against onnxruntime-node",
    run: (context) => runs(context, "cpu", PRECISIONS),
  },
  {
    name: "onnx-wasm",
    about: "the same in WebAssembly against onnxruntime-web by hand",
    run: (context) => runs(context, "wasm", ["fp32"]),
  },
  {
    name: "onnx-throughput",
    about: "2,000 mixed sentences, one text, memory, against transformers.js",
    run: throughput,
  },
  {
    name: "onnx-cold",
    about: "a cold process to its first vector, against transformers.js",
    run: cold,
  },
  {
    name: "onnx-hit",
    about: "a cached vector against computing it",
    run: hit,
  },
];
