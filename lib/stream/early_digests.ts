/**
 * Files that are read back and hashed on another core as soon as the stream has left
 * them, while the next are written.
 */
import type { HashWorker, LaterDigest } from "../../ffi/hash_worker.ts";
import { fstat, type Stat } from "../../ffi/stat.ts";

/** Digests of what lies on disk, by inode. */
export class EarlyDigests {
  readonly #worker: HashWorker;
  readonly #byInode = new Map<bigint, LaterDigest>();

  /** @param worker stays the caller's */
  constructor(worker: HashWorker) {
    this.#worker = worker;
  }

  /**
   * Takes a file that has been written.
   *
   * @param fd open for reading; closed here where it is taken
   * @returns false where the worker is not there yet
   */
  take(fd: number): boolean {
    if (!this.#worker.ready) return false;
    const { ino } = fstat(fd);
    this.#byInode.set(ino, this.#worker.hashFile(fd));
    return true;
  }

  /** To be told before a file is changed once more. */
  reopened(fd: number): void {
    if (this.#byInode.size > 0) this.#byInode.delete(fstat(fd).ino);
  }

  /** What was found of a file; null where nothing was, or not of this length. */
  find({ ino, sizeBytes }: Stat): { sha256: Uint8Array; sizeBytes: number } | null {
    const found = this.#byInode.get(ino)?.get();
    return found?.sizeBytes === sizeBytes ? found : null;
  }
}
