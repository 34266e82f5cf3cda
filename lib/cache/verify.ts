/** Checks every file against its row, and heals what is asked to be healed. */
import { rename } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { OpError } from "../base/errors.ts";
import { CacheIndex } from "./index.ts";
import type { LooseStore } from "./loose.ts";
import { KEY_BYTES } from "./key.ts";
import type { Store } from "./store.ts";

/** What a check found. */
export interface VerifyReport {
  /** Files that were read and compared with their checksum. */
  readonly checked: number;
  /** Keys whose file is damaged: wrong magic, size, checksum. */
  readonly damaged: readonly string[];
  /** Keys that have a row but no file. */
  readonly missing: readonly string[];
  /** Keys that have a sound file but no row: a writer was killed between the two. */
  readonly orphans: readonly string[];
  /** Temporary files of writers that are gone. */
  readonly temporaries: readonly string[];
  /** What SQLite says of its own file. */
  readonly index: readonly string[];
  /** True when damaged and missing entries were dropped and orphans got a row. */
  readonly repaired: boolean;
}

/** True when nothing is wrong that an answer could suffer from. Orphans are harmless. */
export function isSound(report: VerifyReport): boolean {
  return report.repaired ||
    (report.damaged.length === 0 && report.missing.length === 0 &&
      report.index.length === 0);
}

/** Options of a check. */
export interface VerifyOptions {
  /** Drops damaged and missing entries (the next use computes them), adopts orphans. */
  readonly repair?: boolean;
  readonly signal?: AbortSignal;
  readonly progress?: (done: number, total: number) => void;
}

const REPORT_EVERY = 1024;

/** Checks everything. Reads every vector once. */
export function verify(store: Store, options: VerifyOptions = {}): VerifyReport {
  const { index, loose } = store;
  const repair = options.repair ?? false;
  const indexProblems = index.check();
  const sound = indexProblems.length === 0;
  const damaged: string[] = [], missing: string[] = [], orphans: string[] = [];
  const files = new Set(loose.keys());
  let checked = 0;
  for (const key of files) {
    if (++checked % REPORT_EVERY === 0) {
      options.signal?.throwIfAborted();
      options.progress?.(checked, files.size);
    }
    const found = loose.readRaw(key);
    if (found === "missing") continue; // removed meanwhile
    if (found === "damaged") damaged.push(key);
    else if (sound && !index.has(key)) orphans.push(key);
  }
  const rows = sound ? index.iterate("SELECT key FROM entries") : [];
  for (const row of rows) {
    const bytes = row.key;
    const key = bytes instanceof Uint8Array && bytes.length === KEY_BYTES
      ? bytes.toHex()
      : null;
    // A file may have come with its row since the folder was listed.
    if (key === null || (!files.has(key) && !loose.stat(key))) {
      missing.push(key ?? String(bytes));
    }
  }
  const temporaries = loose.staleTemporaries(Date.now());
  if (repair && sound) {
    store.removing(() => heal(index, loose, { damaged, missing, orphans, temporaries }));
  }
  return {
    checked,
    damaged,
    missing,
    orphans,
    temporaries,
    index: indexProblems,
    repaired: repair && sound,
  };
}

function heal(
  index: CacheIndex,
  loose: LooseStore,
  found: Pick<VerifyReport, "damaged" | "missing" | "orphans" | "temporaries">,
): void {
  // Looked at again: with the gate closed nobody is in the middle of storing.
  const isKey = (key: string) => /^[0-9a-f]{64}$/.test(key);
  const damaged = found.damaged.filter((key) => loose.readRaw(key) === "damaged");
  const missing = found.missing.filter((key) => isKey(key) && !loose.stat(key));
  index.transaction(() => {
    index.remove([...damaged, ...missing]);
    index.run(`DELETE FROM entries WHERE length(key) <> ${KEY_BYTES}`);
    adopt(index, loose, found.orphans);
  });
  loose.remove(damaged);
  loose.removeTemporaries(found.temporaries);
}

/** Gives sound files rows. Model and text come with the next use. */
export function adopt(
  index: CacheIndex,
  loose: LooseStore,
  keys: Iterable<string>,
): number {
  let adopted = 0;
  for (const key of keys) {
    const found = loose.readRaw(key);
    if (typeof found === "string") continue;
    const { header, payload } = found;
    const { dimensions } = header;
    const sizeBytes = payload.length;
    const entry = { key, codec: header.codec.id, dimensions, sizeBytes, text: null };
    index.put(entry, null, loose.stat(key)?.modifiedMs ?? Date.now());
    adopted++;
  }
  return adopted;
}

/** What {@link rebuildIndex} did. */
export interface RebuildReport {
  /** Where the old index lies now, beside the new one. */
  readonly setAside: string;
  /** Vectors that the new index knows. */
  readonly adopted: number;
}

/**
 * Sets a damaged index aside (it is not deleted) and builds a new one from the vector
 * files. What only the index knew (texts, models, counts) comes back with each use.
 *
 * @param path the index file
 * @param nowMs names the file set aside
 */
export function rebuildIndex(
  path: string,
  loose: LooseStore,
  nowMs: number,
): RebuildReport {
  const stamp = new Date(nowMs).toISOString().replace(/[:.]/g, "-");
  const setAside = `${path}.damaged-${stamp}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      rename(path + suffix, setAside + suffix);
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
    }
  }
  using index = CacheIndex.open(path);
  const adopted = index.transaction(() => adopt(index, loose, loose.keys()));
  return { setAside, adopted };
}

/** True for an index that {@link rebuildIndex} may replace; a newer one it may not. */
export function isRebuildable(error: unknown): error is OpError {
  return error instanceof OpError &&
    (error.code === "index_damaged" || error.code === "index_foreign");
}
