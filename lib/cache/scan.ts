/** Looking at every vector of a model, packs first, with memory bounded. */
import { MADV_RANDOM, MADV_SEQUENTIAL } from "../../ffi/memory.ts";
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
}

const ABORT_CHECK = 4096;

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

/** Streams over the packs of the model. */
export function scanPacks(scan: Scan): void {
  const { packs } = scan.store;
  packs.refresh();
  for (const pack of packs.of(scan.room.name)) {
    pack.mapping.advise(MADV_SEQUENTIAL);
    try {
      scanPack(scan, pack);
    } finally {
      pack.mapping.advise(MADV_RANDOM);
    }
  }
}

function scanPack(scan: Scan, pack: Pack): void {
  const { codec, dimensions } = pack.header;
  const vector = new Float32Array(dimensions);
  for (let record = 0; record < pack.count; record++) {
    if (record % ABORT_CHECK === 0) scan.signal?.throwIfAborted();
    codec.decode(pack.payload(record), dimensions, vector, 0);
    const score = cosine(scan, vector);
    if (score > scan.best.threshold) offer(scan, pack, record, score);
  }
}

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
export function scanLoose(scan: Scan): void {
  const { store, room, best } = scan;
  const { dimensions } = room.identity;
  const vector = new Float32Array(dimensions);
  const model = store.index.modelId(room.identity);
  if (model === null) return;
  let seen = 0;
  for (const key of store.loose.keys()) {
    if (++seen % ABORT_CHECK === 0) scan.signal?.throwIfAborted();
    if (!store.index.isOf(key, model)) continue;
    // A damaged file is no match; verify names it, the next use heals it.
    if (store.loose.read(key, dimensions, vector, 0).state !== "found") continue;
    const score = cosine(scan, vector);
    const bytes = Uint8Array.fromHex(key);
    if (score > best.threshold && !best.has(bytes)) best.offer(score, bytes);
  }
}
