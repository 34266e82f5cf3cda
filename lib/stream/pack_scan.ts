/** What packing needs to know of a folder, read once; small contents are kept. */
import { createHash } from "node:crypto";
import { read, readlinkAt } from "../../ffi/files.ts";
import { InputError } from "../base/errors.ts";
import {
  type DiskEntry,
  hashFile,
  readXattrs,
  type SkipEntry,
  walkDisk,
} from "./disk_tree.ts";
import { isDigestXattr, TreeDigester } from "./digest.ts";
import { binaryString, compareKeys, displayPath, targetStaysInside } from "./paths.ts";
import type { NodeKind } from "./tree.ts";

/** Contents kept of one file, and of all. The others are read again. */
const KEEP_FILE_BYTES = 1024 * 1024;
const KEEP_TOTAL_BYTES = 32 * 1024 * 1024;

/** One entry, as it will be in the package. */
export interface PackItem {
  /** Key; "" for the root. */
  readonly path: string;
  readonly kind: "file" | "folder" | "symlink";
  readonly mode: number;
  /** Modification time, seconds, not clamped. */
  readonly seconds: number;
  /** Binary string; of symlinks. */
  readonly target: string;
  /** Sorted by name. */
  readonly xattrs: readonly (readonly [string, Uint8Array])[];
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
  /** The whole content; null where it is to be read again. */
  readonly content: Uint8Array | null;
}

const NOTHING = new Uint8Array();

/** What packing makes of a mode: 0755 for folders and programs, 0644 for other files. */
export function normalisedMode(kind: NodeKind, mode: number): number {
  if (kind === "symlink") return 0o777;
  return kind === "folder" || (mode & 0o111) !== 0 ? 0o755 : 0o644;
}

/**
 * Reads a folder.
 *
 * @param fd stays the caller's
 * @param folder its path, for messages
 * @returns the entries in walk order, and the digest of what packing makes of them
 * @throws {InputError} on what a package may not hold
 */
export function scanFolder(
  fd: number,
  folder: string,
  skip?: SkipEntry,
  signal?: AbortSignal,
): { items: PackItem[]; digest: string } {
  const items: PackItem[] = [], digester = new TreeDigester();
  let room = KEEP_TOTAL_BYTES;
  for (const entry of walkDisk(fd, folder, skip)) {
    signal?.throwIfAborted();
    const item = itemOf(entry, folder, room);
    room -= item.content?.length ?? 0;
    items.push(item);
    digester.add({ ...item, xattrs: new Map(item.xattrs) });
  }
  return { items, digest: digester.digest() };
}

function itemOf(entry: DiskEntry, folder: string, room: number): PackItem {
  const { path, kind, stat } = entry;
  const fail = (why: string): never => {
    const where = `${folder}/${displayPath(path)}`;
    throw new InputError("not_packable", `Cannot pack ${where}: ${why}`, {
      hint: "packages hold regular files, folders and symlinks that stay inside",
    });
  };
  if (kind !== "file" && kind !== "folder" && kind !== "symlink") {
    return fail(`it is a ${kind}`);
  }
  const seconds = Number(stat.mtime.seconds), mode = normalisedMode(kind, stat.mode);
  const common = { path, kind, mode, seconds };
  const none = { target: "", xattrs: [], sizeBytes: 0, sha256: NOTHING, content: null };
  if (kind === "symlink") {
    const target = binaryString(readlinkAt(entry.folderFd, entry.name));
    if (!targetStaysInside(path, target)) fail("the link leaves the folder");
    return { ...none, ...common, target };
  }
  const found = [...readXattrs(entry.fd, isDigestXattr) ?? []];
  const xattrs = found.sort(([a], [b]) => compareKeys(a, b));
  if (kind === "folder") return { ...none, ...common, xattrs };
  const size = stat.sizeBytes;
  if (size > KEEP_FILE_BYTES || size > room) {
    return { ...none, ...common, xattrs, ...hashFile(entry.fd, size) };
  }
  const content = readWhole(entry.fd, size) ?? fail("it changed while it was read");
  const sha256 = createHash("sha256").update(content).digest();
  return { ...none, ...common, xattrs, sizeBytes: size, sha256, content };
}

/** Exactly `size` bytes; null when the file has more or fewer. */
function readWhole(fd: number, size: number): Uint8Array | null {
  const bytes = new Uint8Array(size + 1);
  let have = 0;
  for (;;) {
    const n = read(fd, bytes.subarray(have));
    have += n;
    if (n === 0 || have > size) break;
  }
  return have === size ? bytes.subarray(0, size) : null;
}
