/**
 * The private place that a stream is received into: a subvolume (btrfs) or a folder,
 * beside its target under a hidden name, 0700, locked while its maker lives. Whatever is
 * not published is destroyed; what a killed process left is found by its lock being free.
 */
import { randomHex } from "./random.ts";
import {
  createSnapshot,
  createSubvolume,
  deleteSubvolume,
  isSubvolume,
  setReadOnly,
} from "../../ffi/btrfs.ts";
import { isSysError } from "../../ffi/errno.ts";
import { listFd } from "../../ffi/directory.ts";
import {
  close,
  effectiveUid,
  fchmod,
  fsync,
  mkdirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  openAt,
  RENAME_NOREPLACE,
  renameAt,
  withFd,
} from "../../ffi/files.ts";
import { flock, LOCK_EX, LOCK_NB } from "../../ffi/flock.ts";
import { fchown } from "../../ffi/inode.ts";
import { fstat, statAt } from "../../ffi/stat.ts";
import { OpError } from "../base/errors.ts";
import { copyTree } from "./copy_tree.ts";
import { removeTree } from "./remove_tree.ts";

/** Names of what is being received begin with this. */
export const STAGING_PREFIX = ".op-dbus-receive-";
const ATTEMPTS = 8;

/** What a staged tree is. */
export type StagingKind = "btrfs" | "plain";

/** A tree that is not visible yet. Dispose destroys it, unless it was published. */
export class Staging implements Disposable {
  readonly kind: StagingKind;
  /** Its root folder, locked. */
  readonly fd: number;
  readonly #folderFd: number;
  readonly #name: Uint8Array<ArrayBuffer>;
  /** Mode of the base's root folder where it began as a copy of one. */
  readonly baseMode: number | null;
  #published = false;

  private constructor(
    folderFd: number,
    name: Uint8Array<ArrayBuffer>,
    kind: StagingKind,
    fd: number,
    baseMode: number | null,
  ) {
    this.#folderFd = folderFd;
    this.#name = name;
    this.kind = kind;
    this.fd = fd;
    this.baseMode = baseMode;
  }

  /**
   * Makes the place.
   *
   * @param folderFd the folder that the result will be visible in; stays the caller's
   * @param kind a subvolume or a folder
   * @param baseFd a tree to begin from: snapshotted, or copied where it is plain
   */
  static create(folderFd: number, kind: StagingKind, baseFd: number | null): Staging {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const name = new TextEncoder().encode(
        `${STAGING_PREFIX}${Deno.pid}-${randomHex()}`,
      );
      const snapshot = kind === "btrfs" && baseFd !== null;
      if (snapshot) createSnapshot(baseFd, folderFd, name, false);
      else if (kind === "btrfs") createSubvolume(folderFd, name);
      else mkdirAt(folderFd, name, 0o700);
      const fd = openLocked(folderFd, name);
      if (fd === null) continue; // somebody tidied it away before it was locked
      const mode = baseFd !== null ? fstat(baseFd).mode & 0o7777 : null;
      const staging = new Staging(folderFd, name, kind, fd, mode);
      try {
        staging.#secure();
        if (kind === "plain" && baseFd !== null) copyTree(baseFd, fd);
        return staging;
      } catch (error) {
        staging[Symbol.dispose]();
        throw error;
      }
    }
    throw new OpError("staging", "Cannot make a place to receive into", {
      hint: "another op-dbus keeps removing it; run again",
    });
  }

  #secure(): void {
    fchmod(this.fd, 0o700);
    const uid = effectiveUid();
    if (uid === 0 && this.baseMode === null) fchown(this.fd, 0, 0);
    const stat = fstat(this.fd);
    const owned = stat.uid === uid || this.baseMode !== null;
    if (!owned || (stat.mode & 0o7777) !== 0o700) {
      throw new OpError("staging", "Cannot receive: the new folder is not private");
    }
  }

  /**
   * Makes it visible under its name, in the same folder, durably.
   * @throws {SysError} EEXIST when the name is taken
   */
  publish(name: Uint8Array): void {
    renameAt(this.#folderFd, this.#name, this.#folderFd, name, RENAME_NOREPLACE);
    this.#published = true;
    fsync(this.#folderFd);
  }

  [Symbol.dispose](): void {
    try {
      if (!this.#published) destroy(this.#folderFd, this.#name, this.kind === "btrfs");
    } finally {
      close(this.fd);
    }
  }
}

/** Opens and locks; null when the name no longer means what was opened. */
function openLocked(folderFd: number, name: Uint8Array): number | null {
  let fd = -1;
  try {
    fd = openAt(folderFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
      const now = statAt(folderFd, name), mine = fstat(fd);
      if (now.dev === mine.dev && now.ino === mine.ino) return fd;
    }
  } catch (error) {
    if (fd >= 0) close(fd);
    // Nothing any more, or no folder: nothing of ours.
    if (!isSysError(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
    return null;
  }
  if (fd >= 0) close(fd);
  return null;
}

function destroy(folderFd: number, name: Uint8Array, subvolume: boolean): void {
  if (!subvolume) return removeTree(folderFd, name);
  try {
    deleteSubvolume(folderFd, name);
  } catch (error) {
    if (!isSysError(error, "EPERM", "EACCES")) throw error;
    // Not root: empty it by hand; an empty subvolume goes like a folder.
    withFd(openAt(folderFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
      setReadOnly(fd, false);
    });
    removeTree(folderFd, name);
  }
}

/**
 * Removes what killed receives left in a folder. Those still running are left alone.
 *
 * @param folder the folder that streams are received into
 * @returns how many were removed
 */
export function cleanReceives(folder: string): number {
  return withFd(open(folder, O_RDONLY | O_DIRECTORY), cleanReceivesFd);
}

/** {@link cleanReceives} of an open folder. */
export function cleanReceivesFd(folderFd: number): number {
  const prefix = new TextEncoder().encode(STAGING_PREFIX);
  let removed = 0;
  const listing = openAt(folderFd, ".", O_RDONLY | O_DIRECTORY);
  const entries = withFd(listing, (fd) => listFd(fd));
  for (const { name } of entries) {
    if (!prefix.every((byte, at) => name[at] === byte)) continue;
    const fd = openLocked(folderFd, name);
    if (fd === null) continue;
    try {
      destroy(folderFd, name, isSubvolume(fd));
      removed++;
    } finally {
      close(fd);
    }
  }
  return removed;
}
