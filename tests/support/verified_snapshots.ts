/**
 * What a test remembers of the snapshots that it verified, as the parents of incremental
 * streams: by record, never by received_uuid alone.
 */
import { isBtrfs, openFolder, subvolumeInfo } from "../../ffi/btrfs.ts";
import { isSysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import type { ParentFinder } from "../../lib/stream/parents.ts";

/** A verified snapshot. */
export interface VerifiedSnapshot {
  /** UUID that streams name it by: the sender's, or its own where it was made here. */
  readonly streamUuid: string;
  readonly ctransid: string;
  readonly path: string;
  /** UUID of the subvolume here; null on plain file systems. */
  readonly localUuid: string | null;
  readonly digest: string;
}

/** Records of verified snapshots. */
export class VerifiedSnapshots {
  readonly #records = new Map<string, VerifiedSnapshot>();

  add(snapshot: VerifiedSnapshot): void {
    this.#records.set(`${snapshot.streamUuid} ${snapshot.ctransid}`, snapshot);
  }

  /** A {@link ParentFinder}: the record, if the snapshot is still what it was. */
  readonly find: ParentFinder = ({ uuid, ctransid }) => {
    const record = this.#records.get(`${uuid} ${ctransid}`);
    if (!record || (record.localUuid !== null && !isUntouched(record))) return null;
    return { path: record.path, digest: record.digest };
  };
}

/** Still the same subvolume, read-only, and not edited since it was verified. */
function isUntouched({ path, localUuid, streamUuid, ctransid }: VerifiedSnapshot) {
  try {
    return withFd(openFolder(path), (fd) => {
      if (!isBtrfs(fd)) return false;
      const info = subvolumeInfo(fd);
      if (info.uuid !== localUuid || !info.readOnly) return false;
      if (streamUuid === localUuid) return `${info.ctransid}` === ctransid; // made here
      return info.receivedUuid === streamUuid && info.ctransid <= info.rtransid;
    });
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR", "ELOOP")) return false;
    throw error;
  }
}
