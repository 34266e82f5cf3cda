/** What the cache holds and did. */
import { statfs } from "../../ffi/stat.ts";
import { FREED } from "./compact.ts";
import { residentBytes } from "./residency.ts";
import type { Pack } from "./pack.ts";
import { UsesSnapshot } from "./pack_uses.ts";
import { codecById } from "./codec.ts";
import { totals } from "./clean.ts";
import { statAt } from "../../ffi/stat.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import type { SessionCounts, Store } from "./store.ts";

/** One codec's share. */
export interface CodecShare {
  readonly codec: string;
  readonly entries: number;
  readonly bytes: number;
  /** What the same vectors take as float32. */
  readonly plainBytes: number;
}

/** One model's share. */
export interface ModelShare {
  readonly name: string;
  readonly digest: string;
  readonly dimensions: number;
  readonly entries: number;
}

/** One pack. */
export interface PackShare {
  readonly number: number;
  readonly model: string;
  readonly codec: string;
  readonly records: number;
  /** Marked as deleted; reclaimed by a compaction. */
  readonly deleted: number;
  /** Of both files. */
  readonly bytes: number;
  /** Of those, in memory now (the kernel's page cache). */
  readonly residentBytes: number;
}

/** How many entries were last used within `upToMs` (and not within the one before). */
export interface AgeShare {
  readonly upToMs: number | null;
  readonly entries: number;
}

/** The numbers of `cache stats`. */
export interface CacheStats {
  readonly entries: number;
  readonly vectorBytes: number;
  readonly looseFiles: number;
  readonly packs: readonly PackShare[];
  readonly indexBytes: number;
  /** Space that compactions gave back, measured by statfs(2); others may write meanwhile. */
  readonly freedBytes: number;
  readonly codecs: readonly CodecShare[];
  readonly models: readonly ModelShare[];
  readonly ages: readonly AgeShare[];
  /** Since this cache was opened. */
  readonly session: SessionCounts;
  /** Since it was made, all processes; as of their last flush. */
  readonly lifetime: SessionCounts;
  readonly fileSystem: { readonly totalBytes: number; readonly availableBytes: number };
}

const HOUR_MS = 3_600_000, DAY_MS = 24 * HOUR_MS;
const AGES_MS = [HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 90 * DAY_MS];

/** Collects the numbers. */
export function stats(store: Store, nowMs = Date.now()): CacheStats {
  const { entries, bytes } = totals(store.index);
  const { totalBytes, availableBytes } = statfs(store.loose.path);
  return {
    entries,
    vectorBytes: bytes,
    looseFiles: store.loose.keys().length,
    packs: store.packs.all().map(share),
    indexBytes: sizeOf(store.index.path) + sizeOf(`${store.index.path}-wal`),
    freedBytes: store.index.counter(FREED),
    codecs: codecs(store),
    models: models(store),
    ages: ages(store, nowMs),
    session: { ...store.counts },
    lifetime: lifetime(store),
    fileSystem: { totalBytes, availableBytes },
  };
}

/** A pack's numbers. */
export function share(pack: Pack): PackShare {
  const mappings = [pack.mapping, pack.idxMapping];
  return {
    number: pack.number,
    model: pack.header.identity.name,
    codec: pack.header.codec.name,
    records: pack.count,
    deleted: pack.deletedCount(),
    bytes: mappings.reduce((sum, { length }) => sum + length, 0),
    residentBytes: mappings.reduce((sum, mapping) => sum + residentBytes(mapping), 0),
  };
}

function codecs(store: Store): CodecShare[] {
  return store.index.all(
    `SELECT codec, count(*) AS entries, sum(size_bytes) AS bytes,
       sum(dimensions) * 4 AS plain FROM entries GROUP BY codec ORDER BY codec`,
  ).map((row) => ({
    codec: codecById(Number(row.codec))?.name ?? `codec ${row.codec}`,
    entries: Number(row.entries),
    bytes: Number(row.bytes),
    plainBytes: Number(row.plain),
  }));
}

function models(store: Store): ModelShare[] {
  return store.index.all(
    `SELECT ifnull(m.name, 'unknown') AS name, ifnull(m.digest, '') AS digest,
       e.dimensions AS dimensions, count(*) AS entries
       FROM entries e LEFT JOIN models m ON m.id = e.model
       GROUP BY m.id, e.dimensions ORDER BY entries DESC, name`,
  ).map((row) => ({
    name: String(row.name),
    digest: String(row.digest),
    dimensions: Number(row.dimensions),
    entries: Number(row.entries),
  }));
}

/** Packed entries by their uses file, loose ones by their row. */
function ages(store: Store, nowMs: number): AgeShare[] {
  const limits = [...AGES_MS, null];
  const counts = limits.map(() => 0);
  const add = (usedMs: number) => {
    const found = AGES_MS.findIndex((age) => nowMs - usedMs <= age);
    counts[found < 0 ? AGES_MS.length : found]!++;
  };
  for (const pack of store.packs.all()) {
    const uses = new UsesSnapshot(store.loose.folderFd, pack.number, pack.count);
    for (let record = 0; record < pack.count; record++) {
      if (!pack.isDeleted(record)) add(uses.of(record, nowMs).usedMs);
    }
  }
  for (const key of store.loose.keys()) {
    const usedMs = store.index.accessedMs(key);
    if (usedMs !== null) add(usedMs);
  }
  return limits.map((upToMs, i) => ({ upToMs, entries: counts[i]! }));
}

function lifetime(store: Store): SessionCounts {
  const counts = { ...store.counts };
  for (const name of Object.keys(counts) as (keyof SessionCounts)[]) {
    counts[name] = store.index.counter(name);
  }
  return counts;
}

function sizeOf(path: string): number {
  try {
    return statAt(AT_FDCWD, path).sizeBytes;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return 0;
    throw error;
  }
}
