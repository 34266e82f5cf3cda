/**
 * Whole trees under the root: copied, made read-only, deleted. On btrfs they are
 * subvolumes and all of that takes microseconds; elsewhere they are plain folders, copied
 * file by file, with the same guarantees but not the same speed.
 */
import { isSysError } from "../../ffi/errno.ts";
import {
  createSnapshot,
  createSubvolume,
  deleteSubvolume,
  isBtrfs,
  isReadOnly,
  isSubvolume,
  openFolder,
  setReadOnly,
  subvolumeInfo,
} from "../../ffi/btrfs.ts";
import { AT_FDCWD, fsyncFolder, mkdirAt, syncfs, withFd } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { copyTree, removeTree } from "./copy_tree.ts";

/** Operations on trees of one root. */
export class TreeStore {
  readonly kind: "btrfs" | "folder";

  /** @param root the root folder, which is there */
  constructor(readonly root: string) {
    this.kind = withFd(openFolder(root), isBtrfs) ? "btrfs" : "folder";
  }

  /** True when there is anything at the path. */
  exists(path: string): boolean {
    try {
      statAt(AT_FDCWD, path);
      return true;
    } catch (error) {
      if (isSysError(error, "ENOENT")) return false;
      throw error;
    }
  }

  /**
   * What stays the same when a tree is renamed, and is no other tree's: the subvolume's
   * UUID, or the folder's inode. Null where there is nothing.
   */
  identity(path: string): string | null {
    if (!this.exists(path)) return null;
    return withFd(
      openFolder(path),
      (fd) =>
        this.kind === "btrfs" && isSubvolume(fd)
          ? subvolumeInfo(fd, path).uuid
          : `inode ${statAt(AT_FDCWD, path).ino}`,
    );
  }

  /**
   * A writable copy. Durable only after {@link sync}.
   *
   * @param from a subvolume or a folder
   * @param to where nothing is
   */
  copy(from: string, to: string): void {
    const { folder, name } = split(to);
    withFd(openFolder(from), (source) => {
      if (this.kind === "btrfs" && isSubvolume(source)) {
        withFd(openFolder(folder), (fd) => createSnapshot(source, fd, name, false));
        return;
      }
      if (this.kind === "btrfs") {
        withFd(openFolder(folder), (fd) => createSubvolume(fd, name));
      } else mkdirAt(AT_FDCWD, to, 0o755);
      withFd(openFolder(to), (target) => copyTree(source, target));
    });
  }

  /** Makes a subvolume read-only; a plain folder has no such thing. */
  freeze(path: string): void {
    if (this.kind !== "btrfs") return;
    withFd(openFolder(path), (fd) => {
      if (isSubvolume(fd) && !isReadOnly(fd)) setReadOnly(fd, true);
    });
  }

  /** Deletes a tree; nothing where there is none. */
  destroy(path: string): void {
    if (!this.exists(path)) return;
    const subvolume = this.kind === "btrfs" && withFd(openFolder(path), isSubvolume);
    if (!subvolume) return removeTree(path);
    const { folder, name } = split(path);
    withFd(openFolder(folder), (fd) => deleteSubvolume(fd, name));
  }

  /** Makes everything durable that was written under the root so far. */
  sync(): void {
    withFd(openFolder(this.root), (fd) => syncfs(fd, this.root));
  }

  /** Makes renames in a folder durable. */
  syncFolder(path: string): void {
    fsyncFolder(path);
  }
}

function split(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: path.slice(0, slash) || "/", name: path.slice(slash + 1) };
}
