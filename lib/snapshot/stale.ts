/**
 * What an interrupted restore left beside the live subvolume. It may be the former live
 * one, so it is thrown away only when its content is in a snapshot; else one is made first.
 */
import {
  deleteSubvolumeById,
  openFolder,
  type SubvolumeInfo,
  subvolumeInfo,
  syncFileSystem,
} from "../../ffi/btrfs.ts";
import { listSubvolumes } from "../../ffi/btrfs_list.ts";
import { isSysError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt, withFd } from "../../ffi/files.ts";
import { asOpError } from "../base/errors.ts";
import { makeFolders } from "../base/root.ts";
import { snapshotNamed } from "./create.ts";
import { type Found, listFound } from "./found.ts";
import { recordLineage } from "./lineage.ts";
import type { Target } from "./target.ts";
import { removeTornFiles } from "./torn_files.ts";

/** Names of subvolumes that a restore makes beside the live one. */
export function staleName(target: Pick<Target, "path">, pid: number): string {
  return `${stalePrefix(target)}${pid}`;
}

function stalePrefix({ path }: Pick<Target, "path">): string {
  return `.tmp-restore-${path.slice(path.lastIndexOf("/") + 1)}-`;
}

const aboveOf = (path: string) => path.slice(0, path.lastIndexOf("/")) || "/";

/**
 * Removes what interrupted restores left. The caller holds the target's lock.
 *
 * @returns what was done, one line each
 */
export function discardStale(target: Target): string[] {
  const above = aboveOf(target.path), prefix = stalePrefix(target);
  const notes: string[] = [];
  try {
    removeTornFiles(target.folder);
    const left = withFd(openFolder(above), listSubvolumes).flatMap(({ name }) => {
      const text = new TextDecoder().decode(name);
      // Digits and no more: `home` is not to touch what a restore of `home-2` is making.
      const ours = text.startsWith(prefix) && /^\d+$/.test(text.slice(prefix.length));
      return ours ? [{ name: text }] : [];
    });
    for (const { name } of left) {
      const saved = discard(target, name);
      notes.push(`${name} of an interrupted restore was removed`);
      if (saved) notes.push(`its content is in ${saved}`);
    }
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTTY")) return notes;
    throw asOpError(error, `Cannot clean up after an interrupted restore in ${above}`);
  }
  return notes;
}

/**
 * Throws a subvolume beside the live one away, saving its content as a snapshot where no
 * snapshot has it.
 *
 * @returns the name of the snapshot that was made; null when none was needed
 */
export function discard(target: Target, name: string, nowMs = Date.now()): string | null {
  return withFd(openFolder(aboveOf(target.path)), (aboveFd) => {
    const fd = openAt(aboveFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    return withFd(fd, () => {
      syncFileSystem(fd, name); // so that ctransid tells of every write
      const info = subvolumeInfo(fd, name);
      const saved = isSaved(info, listFound(target)) ? null : save(target, fd, nowMs);
      deleteSubvolumeById(aboveFd, info.id);
      return saved;
    });
  });
}

/** Its content is that of the snapshot it came from, or of one made from it since. */
function isSaved(info: SubvolumeInfo, snapshots: readonly Found[]): boolean {
  const untouched = info.ctransid <= info.otransid;
  return snapshots.some((one) =>
    (untouched && one.info.uuid === info.parentUuid) ||
    (one.info.parentUuid === info.uuid && one.info.otransid > info.ctransid)
  );
}

function save(target: Target, fd: number, nowMs: number): string {
  makeFolders(target.folder);
  recordLineage(target.folder, subvolumeInfo(fd).uuid);
  return withFd(
    openFolder(target.folder),
    (folderFd) => snapshotNamed(fd, folderFd, target.prefix, nowMs),
  );
}
