/**
 * Which snapshots an incremental stream may build on. A received_uuid can be forged by
 * anybody who may set it, so op-dbus keeps a record of its own of what it verified.
 */
import { isBtrfs, openFolder, subvolumeInfo } from "../../ffi/btrfs.ts";
import { listSubvolumes } from "../../ffi/btrfs_list.ts";
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, fsyncFolder, unlinkAt, withFd } from "../../ffi/files.ts";
import { writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
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

/** What op-dbus remembers of a snapshot that it verified. */
export interface VerifiedSnapshot {
  /** UUID that streams name it by: the sender's, or its own where it was made here. */
  readonly streamUuid: string;
  readonly ctransid: string;
  readonly path: string;
  /** UUID of the subvolume here; null on plain file systems. */
  readonly localUuid: string | null;
  readonly digest: string;
}

/** Records of verified snapshots, one small file each. */
export class VerifiedSnapshots {
  readonly #folder: string;

  /** @param folder an existing folder of op-dbus's own, e.g. `meta/verified` */
  constructor(folder: string) {
    this.#folder = folder;
  }

  #file(uuid: string, ctransid: string): string {
    if (!/^[0-9a-f-]{36}$/.test(uuid) || !/^\d{1,20}$/.test(ctransid)) {
      throw new TypeError(`not a snapshot's identity: ${uuid} ${ctransid}`);
    }
    return `${this.#folder}/${uuid}-${ctransid}.json`;
  }

  /** Notes a snapshot, durably. To be called after it became visible. */
  add(snapshot: VerifiedSnapshot): void {
    const file = this.#file(snapshot.streamUuid, snapshot.ctransid);
    writeDurably(file, new TextEncoder().encode(JSON.stringify(snapshot) + "\n"), 0o600);
  }

  /** Every record that can be read. */
  list(): VerifiedSnapshot[] {
    return listFolder(this.#folder).flatMap(({ name }) => {
      const file = new TextDecoder().decode(name);
      return file.endsWith(".json") && !file.startsWith(".")
        ? [this.#read(`${this.#folder}/${file}`)]
        : [];
    });
  }

  /** Forgets the records of a path; how many there were. */
  forget(path: string): number {
    const gone = this.list().filter((snapshot) => snapshot.path === path);
    for (const { streamUuid, ctransid } of gone) {
      unlinkAt(AT_FDCWD, this.#file(streamUuid, ctransid));
    }
    if (gone.length > 0) fsyncFolder(this.#folder);
    return gone.length;
  }

  #read(file: string): VerifiedSnapshot {
    const value: unknown = JSON.parse(readTextFile(file));
    if (!isVerifiedSnapshot(value)) {
      throw new OpError("bad_record", `Cannot read ${file}: it is no snapshot's record`, {
        hint: "remove it; a full package can still be installed",
      });
    }
    return value;
  }

  /** A {@link ParentFinder}: the record, if the snapshot is still what it was. */
  readonly find: ParentFinder = ({ uuid, ctransid }) => {
    let record: VerifiedSnapshot;
    try {
      record = this.#read(this.#file(uuid, String(ctransid)));
    } catch (error) {
      if (isSysError(error, "ENOENT")) return null;
      throw error;
    }
    if (record.localUuid !== null && !isUntouched(record)) return null;
    return { path: record.path, digest: record.digest };
  };
}

function isVerifiedSnapshot(value: unknown): value is VerifiedSnapshot {
  if (typeof value !== "object" || value === null) return false;
  const { streamUuid, ctransid, path, localUuid, digest } = value as Record<
    string,
    unknown
  >;
  return [streamUuid, ctransid, path, digest].every((text) => typeof text === "string") &&
    (localUuid === null || typeof localUuid === "string");
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
