/** Looking at every vector of a model, packs first, with memory bounded. */
import { MADV_RANDOM, MADV_SEQUENTIAL } from "../../ffi/memory.ts";
import type { Steps } from "../base/slices.ts";
import { Kernel, KERNEL_BLOCK } from "./kernel.ts";
import type { Pack } from "./pack.ts";
import type { TopK } from "./search.ts";
import type { ModelRoom, Store } from "./store.ts";

/** One search under way. */
export interface Scan {
  readonly store: Store;
  readonly room: ModelRoom;
  readonly query: Float32Array;
  readonly queryNorm: number;
  readonly best: TopK;
  readonly signal?: AbortSignal;
  /** Without SIMD, for comparison. */
  readonly byHand?: boolean;
}

/** Records that are looked at one by one, and loose files, in one step. */
const STEP_RECORDS = 4096, STEP_FILES = 64;

/** Scalar product. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function cosine(scan: Scan, vector: Float32Array): number {
  const norm = Math.sqrt(dot(vector, vector));
  return norm > 0 ? dot(vector, scan.query) / (norm * scan.queryNorm) : -Infinity;
}

/** Streams over the packs of the model. @param seen those that were; they are passed over */
export function* scanPacks(scan: Scan, seen: Set<Pack>): Steps<void> {
  const { packs } = scan.store;
  packs.refresh();
  for (const pack of packs.of(scan.room.name)) {
    if (seen.has(pack)) continue;
    seen.add(pack);
    pack.mapping.advise(MADV_SEQUENTIAL);
    try {
      yield* scanPack(scan, pack);
    } finally {
      pack.mapping.advise(MADV_RANDOM);
    }
  }
}

function* scanPack(scan: Scan, pack: Pack): Steps<void> {
  if (scan.byHand !== true && fitsKernel(pack)) return yield* scanBySimd(scan, pack);
  for (let record = 0; record < pack.count; record++) {
    if (record % STEP_RECORDS === 0) yield* step(scan);
    consider(scan, pack, record);
  }
}

function* step({ signal }: Scan): Steps<void> {
  yield;
  signal?.throwIfAborted();
}

/** Codecs whose numbers the kernel can read where they lie; by id, their first byte. */
const NUMBERS_AT: Readonly<Record<number, number>> = { 1: 0, 4: 4, 5: 4 };

function fitsKernel({ header }: Pack): boolean {
  return header.codec.id in NUMBERS_AT && header.dimensions % KERNEL_BLOCK === 0;
}

/** Sums of float32 may be off by this much; whatever comes so near is computed again. */
const KERNEL_ERROR = 1e-4;
/** Records are copied to the kernel's memory so many bytes at a time: they stay in L2. */
const CHUNK_BYTES = 256 * 1024;

function* scanBySimd(scan: Scan, pack: Pack): Steps<void> {
  const { codec, dimensions, recordBytes, keyBytes } = pack.header;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / recordBytes));
  const simd = Kernel.create();
  const results = dimensions * 4;
  const source = (results + perChunk * 8 + 15) & ~15;
  simd.reserve(source + perChunk * recordBytes);
  simd.floats.set(scan.query, 0);
  const numbers = source + keyBytes + NUMBERS_AT[codec.id]!;
  for (let from = 0; from < pack.count; from += perChunk) {
    yield* step(scan);
    const count = Math.min(perChunk, pack.count - from);
    const begin = pack.offset(from);
    simd.bytes.set(pack.bytes.subarray(begin, begin + count * recordBytes), source);
    simd.dots(codec.id, 0, dimensions, numbers, recordBytes, count, results);
    for (let i = 0; i < count; i++) {
      const product = simd.floats[results / 4 + 2 * i]!;
      const length = Math.sqrt(simd.floats[results / 4 + 2 * i + 1]!) * scan.queryNorm;
      const score = product / length;
      if (score > scan.best.threshold - KERNEL_ERROR) consider(scan, pack, from + i);
    }
  }
}

/** Computes a record's score in full and takes it among the best where it belongs. */
function consider(scan: Scan, pack: Pack, record: number): void {
  const { codec, dimensions } = pack.header;
  if (scratch.length !== dimensions) scratch = new Float32Array(dimensions);
  if (!codec.decode(pack.payload(record), dimensions, scratch, 0)) return;
  const score = cosine(scan, scratch);
  if (score > scan.best.threshold) offer(scan, pack, record, score);
}

let scratch = new Float32Array();

/**
 * Takes a record among the best after a closer look, which few of them get: it must be
 * sound, not deleted, have a row, and not be there already from a newer pack.
 */
function offer(scan: Scan, pack: Pack, record: number, score: number): void {
  if (pack.isDeleted(record) || !pack.isSound(record)) return;
  const key = pack.key(record);
  if (scan.best.has(key) || !scan.store.index.has(key.toHex())) return;
  scan.best.offer(score, key);
}

/** The loose files of the model. */
export function* scanLoose(scan: Scan): Steps<void> {
  const { store, room, best } = scan;
  const { dimensions } = room.identity;
  const vector = new Float32Array(dimensions);
  const model = store.index.modelId(room.identity);
  if (model === null) return;
  let seen = 0;
  for (const key of store.loose.keys()) {
    if (++seen % STEP_FILES === 0) yield* step(scan);
    if (!store.index.isOf(key, model)) continue;
    // A damaged file is no match; verify names it, the next use heals it.
    if (store.loose.read(key, dimensions, vector, 0).state !== "found") continue;
    const score = cosine(scan, vector);
    const bytes = Uint8Array.fromHex(key);
    if (score > best.threshold && !best.has(bytes)) best.offer(score, bytes);
  }
}
