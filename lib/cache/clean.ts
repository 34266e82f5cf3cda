/** Removing entries: by age of their last use, by count, by size, or all of them. */
import { InputError, OpError } from "../base/errors.ts";
import { KEY_BYTES } from "./key.ts";
import { UsesSnapshot } from "./pack_uses.ts";
import type { CacheIndex } from "./index.ts";
import type { Store } from "./store.ts";

/** What to remove. Limits hold after the age is applied. */
export interface CleanOptions {
  /** Removes entries that were last used longer ago. */
  readonly olderThanMs?: number;
  /** Keeps at most so many, the most recently used. */
  readonly maxEntries?: number;
  /** Keeps at most so many bytes of vectors, the most recently used. */
  readonly maxBytes?: number;
  /** Only says what it would do. */
  readonly dryRun?: boolean;
  /** The time that ages are counted from; default now. */
  readonly nowMs?: number;
  /** Told of each entry that goes, the most recently used first, before any of them does. */
  readonly explain?: (eviction: Eviction) => void;
}

/** An entry that goes, and why. */
export interface Eviction {
  /** Its key, in hexadecimal. */
  readonly key: string;
  /** Unix time of its last use. */
  readonly usedMs: number;
  readonly sizeBytes: number;
  readonly reason: "age" | "count" | "size";
}

/** What was removed, by reason. */
export interface CleanReport {
  readonly removed: number;
  readonly removedBytes: number;
  readonly byAge: number;
  readonly byCount: number;
  readonly bySize: number;
  readonly kept: number;
  readonly dryRun: boolean;
}

/** Keys removed per transaction: the lock is never held for long. */
const BATCH = 2000;

/**
 * Removes entries. Rows go first: a file without a row is harmless, a row without a file
 * is a loss.
 *
 * @throws {InputError} when no limit is given or one is negative
 */
export function clean(store: Store, options: CleanOptions): CleanReport {
  const { olderThanMs, maxEntries, maxBytes, dryRun = false } = options;
  const limits = [olderThanMs, maxEntries, maxBytes].filter((x) => x !== undefined);
  if (limits.length === 0 || limits.some((limit) => !(limit >= 0))) {
    throw new InputError("bad_limit", "Cannot clean the cache: no valid limit is given", {
      hint: "name one, for example --older-than 90d",
    });
  }
  store.flush();
  const nowMs = options.nowMs ?? Date.now();
  const tally = { age: 0, count: 0, size: 0 };
  const doomed: string[] = [];
  let kept = 0, keptBytes = 0, removedBytes = 0;
  for (const { key, usedMs, sizeBytes } of byLastUse(store, nowMs)) {
    const reason = olderThanMs !== undefined && nowMs - usedMs > olderThanMs
      ? "age"
      : maxEntries !== undefined && kept >= maxEntries
      ? "count"
      : maxBytes !== undefined && keptBytes + sizeBytes > maxBytes
      ? "size"
      : null;
    if (reason === null) {
      kept++;
      keptBytes += sizeBytes;
      continue;
    }
    tally[reason]++;
    options.explain?.({ key, usedMs, sizeBytes, reason });
    removedBytes += sizeBytes;
    doomed.push(key);
  }
  if (!dryRun) remove(store, doomed);
  const [byAge, byCount, bySize] = [tally.age, tally.count, tally.size];
  return { removed: doomed.length, removedBytes, byAge, byCount, bySize, kept, dryRun };
}

interface LastUse {
  readonly key: string;
  readonly usedMs: number;
  readonly sizeBytes: number;
}

/** Every entry, the most recently used first. A row knows no uses since it was packed. */
function* byLastUse(store: Store, nowMs: number): Generator<LastUse> {
  const { index, packs, loose } = store;
  const { entries } = totals(index);
  const keys = new Uint8Array(entries * KEY_BYTES);
  const used = new Float64Array(entries), sizes = new Uint32Array(entries);
  const uses = new Map(
    packs.all().map((pack) => [
      pack.number,
      new UsesSnapshot(loose.folderFd, pack.number, pack.count),
    ]),
  );
  let n = 0;
  const sql = "SELECT key, accessed_ms AS used, size_bytes AS size FROM entries";
  for (const row of index.iterate(sql)) {
    if (n === entries) break; // written since they were counted: new, so not for removal
    const key = row.key as Uint8Array;
    keys.set(key, n * KEY_BYTES);
    used[n] = Number(row.used);
    sizes[n] = Number(row.size);
    for (const { pack, record } of packs.places(key.toHex())) {
      used[n] = Math.max(used[n]!, uses.get(pack.number)?.of(record, nowMs).usedMs ?? 0);
    }
    n++;
  }
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  order.sort((a, b) => used[b]! - used[a]! || a - b);
  for (const i of order) {
    const key = keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES).toHex();
    yield { key, usedMs: used[i]!, sizeBytes: sizes[i]! };
  }
}

/**
 * Removes rows, then bytes. Where the disk is too full even to write that down, the bytes
 * go first: they are what makes room.
 */
export function remove(store: Store, keys: readonly string[]): void {
  for (let from = 0; from < keys.length; from += BATCH) {
    const batch = keys.slice(from, from + BATCH);
    store.removing(() => {
      const rows = () => store.index.transaction(() => store.index.remove(batch));
      const bytes = () => store.loose.remove(batch);
      inOrder(rows, bytes);
    });
  }
  if (keys.length === 0) return;
  store.removing(() => store.packs.delete(keys));
  store.forget();
}

/** Runs both, the second one first where the first one finds no space. */
function inOrder(first: () => unknown, second: () => unknown): void {
  try {
    first();
  } catch (error) {
    if (!(error instanceof OpError) || error.code !== "no_space") throw error;
    second();
    first();
    return;
  }
  second();
}

/** What {@link clear} removed. */
export interface ClearReport {
  readonly removed: number;
  readonly removedBytes: number;
  readonly dryRun: boolean;
}

/** Removes every vector, also those without a row. */
export function clear(store: Store, dryRun = false): ClearReport {
  const { index, loose, packs } = store;
  return store.removing(() => {
    const { entries, bytes } = totals(index);
    const keys = loose.keys();
    const numbers = packs.numbersOnDisk();
    const packed = packs.all().reduce((sum, pack) => sum + pack.count, 0);
    if (!dryRun) {
      const rows = () => index.transaction(() => index.run("DELETE FROM entries"));
      inOrder(rows, () => {
        loose.remove(keys);
        packs.publish([]);
        packs.removeFiles(numbers);
      });
      store.forget();
    }
    const removed = Math.max(keys.length + packed, entries);
    return { removed, removedBytes: bytes, dryRun };
  });
}

/** How many entries and how many bytes of vectors the index knows. */
export function totals(index: CacheIndex): { entries: number; bytes: number } {
  const row = index.get(
    "SELECT count(*) AS entries, ifnull(sum(size_bytes), 0) AS bytes FROM entries",
  );
  return { entries: Number(row?.entries), bytes: Number(row?.bytes) };
}
