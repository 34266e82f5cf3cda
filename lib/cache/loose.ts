/** Loose objects: one file per vector, the way into the cache. */
import {
  close,
  fsync,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  open,
  openAt,
  read as readFd,
  renameAt,
  syncfs,
  unlinkAt,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { isRegular, statAt } from "../../ffi/stat.ts";

import { listNames } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { openIfThere } from "../../ffi/open_if_there.ts";
import {
  HEADER_BYTES,
  maxObjectBytes,
  type ObjectHeader,
  parseObject,
} from "./object.ts";
import { KEY_BYTES } from "./key.ts";
import { MAX_DIMENSIONS } from "./codec.ts";

/** When an acknowledged vector survives a power cut: always, or after some seconds. */
export type Durability = "full" | "relaxed";

/** Up to this many new files are fsynced one by one; more share one syncfs. */
const FSYNC_EACH_LIMIT = 16;
/** A temporary file older than this has no writer any more. */
export const TEMPORARY_STALE_MS = 3_600_000;
const OBJECT_NAME = /^([0-9a-f]{64})\.bin$/;

/** A file to write. */
export interface LooseEntry {
  /** 64 hex digits. */
  readonly key: string;
  /** The whole file ({@link packObject}). */
  readonly bytes: Uint8Array;
}

/** What reading gave. `size` is the file's length in bytes. */
export type LooseRead =
  | { readonly state: "found"; readonly header: ObjectHeader }
  | { readonly state: "missing" }
  | { readonly state: "damaged" };

const MISSING: LooseRead = { state: "missing" };
const DAMAGED: LooseRead = { state: "damaged" };
const READ_FLAGS = O_RDONLY | O_NOFOLLOW;
const HEX = new Uint8Array(KEY_BYTES);
let temporaries = 0;

/** The folder of loose objects, held open. */
export class LooseStore implements Disposable {
  readonly #fd: number;
  readonly #buffers = new Map<number, Uint8Array>();
  #open = true;
  /** Without the time of access: noting it costs half as much as the read. */
  #readFlags = READ_FLAGS | O_NOATIME;

  /** @param path the folder, which exists */
  constructor(readonly path: string) {
    this.#fd = open(path, O_RDONLY | O_DIRECTORY);
  }

  /**
   * Reads one object into `into` from `at`.
   *
   * @param key 64 hex digits
   * @param dimensions what the vector must have
   */
  read(key: string, dimensions: number, into: Float32Array, at: number): LooseRead {
    const bytes = this.#bytes(key, maxObjectBytes(dimensions));
    if (bytes === null) return MISSING;
    HEX.setFromHex(key);
    const header = parseObject(bytes, HEX);
    if (!header || header.dimensions !== dimensions) return DAMAGED;
    const payload = bytes.subarray(HEADER_BYTES);
    if (!header.codec.decode(payload, dimensions, into, at)) return DAMAGED;
    return { state: "found", header };
  }

  /** The checked header and payload of one object, for compaction and checks. */
  readRaw(
    key: string,
  ): { header: ObjectHeader; payload: Uint8Array } | "missing" | "damaged" {
    const bytes = this.#bytes(key, maxObjectBytes(MAX_DIMENSIONS));
    if (bytes === null) return "missing";
    HEX.setFromHex(key);
    const header = parseObject(bytes, HEX);
    return header ? { header, payload: bytes.subarray(HEADER_BYTES) } : "damaged";
  }

  /** The file's bytes, valid until the next call; one too many where it is over `limit`. */
  #bytes(key: string, limit: number): Uint8Array | null {
    let fd: number | null;
    try {
      fd = this.#openForReading(`${key}.bin`);
    } catch (error) {
      // A link or a folder under an object's name is not an object.
      if (isSysError(error, "ELOOP", "EISDIR")) return new Uint8Array();
      throw error;
    }
    if (fd === null) return null;
    let buffer = this.#buffers.get(limit);
    if (!buffer) this.#buffers.set(limit, buffer = new Uint8Array(limit + 1));
    let length = 0;
    try {
      for (;;) {
        const rest = length === 0 ? buffer : buffer.subarray(length);
        const n = readFd(fd, rest);
        length += n;
        if (n < rest.length || length === buffer.length) break; // short: the file's end
      }
    } catch (error) {
      if (isSysError(error, "EIO", "EISDIR", "EUCLEAN")) return new Uint8Array();
      throw error;
    } finally {
      close(fd);
    }
    return buffer.subarray(0, length);
  }

  #openForReading(name: string): number | null {
    try {
      return openIfThere(this.#fd, name, this.#readFlags);
    } catch (error) {
      // Only the owner may leave the time of access as it is.
      if (!isSysError(error, "EPERM") || this.#readFlags === READ_FLAGS) throw error;
      this.#readFlags = READ_FLAGS;
      return openIfThere(this.#fd, name, READ_FLAGS);
    }
  }

  /**
   * Writes objects; with `full` their bytes and names are on the disk on return. On a
   * failure (disk full) no file of it is left half-written.
   *
   * @param over replaces files that are there; those are made safe one by one first, as a
   *   rename may reach the disk before the bytes do
   * @returns keys that were not written, as they have a file; none with `over`
   */
  write(
    entries: readonly LooseEntry[],
    durability: Durability,
    over: boolean,
  ): Set<string> {
    const each = entries.length <= FSYNC_EACH_LIMIT;
    const taken = new Set<string>();
    for (const entry of entries) {
      const sync = durability === "full" && (each || over);
      if (over) this.#writeOver(entry, sync);
      else if (!this.#writeNew(entry, sync)) taken.add(entry.key);
    }
    if (durability === "full" && entries.length > 0) {
      if (each) fsync(this.#fd, this.path);
      else syncfs(this.#fd, this.path);
    }
    return taken;
  }

  /**
   * Writes under the final name at once: a rename costs btrfs more than all the rest. Until
   * its row is committed the file is nobody's; cut short, its checksum tells.
   *
   * @returns false where there is such a file already
   */
  #writeNew({ key, bytes }: LooseEntry, sync: boolean): boolean {
    const name = `${key}.bin`;
    let fd: number;
    try {
      fd = openAt(this.#fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
    } catch (error) {
      if (isSysError(error, "EEXIST")) return false;
      throw error;
    }
    try {
      withFd(fd, () => {
        writeAll(fd, bytes);
        if (sync) fsync(fd, `${this.path}/${name}`);
      });
    } catch (error) {
      unlinkAt(this.#fd, name);
      throw error;
    }
    return true;
  }

  #writeOver({ key, bytes }: LooseEntry, sync: boolean): void {
    const name = `${key}.bin`;
    const temporary = `.tmp-${Deno.pid}-${++temporaries}-${name}`;
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    const fd = openAt(this.#fd, temporary, flags, 0o644);
    try {
      withFd(fd, () => {
        writeAll(fd, bytes);
        if (sync) fsync(fd, `${this.path}/${name}`);
      });
      renameAt(this.#fd, temporary, this.#fd, name);
    } catch (error) {
      unlinkAt(this.#fd, temporary);
      throw error;
    }
  }

  /** Removes objects; those that are gone already are no error. Returns how many went. */
  remove(keys: Iterable<string>): number {
    let removed = 0;
    for (const key of keys) if (this.#unlink(`${key}.bin`)) removed++;
    return removed;
  }

  #unlink(name: string): boolean {
    try {
      unlinkAt(this.#fd, name);
      return true;
    } catch (error) {
      if (isSysError(error, "ENOENT")) return false;
      throw error;
    }
  }

  /** The keys of all objects, in the kernel's order. */
  keys(): string[] {
    const keys: string[] = [];
    for (const name of this.names()) {
      const match = OBJECT_NAME.exec(name);
      if (match) keys.push(match[1]!);
    }
    return keys;
  }

  /**
   * Every object with its inode, in the kernel's order.
   *
   * @param listing what {@link list} gave
   */
  entries(listing = this.list()): { key: string; inode: bigint }[] {
    const found: { key: string; inode: bigint }[] = [];
    for (const { name, ino } of listing) {
      const match = OBJECT_NAME.exec(name);
      if (match) found.push({ key: match[1]!, inode: ino });
    }
    return found;
  }

  /** The inode of one object; null when it is gone. */
  inode(key: string): bigint | null {
    try {
      return statAt(this.#fd, `${key}.bin`).ino;
    } catch (error) {
      if (isSysError(error, "ENOENT")) return null;
      throw error;
    }
  }

  /** Sizes and times of one object; null when it is gone. */
  stat(key: string): { sizeBytes: number; diskBytes: number; modifiedMs: number } | null {
    try {
      const { sizeBytes, blocks, mtime } = statAt(this.#fd, `${key}.bin`);
      const modifiedMs = Number(mtime.seconds) * 1000 +
        Math.floor(mtime.nanoseconds / 1e6);
      return { sizeBytes, diskBytes: blocks * 512, modifiedMs };
    } catch (error) {
      if (isSysError(error, "ENOENT")) return null;
      throw error;
    }
  }

  /** Temporary files that a killed writer left. @param olderThanMs their least age */
  staleTemporaries(nowMs: number, olderThanMs = TEMPORARY_STALE_MS): string[] {
    return this.names().filter((name) => {
      if (!name.startsWith(".tmp-")) return false;
      try {
        const stat = statAt(this.#fd, name);
        return isRegular(stat) &&
          nowMs - Number(stat.mtime.seconds) * 1000 >= olderThanMs;
      } catch (error) {
        if (isSysError(error, "ENOENT")) return false;
        throw error;
      }
    });
  }

  /** Removes what {@link staleTemporaries} named. */
  removeTemporaries(names: readonly string[]): void {
    for (const name of names) if (name.startsWith(".tmp-")) this.#unlink(name);
  }

  /** The names of everything in the folder, in the kernel's order. */
  names(): string[] {
    return this.list().map(({ name }) => name);
  }

  /** {@link names} with inodes. A hundred thousand take 0.1 s: do not ask twice. */
  list(): { name: string; ino: bigint }[] {
    // A descriptor of its own: reading a folder moves its position.
    return withFd(
      openAt(this.#fd, ".", O_RDONLY | O_DIRECTORY),
      (fd) => listNames(fd, this.path),
    );
  }

  /** The folder's descriptor, for the stores that share it. */
  get folderFd(): number {
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#open) close(this.#fd);
    this.#open = false;
  }
}
