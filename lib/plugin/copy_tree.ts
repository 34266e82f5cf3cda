/** Copying trees and single entries, by descriptor, links as links. */
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  close,
  fchmod,
  mkdirAt,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  open,
  openAt,
  openBeneath,
  read,
  readlinkAt,
  symlinkAt,
  unlinkAt,
  utimesAt,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { listFd } from "../../ffi/directory.ts";
import { isFolder, statAt } from "../../ffi/stat.ts";
import { fsetxattr } from "../../ffi/xattr.ts";
import { OpError } from "../base/errors.ts";
import { type DiskEntry, readXattrs, walkDisk } from "../stream/disk_tree.ts";
import { binaryBytes, displayPath, nameKey, parentKey } from "../stream/paths.ts";

const PIECE_BYTES = 256 * 1024;
const FOLDER_MODE = 0o755;

/** An open folder. */
export function openFolderAt(path: string): number {
  return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/** The folder that an entry of a tree lies in; the caller closes it. */
export function openParent(rootFd: number, path: string): number {
  const parent = parentKey(path);
  return parent === ""
    ? openAt(rootFd, ".", O_RDONLY | O_DIRECTORY)
    : openBeneath(rootFd, binaryBytes(parent), O_RDONLY | O_DIRECTORY);
}

/**
 * Copies a folder's content into another, which is empty.
 * @throws {OpError} `not_copyable` for devices and sockets
 */
export function copyTree(fromFd: number, toFd: number): void {
  for (const entry of walkDisk(fromFd)) {
    if (entry.path === "") fchmod(toFd, entry.stat.mode & 0o7777);
    else copyEntry(entry, toFd);
  }
}

/** Copies one entry of a walk to its path in another tree, whose parent is there. */
export function copyEntry(entry: DiskEntry, toRootFd: number): void {
  const parent = openParent(toRootFd, entry.path);
  const name = binaryBytes(nameKey(entry.path));
  try {
    if (entry.kind === "folder") makeFolder(entry, parent, name);
    else if (entry.kind === "file") copyFile(entry, parent, name);
    else if (entry.kind === "symlink") {
      symlinkAt(readlinkAt(entry.folderFd, entry.name), parent, name);
    } else {
      throw new OpError(
        "not_copyable",
        `Cannot carry over ${displayPath(entry.path)}: it is a ${entry.kind}`,
        { hint: "remove it from the plugin's folder, then try again" },
      );
    }
    if (entry.kind !== "folder") {
      utimesAt(parent, name, entry.stat.mtime, entry.stat.mtime);
    }
  } finally {
    close(parent);
  }
}

function makeFolder(entry: DiskEntry, parent: number, name: Uint8Array): void {
  try {
    mkdirAt(parent, name, FOLDER_MODE);
  } catch (error) {
    if (!isSysError(error, "EEXIST")) throw error;
  }
  withFd(openAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
    copyXattrs(entry.fd, fd);
    fchmod(fd, entry.stat.mode & 0o7777);
  });
}

function copyFile(entry: DiskEntry, parent: number, name: Uint8Array): void {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  withFd(openAt(parent, name, flags, 0o600), (fd) => {
    const piece = new Uint8Array(PIECE_BYTES);
    for (let n = read(entry.fd, piece); n > 0; n = read(entry.fd, piece)) {
      writeAll(fd, piece.subarray(0, n));
    }
    copyXattrs(entry.fd, fd);
    fchmod(fd, entry.stat.mode & 0o7777);
  });
}

function copyXattrs(fromFd: number, toFd: number): void {
  for (const [name, value] of readXattrs(fromFd, (n) => n.startsWith("user.")) ?? []) {
    fsetxattr(toFd, binaryBytes(name), value);
  }
}

/** Makes the folders above a path where they are missing. */
export function makeParents(rootFd: number, path: string): void {
  const parent = parentKey(path);
  if (parent === "") return;
  makeParents(rootFd, parent);
  withFd(openParent(rootFd, parent), (fd) => {
    try {
      mkdirAt(fd, binaryBytes(nameKey(parent)), FOLDER_MODE);
    } catch (error) {
      if (!isSysError(error, "EEXIST")) throw error;
    }
  });
}

/** Removes an entry and what is beneath it; nothing where there is none. */
export function removeAt(folderFd: number, name: Uint8Array | string): void {
  try {
    if (!isFolder(statAt(folderFd, name))) return unlinkAt(folderFd, name);
    withFd(openAt(folderFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
      for (const entry of listFd(fd)) removeAt(fd, entry.name);
    });
    unlinkAt(folderFd, name, AT_REMOVEDIR);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
}

/** {@link removeAt} of a path. */
export function removeTree(path: string): void {
  removeAt(AT_FDCWD, path);
}
