/** Building the index anew from the vectors, when it is garbage. */
import { rename } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { CacheIndex } from "./index.ts";
import { isIndexSound, isRebuildable } from "./verify.ts";

/** What a rebuilding did. */
export interface RebuildReport {
  /** Where the old index lies now, beside the new one. */
  readonly setAside: string;
  /** Vectors that the new index knows. */
  readonly adopted: number;
}

/**
 * True where an index has to be rebuilt before it can be opened or trusted.
 *
 * @throws {OpError} `index_newer` and whatever rebuilding would not mend
 */
export function needsRebuild(path: string): boolean {
  try {
    using index = CacheIndex.open(path);
    return !isIndexSound(index);
  } catch (error) {
    if (isRebuildable(error)) return true;
    throw error;
  }
}

/**
 * Sets an index aside, with its log; it is not deleted.
 *
 * @param nowMs names the file
 * @returns where it lies now
 */
export function setIndexAside(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[:.]/g, "-");
  const setAside = `${path}.damaged-${stamp}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      rename(path + suffix, setAside + suffix);
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
    }
  }
  return setAside;
}
