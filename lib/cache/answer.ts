/** Answers that need no model and no waiting: from memory, from packs, from loose files. */
import { wellFormed } from "./key.ts";
import type { ModelRoom, Store } from "./store.ts";

/** Options of one call. */
export interface GetOptions {
  /** Ends the work early; what was stored stays stored. */
  readonly signal?: AbortSignal;
  /** Receives the vectors, instead of a matrix of its own: for calls one after another. */
  readonly into?: Float32Array<ArrayBuffer>;
  /** Called with how many of the texts are done, after each batch. */
  readonly progress?: (done: number, total: number) => void;
}

/** What a call gives. */
export interface CachedVectors {
  /** Row-major, texts.length × dimensions, in the order of the texts. */
  readonly matrix: Float32Array<ArrayBuffer>;
  readonly dimensions: number;
  /** Texts answered from memory. */
  readonly memoryHits: number;
  /** Texts answered from the disk, or by a call that was computing them already. */
  readonly diskHits: number;
  /** Texts that were computed. */
  readonly misses: number;
  /** Of the misses: damaged, short or missing files written anew. */
  readonly healed: number;
  /** Of the misses: stored with less precision than configured, written anew. */
  readonly upgraded: number;
  /** Misses that came more than once in this call; only the first counts above. */
  readonly duplicates: number;
  /** Tokens that the model read for the misses. */
  readonly tokens: number;
  /** Misses that were longer than the model's limit and were cut. */
  readonly truncated: number;
}

/** Answers one text from memory or disk; false where neither has it. */
export function lookUp(
  store: Store,
  room: ModelRoom,
  raw: string,
  into: Float32Array,
  at: number,
): boolean {
  const text = wellFormed(raw);
  if (room.arena?.copy(text, into, at)) {
    store.counts.memoryHits++;
    return true;
  }
  const { words, bytes } = room.keys.views(text);
  const packed = store.lookupPacked(room, words, into, at);
  if (packed && !needsKey(store, room)) {
    store.counts.packHits++;
    return true;
  }
  const key = bytes.toHex();
  const found = packed ? "pack" : store.lookup(room, key, into, at);
  if (found !== "pack" && found !== "loose") return false;
  noteHit(store, room, found, key, text);
  store.admit(room, text, key, into, at);
  return true;
}

/** True where a hit in a pack is noted by its key. */
export function needsKey(store: Store, room: ModelRoom): boolean {
  return room.arena !== null || store.textsAreMissing;
}

/** Counts a hit, and notes the use of what no pack notes for itself. */
export function noteHit(
  store: Store,
  room: ModelRoom,
  from: "pack" | "loose",
  key: string,
  text: string,
): void {
  if (from === "pack") store.counts.packHits++;
  else store.counts.looseHits++;
  if (from === "loose" || store.textsAreMissing) store.touch(room, key, text);
}

/**
 * Answers a call whose texts are all in memory: a tenth of the work that {@link GetOrEmbed}
 * is ready for. Null where one is not, or somebody is told of the progress.
 */
export function fromMemory(
  store: Store,
  { arena, identity: { dimensions } }: ModelRoom,
  texts: readonly string[],
  { into, progress }: GetOptions,
): CachedVectors | null {
  if (!arena || progress || texts.length > FEW_TEXTS) return null;
  const size = texts.length * dimensions;
  if (into && into.length < size) return null;
  for (const text of texts) if (!arena.has(wellFormed(text))) return null;
  const matrix = into?.subarray(0, size) ?? new Float32Array(size);
  texts.forEach((text, row) => arena.copy(wellFormed(text), matrix, row * dimensions));
  store.counts.memoryHits += texts.length;
  return { matrix, dimensions, ...NOTHING_DONE, memoryHits: texts.length };
}

/** More than these are worth no second look when one of them is not in memory. */
const FEW_TEXTS = 16;
/** The counts of a call before it did anything. */
export const NOTHING_DONE = {
  memoryHits: 0,
  diskHits: 0,
  misses: 0,
  healed: 0,
  upgraded: 0,
  duplicates: 0,
  tokens: 0,
  truncated: 0,
};
