/** Trees on disk: walked by descriptor, never through a link; digests of them. */
import { createHash } from "node:crypto";
import { type BytePath, printable } from "../../ffi/libc.ts";
import { isSysError } from "../../ffi/errno.ts";
import { DT_DIR, DT_REG, listFd } from "../../ffi/directory.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  open,
  openAt,
  read,
  readlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { fstat, type Stat, statAt } from "../../ffi/stat.ts";
import { fgetxattr, flistxattr } from "../../ffi/xattr.ts";
import { OpError } from "../base/errors.ts";
import { isDigestXattr, TreeDigester } from "./digest.ts";
import { binaryString, compareKeys } from "./paths.ts";
import type { NodeKind } from "./tree.ts";

/** Kinds by the file type of a mode, shifted right by 12. */
const KINDS: Readonly<Record<number, NodeKind>> = {
  1: "fifo",
  2: "char",
  4: "folder",
  6: "block",
  8: "file",
  10: "symlink",
  12: "socket",
};
const MAX_DEPTH = 2048;
const CHUNK_BYTES = 1024 * 1024;

/** One entry of a tree on disk. */
export interface DiskEntry {
  /** Key (paths.ts); "" for the root. */
  readonly path: string;
  readonly kind: NodeKind;
  readonly stat: Stat;
  /** Open for reading: files and folders; -1 else. Valid until the next entry. */
  readonly fd: number;
  /** The folder it is in, open. Valid until the next entry; -1 for the root. */
  readonly folderFd: number;
  readonly name: Uint8Array;
}

/** Says which entries (by key and kind) to leave out, with what is beneath them. */
export type SkipEntry = (path: string, kind: NodeKind) => boolean;

/**
 * Walks a tree: the root, then folders before their content, names sorted by bytes. No
 * link is followed; other file systems mounted inside are walked like the rest.
 *
 * @param rootFd an open folder, which stays the caller's
 * @param rootName for messages
 * @param skip what to leave out
 * @throws {SysError} what open or stat gave
 */
export function* walkDisk(
  rootFd: number,
  rootName: BytePath = "",
  skip: SkipEntry = () => false,
): Generator<DiskEntry> {
  // A descriptor of its own: listing moves the position of the one it lists.
  const fd = openAt(rootFd, ".", O_RDONLY | O_DIRECTORY);
  try {
    const name = new Uint8Array();
    yield { path: "", kind: "folder", stat: fstat(fd), fd, folderFd: -1, name };
    yield* walkFolder(fd, "", 1, rootName, skip);
  } finally {
    close(fd);
  }
}

function* walkFolder(
  folderFd: number,
  prefix: string,
  depth: number,
  rootName: BytePath,
  skip: SkipEntry,
): Generator<DiskEntry> {
  if (depth > MAX_DEPTH) {
    const where = `${printable(rootName)}: deeper than ${MAX_DEPTH} folders`;
    throw new OpError("too_deep", `Cannot read ${where}`);
  }
  const names = listFd(folderFd, rootName)
    .map(({ name, type }) => ({ name, type, key: binaryString(name) }))
    .sort((a, b) => compareKeys(a.key, b.key));
  for (const { name, key, type } of names) {
    const path = prefix + key;
    const known = type === DT_REG ? "file" : type === DT_DIR ? "folder" : null;
    const before = known ? null : statAt(folderFd, name);
    const kind = known ?? KINDS[before!.mode >> 12]!;
    if (skip(path, kind)) continue;
    if (kind !== "file" && kind !== "folder") { // never opened: it may be a device
      yield { path, kind, stat: before!, fd: -1, folderFd, name };
      continue;
    }
    const flags = kind === "folder" ? O_DIRECTORY : O_NONBLOCK;
    const fd = openAt(folderFd, name, O_RDONLY | O_NOFOLLOW | flags);
    try {
      const stat = fstat(fd);
      if (KINDS[stat.mode >> 12] !== kind) {
        throw new OpError("tree_changed", `Cannot read ${printable(name)}: it changed`);
      }
      yield { path, kind, stat, fd, folderFd, name };
      if (kind === "folder") yield* walkFolder(fd, path + "/", depth + 1, rootName, skip);
    } finally {
      close(fd);
    }
  }
}

/** What reading a file gave. */
export interface FileHash {
  readonly sha256: Uint8Array;
  readonly sizeBytes: number;
}

let scratch: Uint8Array<ArrayBuffer> | undefined;

/** SHA-256 of what an open file holds from where it is read next, and its length. */
export function hashFile(fd: number, expectedBytes: number): FileHash {
  scratch ??= new Uint8Array(CHUNK_BYTES);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for (;;) {
    const n = read(fd, scratch);
    if (n === 0) break;
    hash.update(scratch.subarray(0, n));
    sizeBytes += n;
    if (n < scratch.length && sizeBytes === expectedBytes) break;
  }
  return { sha256: hash.digest(), sizeBytes };
}

/** The attributes of an open file or folder that `wanted` takes; null for none. */
export function readXattrs(
  fd: number,
  wanted: (name: string) => boolean,
): Map<string, Uint8Array> | null {
  let found: Map<string, Uint8Array> | null = null;
  for (const name of xattrNames(fd)) {
    const key = binaryString(name);
    if (!wanted(key)) continue;
    const value = fgetxattr(fd, name);
    if (value !== null) (found ??= new Map()).set(key, value);
  }
  return found;
}

function xattrNames(fd: number): Uint8Array[] {
  try {
    return flistxattr(fd);
  } catch (error) {
    if (isSysError(error, "ENOTSUP")) return []; // a file system without any
    throw error;
  }
}

/** How modes enter the digest of a folder. */
export interface FolderDigestOptions {
  /**
   * What packing would make of each mode: give `normalisedMode` (pack.ts) for an author's
   * folder, so that its digest is the package's. Default: the mode as it is.
   */
  readonly mode?: (kind: NodeKind, mode: number) => number;
  readonly skip?: SkipEntry;
  /** Mode to take for the root folder, where its own is not set yet. */
  readonly rootMode?: number;
  /** Hashes of files that were read already; null: read it. */
  readonly known?: (stat: Stat) => FileHash | null;
  readonly signal?: AbortSignal;
}

/**
 * The tree digest (digest.ts) of an open folder.
 *
 * @param rootFd stays the caller's
 * @throws {SysError} what open, stat or read gave
 */
export function digestOfFd(rootFd: number, options: FolderDigestOptions = {}): string {
  const digester = new TreeDigester();
  for (const entry of walkDisk(rootFd, "", options.skip)) {
    options.signal?.throwIfAborted();
    const { path, kind, stat, fd } = entry;
    const isRoot = path === "" && options.rootMode !== undefined;
    const bits = isRoot ? options.rootMode! : stat.mode & 0o7777;
    const mode = options.mode ? options.mode(kind, bits) : bits;
    const xattrs = fd >= 0 ? readXattrs(fd, isDigestXattr) : null;
    if (kind === "file") {
      const hash = options.known?.(stat) ?? hashFile(fd, stat.sizeBytes);
      digester.add({ path, kind, mode, xattrs, ...hash });
    } else if (kind === "symlink") {
      const target = binaryString(readlinkAt(entry.folderFd, entry.name));
      digester.add({ path, kind, mode, xattrs, target });
    } else digester.add({ path, kind, mode, xattrs, rdev: stat.rdev });
  }
  return digester.digest();
}

/** {@link digestOfFd} of a folder by path; a link in its last component is refused. */
export function digestOfFolder(path: string, options: FolderDigestOptions = {}): string {
  return withFd(
    open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    (fd) => digestOfFd(fd, options),
  );
}
