/** Where the chain's files lie, and how single blocks are read and written. */
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fsyncFolder,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  open,
  openAt,
  unlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { readTextFile } from "../../ffi/directory.ts";
import {
  preadUncached,
  pwriteUncached,
  type UncachedSupport,
  unprobed,
} from "../../ffi/uncached.ts";
import {
  type FileBatch,
  readNumbered,
  type StrayNames,
  strayNames,
} from "../../ffi/numbered_files.ts";
import { makeFolder } from "../base/folder.ts";
import { BLOCK_LIMIT_BYTES } from "./block.ts";

/** The files of one chain: a `@timing` subvolume, or a snapshot of one. */
export class ChainFiles implements Disposable {
  /** What reads and writes this file system allows. */
  readonly support: UncachedSupport = unprobed();
  #blocksFd = -1;
  #buffer = new Uint8Array(64 * 1024);

  /** @param folder absolute path of `@timing` or of a snapshot of it */
  constructor(readonly folder: string) {}

  get blocks(): string {
    return `${this.folder}/blocks`;
  }
  /** Blocks whose files are not yet known to be on disk. */
  get journal(): string {
    return `${this.folder}/journal`;
  }
  get head(): string {
    return `${this.folder}/head.json`;
  }
  /** Checkpoints signed so far: one file per size. */
  get checkpoints(): string {
    return `${this.folder}/checkpoints`;
  }
  /** What a crash left half-written, kept for a look. */
  get torn(): string {
    return `${this.folder}/torn`;
  }

  /** Makes the folders that are missing, durably. */
  ensureFolders(): void {
    let made = false;
    for (const path of [this.folder, this.blocks, this.checkpoints, this.torn]) {
      if (makeFolder(path)) made = true;
    }
    if (!made) return;
    fsyncFolder(this.folder);
    fsyncFolder(this.folder.slice(0, this.folder.lastIndexOf("/")) || "/");
  }

  #folderFd(): number {
    if (this.#blocksFd === -1) {
      this.#blocksFd = open(this.blocks, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    }
    return this.#blocksFd;
  }

  /**
   * The bytes of a block's file, leaving the page cache as it was. They lie in a buffer
   * that the next call overwrites.
   *
   * @returns null where there is no such file
   */
  readBlock(number: number): Uint8Array | null {
    let fd: number;
    try {
      // A pipe in the file's place must not hold up whoever reads.
      const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
      fd = openAt(this.#folderFd(), `${number}.json`, flags);
    } catch (error) {
      if (isSysError(error, "ENOENT")) return null;
      throw error;
    }
    try {
      let length = preadUncached(fd, this.#buffer, 0, this.support);
      while (length === this.#buffer.length && length <= BLOCK_LIMIT_BYTES) {
        const larger = new Uint8Array(length * 4);
        larger.set(this.#buffer);
        this.#buffer = larger;
        length += preadUncached(fd, larger.subarray(length), length, this.support);
      }
      return this.#buffer.subarray(0, length);
    } finally {
      close(fd);
    }
  }

  /**
   * The files of the blocks `from <= n < to` in order, many at a time, leaving the page
   * cache as it was.
   */
  batches(from: number, to: number): AsyncIterable<FileBatch> {
    if (from >= to) return none();
    return readNumbered({
      folderFd: this.#folderFd(),
      from,
      to,
      suffix: ".json",
      limitBytes: BLOCK_LIMIT_BYTES + 1,
    });
  }

  /** Names in `blocks/` that are no block below `end`. */
  strayNames(end: number): StrayNames {
    return withFd(
      open(this.blocks, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
      (fd) => strayNames(fd, ".json", end),
    );
  }

  /** Creates a block's file, whole or not at all; EEXIST where one is. Not synced. */
  createBlock(number: number, bytes: Uint8Array): void {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    const fd = openAt(this.#folderFd(), `${number}.json`, flags, 0o644);
    try {
      withFd(fd, () => pwriteUncached(fd, bytes, 0, this.support));
    } catch (error) {
      unlinkAt(this.#folderFd(), `${number}.json`);
      throw error;
    }
  }

  blockPath(number: number): string {
    return `${this.blocks}/${number}.json`;
  }

  [Symbol.dispose](): void {
    if (this.#blocksFd !== -1) close(this.#blocksFd);
    this.#blocksFd = -1;
  }
}

async function* none(): AsyncGenerator<never> {}

/**
 * Names this boot of this machine on this mounted file system. While it stays the same,
 * what was written is still there, synced or not: only a crash or a copy changes it.
 */
export function placeOf(folder: string): string {
  const boot = readTextFile("/proc/sys/kernel/random/boot_id").trim();
  return `${boot}:${statAt(AT_FDCWD, folder).dev}`;
}
