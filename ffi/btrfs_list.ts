/**
 * Listing subvolumes, without root: those in a folder, and those nested in a subvolume.
 *
 * Source: Linux `fs/btrfs/ioctl.c` (GET_SUBVOL_ROOTREF, INO_LOOKUP_USER; kernel 4.18).
 */
import { type SubvolumeInfo, subvolumeInfo } from "./btrfs.ts";
import {
  BTRFS_REQUEST as REQUEST,
  INO_LOOKUP_BYTES,
  ROOTREF_BYTES,
} from "./btrfs_requests.ts";
import { DT_DIR, DT_UNKNOWN, listFd } from "./directory.ts";
import { isSysError } from "./errno.ts";
import { close, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openAt } from "./files.ts";
import { ioctl } from "./ioctl.ts";

/** One subvolume of a folder. */
export interface ListedSubvolume {
  /** The entry's name: bytes, for it need not be UTF-8. */
  readonly name: Uint8Array<ArrayBuffer>;
  readonly info: SubvolumeInfo;
}

/**
 * The subvolumes that lie directly in a folder. One that is deleted meanwhile is left out.
 *
 * @param folderFd an open folder on btrfs
 */
export function listSubvolumes(folderFd: number): ListedSubvolume[] {
  const found: ListedSubvolume[] = [], { id } = subvolumeInfo(folderFd);
  for (const { name, type } of listFd(folderFd)) {
    if (type !== DT_DIR && type !== DT_UNKNOWN) continue;
    const info = infoOf(folderFd, id, name);
    if (info !== null) found.push({ name, info });
  }
  return found;
}

/**
 * One subvolume of a folder, whatever else lies there.
 *
 * @param folderFd an open folder on btrfs
 * @param name an entry's name; no path
 * @returns null where nothing, or no subvolume, has that name
 */
export function findSubvolume(
  folderFd: number,
  name: Uint8Array,
): SubvolumeInfo | null {
  return infoOf(folderFd, subvolumeInfo(folderFd).id, name);
}

/** @param ownId the subvolume that the folder lies in */
function infoOf(folderFd: number, ownId: bigint, name: Uint8Array): SubvolumeInfo | null {
  const fd = openIfThere(folderFd, name);
  if (fd === null) return null;
  try {
    const info = subvolumeInfo(fd, name);
    return info.id === ownId ? null : info; // a plain folder of this one
  } finally {
    close(fd);
  }
}

function openIfThere(folderFd: number, name: Uint8Array): number | null {
  try {
    return openAt(folderFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR", "ELOOP")) return null;
    throw error;
  }
}

/** Where a subvolume hangs in the one above it. */
export interface NestedSubvolume {
  readonly id: bigint;
  /** Its path from the root folder of the subvolume above. */
  readonly path: string;
}

const ROOTREF_COUNT_AT = 4088;

/**
 * The subvolumes nested directly in a subvolume, at any depth of folders. Their content is
 * missing from a snapshot of it.
 *
 * @param fd the root folder of the subvolume
 * @throws {SysError} EACCES where a folder on the way may not be read
 */
export function nestedSubvolumes(fd: number): NestedSubvolume[] {
  const found: NestedSubvolume[] = [];
  const raw = new Uint8Array(ROOTREF_BYTES);
  const view = new DataView(raw.buffer);
  for (let more = true; more;) {
    more = rootRefs(fd, raw);
    const count = raw[ROOTREF_COUNT_AT]!;
    for (let i = 0; i < count; i++) {
      const id = view.getBigUint64(8 + 16 * i, true);
      const dirId = view.getBigUint64(16 + 16 * i, true);
      const path = nestedPath(fd, id, dirId);
      if (path !== null) found.push({ id, path });
    }
  }
  return found;
}

/** One call of GET_SUBVOL_ROOTREF; true when there are more than it held. */
function rootRefs(fd: number, raw: Uint8Array): boolean {
  try {
    ioctl(fd, REQUEST.GET_SUBVOL_ROOTREF, raw, "btrfs root references");
    return false;
  } catch (error) {
    if (isSysError(error, "EOVERFLOW")) return true; // min_treeid was advanced for us
    throw error;
  }
}

/** Path of a nested subvolume; null when it was deleted meanwhile. */
function nestedPath(fd: number, id: bigint, dirId: bigint): string | null {
  const raw = new Uint8Array(INO_LOOKUP_BYTES);
  const view = new DataView(raw.buffer);
  view.setBigUint64(0, dirId, true);
  view.setBigUint64(8, id, true);
  try {
    ioctl(fd, REQUEST.INO_LOOKUP_USER, raw, "btrfs path lookup");
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
  const text = (at: number) =>
    new TextDecoder().decode(raw.subarray(at, raw.indexOf(0, at)));
  return text(272) + text(16); // the folder's path ends in a slash
}
