/** Removing entries: by age of their last use, by count, by size, or all of them. */
import { InputError } from "../base/errors.ts";
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
  const tally = { byAge: 0, byCount: 0, bySize: 0 };
  const doomed: string[] = [];
  let kept = 0, keptBytes = 0, removedBytes = 0;
  const sql = `SELECT key, accessed_ms AS used, size_bytes AS size FROM entries
    ORDER BY accessed_ms DESC, key`;
  for (const row of store.index.iterate(sql)) {
    const sizeBytes = Number(row.size);
    const ageMs = nowMs - Number(row.used);
    const reason = olderThanMs !== undefined && ageMs > olderThanMs
      ? "byAge"
      : maxEntries !== undefined && kept >= maxEntries
      ? "byCount"
      : maxBytes !== undefined && keptBytes + sizeBytes > maxBytes
      ? "bySize"
      : null;
    if (reason === null) {
      kept++;
      keptBytes += sizeBytes;
      continue;
    }
    tally[reason]++;
    removedBytes += sizeBytes;
    doomed.push((row.key as Uint8Array).toHex());
  }
  if (!dryRun) remove(store, doomed);
  return { removed: doomed.length, removedBytes, ...tally, kept, dryRun };
}

/** Removes entries by key, a batch at a time. */
export function remove(store: Store, keys: readonly string[]): void {
  for (let from = 0; from < keys.length; from += BATCH) {
    const batch = keys.slice(from, from + BATCH);
    store.removing(() => {
      store.index.transaction(() => store.index.remove(batch));
      store.loose.remove(batch);
    });
  }
  if (keys.length > 0) store.forget();
}

/** What {@link clear} removed. */
export interface ClearReport {
  readonly removed: number;
  readonly removedBytes: number;
  readonly dryRun: boolean;
}

/** Removes every vector, also those without a row. */
export function clear(store: Store, dryRun = false): ClearReport {
  return store.removing(() => {
    const { entries, bytes } = totals(store.index);
    const keys = store.loose.keys();
    if (!dryRun) {
      store.index.transaction(() => store.index.run("DELETE FROM entries"));
      store.loose.remove(keys);
      store.forget();
    }
    return { removed: Math.max(keys.length, entries), removedBytes: bytes, dryRun };
  });
}

/** How many entries and how many bytes of vectors the index knows. */
export function totals(index: CacheIndex): { entries: number; bytes: number } {
  const row = index.get(
    "SELECT count(*) AS entries, ifnull(sum(size_bytes), 0) AS bytes FROM entries",
  );
  return { entries: Number(row?.entries), bytes: Number(row?.bytes) };
}
