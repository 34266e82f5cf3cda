/**
 * Which snapshots an incremental stream may build on. A received_uuid can be forged by
 * anybody who may set it: for packages, plugin/acquire.ts goes by what it verified itself.
 */
import { openFolder } from "../../ffi/btrfs.ts";
import { listSubvolumes } from "../../ffi/btrfs_list.ts";
import { withFd } from "../../ffi/files.ts";
import type { StreamIdentity } from "./identity.ts";

/** A snapshot that an incremental stream may build on. */
export interface ParentSnapshot {
  readonly path: string;
  /** Tree digest that it must have; null where it is trusted as it is (host policy). */
  readonly digest: string | null;
}

/** Finds the parent of an incremental stream; null when there is none to be trusted. */
export type ParentFinder = (
  parent: NonNullable<StreamIdentity["parent"]>,
) => ParentSnapshot | null;

/**
 * A {@link ParentFinder} for the host's own replicas: looks among the read-only
 * subvolumes of a folder, by the UUID that they were received as or made with, and
 * untouched since. Only for streams that are trusted.
 */
export function parentsInFolder(folder: string): ParentFinder {
  return ({ uuid, ctransid }) =>
    withFd(openFolder(folder), (fd) => {
      for (const { name, info } of listSubvolumes(fd)) {
        const received = info.receivedUuid === uuid && info.stransid === ctransid &&
          info.ctransid <= info.rtransid;
        const made = info.uuid === uuid && info.ctransid === ctransid;
        if (!info.readOnly || !(received || made)) continue;
        return { path: `${folder}/${new TextDecoder().decode(name)}`, digest: null };
      }
      return null;
    });
}
