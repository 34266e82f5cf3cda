/**
 * Files that are whole or absent after a crash: write beside the target, fsync, rename,
 * fsync the folder.
 */
import {
  AT_FDCWD,
  close,
  fsync,
  fsyncFolder,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  rename,
  unlinkAt,
  writeAll,
} from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";

let counter = 0;

/** A name beside `path` that no other process picks. Starts with `.tmp-`. */
export function temporaryBeside(path: string): string {
  const slash = path.lastIndexOf("/");
  const folder = path.slice(0, slash + 1), name = path.slice(slash + 1);
  return `${folder}.tmp-${Deno.pid}-${++counter}-${name}`;
}

/**
 * Replaces a file atomically and durably. On any failure the old file is untouched and
 * nothing is left beside it.
 *
 * @param path the file
 * @param bytes its new content
 * @param mode permission bits of a new file
 * @throws {SysError} what open, write, fsync or rename gave
 */
export function writeDurably(path: string, bytes: Uint8Array, mode = 0o644): void {
  writeAtomically(path, bytes, mode);
  fsyncFolder(path.slice(0, path.lastIndexOf("/")) || "/");
}

/** {@link writeDurably} without the folder's fsync, for callers that batch it. */
export function writeAtomically(path: string, bytes: Uint8Array, mode = 0o644): void {
  using file = new Replacement(path, mode);
  writeAll(file.fd, bytes);
  file.commit();
}

/** A file that is written beside the one it will replace. Dispose removes it until then. */
export class Replacement implements Disposable {
  /** Open for writing; closed by {@link commit} or dispose. */
  readonly fd: number;
  readonly #path: string;
  readonly #temporary: string;
  #open = true;
  #done = false;

  /** @throws {SysError} what open gave */
  constructor(path: string, mode = 0o644) {
    this.#path = path;
    this.#temporary = temporaryBeside(path);
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    this.fd = open(this.#temporary, flags, mode);
  }

  /**
   * Makes it the file, durable in all but its name: that takes an fsync of the folder.
   * @throws {SysError} what fsync, close or rename gave
   */
  commit(): void {
    fsync(this.fd, this.#temporary);
    this.#close();
    rename(this.#temporary, this.#path);
    this.#done = true;
  }

  #close(): void {
    if (this.#open) {
      this.#open = false;
      close(this.fd);
    }
  }

  [Symbol.dispose](): void {
    if (this.#done) return;
    try {
      this.#close();
      unlinkAt(AT_FDCWD, this.#temporary);
    } catch (error) {
      // Why it was not finished is what the caller must hear, not what came of that.
      if (!isSysError(error)) throw error;
    }
  }
}
