/**
 * The descriptors that a receive keeps open: the file at hand and its folders.
 *
 * A folder's times wait here until it is closed: a stream sets them again after each name
 * that it puts in, and only the last time counts.
 */
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  openAt,
  openBeneath,
  type Timespec,
  utimesOf,
} from "../../ffi/files.ts";
import { SysError } from "../../ffi/errno.ts";
import { printable } from "../../ffi/libc.ts";
import { fstat, isRegular } from "../../ffi/stat.ts";
import type { EarlyDigests } from "./early_digests.ts";
import { binaryString, sameBytes } from "./paths.ts";

const SLASH = 0x2f;
/** Folders kept open: an eighth to a quarter of the usual limit on open files (1024). */
const FOLDERS = 200;
/** A file with less written to it is hashed as quickly as it is handed over. */
const EARLY_BYTES = 64 * 1024;

/** A folder that is kept open. */
interface OpenFolder {
  /** O_PATH. */
  readonly fd: number;
  /** What it is to have once nothing more is put into it. */
  times: readonly [atime: Timespec, mtime: Timespec] | null;
}

/** Opens beneath a root, remembering what it opened last. */
export class OpenFiles {
  readonly #rootFd: number;
  readonly #folders = new Map<string, OpenFolder>();
  /** The folder that was asked for last: most often the next one too. */
  #last: { path: Uint8Array; key: string; folder: OpenFolder } | null = null;
  /** The file that the stream is at: its path and descriptor. */
  #path: Uint8Array = new Uint8Array();
  #fd = -1;
  /** Bytes written to it since it was opened. */
  #written = 0;
  readonly #early: EarlyDigests | null;

  /**
   * @param rootFd stays the caller's
   * @param early takes files that the stream has left
   */
  constructor(rootFd: number, early: EarlyDigests | null = null) {
    this.#rootFd = rootFd;
    this.#early = early;
  }

  /** The last component of a path. */
  name(path: Uint8Array): Uint8Array {
    return path.subarray(path.lastIndexOf(SLASH) + 1);
  }

  /** A descriptor (O_PATH) of the folder that a path lies in. */
  folderOf(path: Uint8Array): number {
    const slash = path.lastIndexOf(SLASH);
    if (slash < 0) return this.#rootFd;
    const folder = path.subarray(0, slash);
    if (this.#last && sameBytes(folder, this.#last.path)) return this.#last.folder.fd;
    // Until now it was found without being looked up: it is the newest all the same.
    if (this.#last) this.#renew(this.#last.key, this.#last.folder);
    const key = binaryString(folder), opened = this.#open(folder, key);
    this.#last = { path: folder.slice(), key, folder: opened };
    return opened.fd;
  }

  #renew(key: string, folder: OpenFolder): void {
    this.#folders.delete(key);
    this.#folders.set(key, folder);
  }

  #open(path: Uint8Array, key: string): OpenFolder {
    const known = this.#folders.get(key);
    if (known !== undefined) {
      this.#renew(key, known);
      return known;
    }
    if (this.#folders.size >= FOLDERS) {
      // The least recently used. Callers hold the last two at most.
      const [oldest, folder] = this.#folders.entries().next().value!;
      this.#folders.delete(oldest);
      this.#close(folder);
    }
    const fd = openBeneath(this.#rootFd, path, O_PATH | O_DIRECTORY);
    const opened: OpenFolder = { fd, times: null };
    this.#folders.set(key, opened);
    return opened;
  }

  /** Sets the times that wait, and closes. */
  #close(folder: OpenFolder): void {
    if (this.#last?.folder === folder) this.#last = null;
    try {
      if (folder.times) utimesOf(folder.fd, ...folder.times);
    } finally {
      close(folder.fd);
    }
  }

  /**
   * Takes the times of a folder that is open, to be set when it is closed.
   * @returns false when no open folder has this path
   */
  setFolderTimes(path: Uint8Array, atime: Timespec, mtime: Timespec): boolean {
    const folder = this.#last && sameBytes(path, this.#last.path)
      ? this.#last.folder
      : this.#folders.get(binaryString(path));
    if (folder) folder.times = [atime, mtime];
    return folder !== undefined;
  }

  /** A path for calls that take no descriptor; its last component is not followed. */
  procPath(path: Uint8Array): Uint8Array {
    const prefix = new TextEncoder().encode(`/proc/self/fd/${this.folderOf(path)}/`);
    const name = this.name(path), full = new Uint8Array(prefix.length + name.length);
    full.set(prefix);
    full.set(name, prefix.length);
    return full;
  }

  /** Makes a new file and keeps it open. @throws {SysError} EEXIST */
  create(path: Uint8Array): void {
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const fd = openAt(this.folderOf(path), this.name(path), flags, 0o600);
    this.#keep(path, fd);
    this.#early?.reopened(fd); // ext4 gives the number of an inode that is gone again
  }

  /** The file at hand when it has this path, else -1. */
  current(path: Uint8Array): number {
    return this.#fd >= 0 && sameBytes(path, this.#path) ? this.#fd : -1;
  }

  /** A regular file, open for writing. @throws {SysError} EINVAL on anything else */
  file(path: Uint8Array): number {
    if (this.#fd >= 0 && sameBytes(path, this.#path)) return this.#fd;
    this.#keep(path, openRegular(this.#rootFd, path, O_RDWR));
    this.#early?.reopened(this.#fd);
    return this.#fd;
  }

  /** Notes that bytes were written to the file at hand. */
  wrote(bytes: number): void {
    this.#written += bytes;
  }

  /** Lets go of the file at hand. */
  leave(): void {
    const fd = this.#fd, early = this.#written >= EARLY_BYTES ? this.#early : null;
    this.#fd = -1;
    this.#written = 0;
    if (fd >= 0 && !early?.take(fd)) close(fd);
  }

  #keep(path: Uint8Array, fd: number): void {
    this.leave();
    this.#fd = fd;
    this.#path = path.slice();
  }

  /** To be told of a rename, after it was done. */
  renamed(from: Uint8Array, to: Uint8Array): void {
    if (this.#fd >= 0 && sameBytes(from, this.#path)) {
      this.#path = to.slice();
      return; // a file: no folder's path changed
    }
    this.forget(from);
  }

  /** Closes what was open at or beneath a path. */
  forget(path: Uint8Array): void {
    if (this.#fd >= 0 && isAtOrBeneath(this.#path, path)) this.leave();
    if (this.#folders.size === 0) return;
    const key = binaryString(path), inside = key + "/";
    for (const [path, folder] of this.#folders) {
      if (path !== key && !path.startsWith(inside)) continue;
      this.#folders.delete(path);
      this.#close(folder);
    }
  }

  /** Sets the times that wait, and closes everything; it may be used on. */
  close(): void {
    this.leave();
    for (const [path, folder] of this.#folders) {
      this.#folders.delete(path);
      this.#close(folder);
    }
  }

  /** Closes everything as it is: what was made is to be destroyed. */
  abandon(): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
    for (const { fd } of this.#folders.values()) close(fd);
    this.#folders.clear();
    this.#last = null;
  }
}

/**
 * Opens a regular file beneath a root. Anything else is not even opened: opening a device
 * may do something.
 *
 * @throws {SysError} EINVAL when it is no regular file
 */
export function openRegular(rootFd: number, path: Uint8Array, flags: number): number {
  const seen = openBeneath(rootFd, path, O_PATH);
  try {
    if (!isRegular(fstat(seen))) {
      throw new SysError("open of what is no regular file", printable(path), 22);
    }
  } finally {
    close(seen);
  }
  return openBeneath(rootFd, path, flags | O_NONBLOCK);
}

function isAtOrBeneath(path: Uint8Array, folder: Uint8Array): boolean {
  if (path.length < folder.length) return false;
  for (let at = 0; at < folder.length; at++) if (path[at] !== folder[at]) return false;
  return path.length === folder.length || path[folder.length] === SLASH;
}
