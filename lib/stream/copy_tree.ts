/** Copies a tree on disk, for plain file systems: what a snapshot is on btrfs. */
import { cloneRange } from "../../ffi/btrfs_stream.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  chownAt,
  close,
  effectiveUid,
  fchmod,
  linkAt,
  mkdirAt,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDWR,
  openBeneath,
  read,
  readlinkAt,
  symlinkAt,
  utimesAt,
  writeAll,
} from "../../ffi/files.ts";
import { chmodAt, mknodAt } from "../../ffi/inode.ts";
import { fsetxattr } from "../../ffi/xattr.ts";
import { type DiskEntry, readXattrs, walkDisk } from "./disk_tree.ts";
import { binaryBytes, parentKey } from "./paths.ts";

const COPY_BYTES = 1024 * 1024;

/**
 * Copies everything beneath one folder into another, empty one: contents (shared where
 * the file system can), hard links, modes, times, attributes, owners when root. The
 * target's own attributes but its mode follow the source's.
 *
 * @param fromFd and @param toFd open folders, which stay the caller's
 */
export function copyTree(fromFd: number, toFd: number): void {
  const links = new Map<bigint, Uint8Array>();
  const folders: { path: Uint8Array; entry: DiskEntry }[] = [];
  const isRoot = effectiveUid() === 0;
  for (const entry of walkDisk(fromFd)) {
    const path = binaryBytes(entry.path);
    if (entry.path === "") {
      for (const [name, value] of readXattrs(entry.fd, copied) ?? []) {
        fsetxattr(toFd, binaryBytes(name), value);
      }
      continue;
    }
    const name = path.subarray(path.lastIndexOf(0x2f) + 1);
    const parent = folderFd(toFd, entry.path);
    try {
      const linked = entry.kind === "folder" ? undefined : links.get(entry.stat.ino);
      if (linked) {
        linkAt(toFd, linked, parent, name);
        continue;
      }
      if (entry.stat.nlink > 1) links.set(entry.stat.ino, path);
      copyEntry(entry, parent, name, isRoot);
    } finally {
      close(parent);
    }
    if (entry.kind === "folder") folders.push({ path, entry });
  }
  // Innermost first, for filling a folder needs it writable and changes its times.
  for (const { path, entry } of folders.reverse()) {
    const { mtime, mode } = entry.stat;
    chmodAt(toFd, path, mode & 0o7777);
    utimesAt(toFd, path, mtime, mtime);
  }
}

function copied(name: string): boolean {
  return name.startsWith("user.");
}

function folderFd(rootFd: number, path: string): number {
  const folder = parentKey(path);
  return openBeneath(rootFd, folder ? binaryBytes(folder) : ".", O_PATH | O_DIRECTORY);
}

function copyEntry(
  entry: DiskEntry,
  parent: number,
  name: Uint8Array,
  isRoot: boolean,
): void {
  const { kind, stat } = entry;
  if (kind === "folder") mkdirAt(parent, name, 0o700);
  else if (kind === "symlink") {
    symlinkAt(readlinkAt(entry.folderFd, entry.name), parent, name);
  } else if (kind !== "file") mknodAt(parent, name, stat.mode, stat.rdev);
  if (kind === "file" || kind === "folder") {
    const flags = kind === "file" ? O_RDWR | O_CREAT | O_EXCL : O_DIRECTORY;
    const fd = openBeneath(parent, name, flags | O_NOFOLLOW, kind === "file" ? 0o600 : 0);
    try {
      if (kind === "file") copyContent(entry.fd, fd, stat.sizeBytes);
      for (const [key, value] of readXattrs(entry.fd, copied) ?? []) {
        fsetxattr(fd, binaryBytes(key), value);
      }
      if (kind === "file") fchmod(fd, stat.mode & 0o7777);
    } finally {
      close(fd);
    }
  }
  if (isRoot) {
    chownAt(parent, name, stat.uid, stat.gid);
    if (kind === "file") chmodAt(parent, name, stat.mode & 0o7777);
  }
  utimesAt(parent, name, stat.mtime, stat.mtime);
}

function copyContent(from: number, to: number, sizeBytes: number): void {
  if (sizeBytes === 0) return;
  try {
    return cloneRange(to, from, 0, sizeBytes, 0);
  } catch (error) {
    if (!isSysError(error)) throw error; // no sharing here: copy
  }
  const chunk = new Uint8Array(Math.min(COPY_BYTES, sizeBytes));
  for (let n = read(from, chunk); n > 0; n = read(from, chunk)) {
    writeAll(to, chunk.subarray(0, n));
  }
}
