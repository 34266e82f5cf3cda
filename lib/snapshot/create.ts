/** Making a read-only snapshot of a target, and proving that it is one. */
import {
  createSnapshot as snapshotIoctl,
  deleteSubvolumeById,
  isSubvolume,
  openFolder,
  subvolumeInfo,
} from "../../ffi/btrfs.ts";
import { EMPTY_SUBVOL_DIR_OBJECTID } from "../../ffi/btrfs_requests.ts";
import { nestedSubvolumes } from "../../ffi/btrfs_list.ts";
import { type FolderEntry, listFd } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { close, O_NOATIME, open, openAt, withFd } from "../../ffi/files.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { asOpError, OpError } from "../base/errors.ts";
import { acquireLock, type LockOptions } from "../base/lock.ts";
import { makeFolders } from "../base/root.ts";
import { recordLineage } from "./lineage.ts";
import { namesFor } from "./name.ts";
import { quiesce } from "./quiesce.ts";
import type { Target } from "./target.ts";

/** How to make a snapshot. */
export interface CreateOptions {
  /** Milliseconds since 1970; default now. */
  readonly nowMs?: number;
  /** Takes it although nested subvolumes will be missing; also the target's setting. */
  readonly allowNested?: boolean;
  /** Called before; what it returns is disposed of after. For caches in memory. */
  readonly beforeSnapshot?: (target: Target) => Promise<Disposable | void>;
}

/** A snapshot that was made. */
export interface Created {
  readonly target: string;
  readonly name: string;
  readonly path: string;
  readonly uuid: string;
  readonly timeMs: number;
  /** What is worth knowing although it worked, one line each. */
  readonly notes: readonly string[];
}

/** {@link createUnlocked} under the target's lock. @throws {LockedError} */
export async function createSnapshot(
  target: Target,
  options: CreateOptions & LockOptions = {},
): Promise<Created> {
  using _lock = await lockTarget(target, options);
  return await createUnlocked(target, options);
}

/** The lock of whatever changes a target's snapshots. @throws {LockedError} */
export async function lockTarget(target: Target, options: LockOptions = {}) {
  try {
    try {
      return await acquireLock(target.lock, options);
    } catch (error) {
      if (!isSysError(error, "ENOENT")) throw error;
      makeFolders(target.lock.slice(0, target.lock.lastIndexOf("/")));
      return await acquireLock(target.lock, options);
    }
  } catch (error) {
    throw asOpError(error, `Cannot lock the snapshots of ${target.name}`);
  }
}

/**
 * Makes a read-only snapshot.
 *
 * @throws {OpError} `not_a_subvolume`, `nested_subvolumes`, `other_file_system`,
 *   `no_space`, `empty_snapshot`
 */
export async function createUnlocked(
  target: Target,
  options: CreateOptions = {},
): Promise<Created> {
  const doing = `Cannot snapshot ${target.name} (${target.path})`;
  const notes: string[] = [];
  const sourceFd = openSource(target, doing);
  try {
    if (!(options.allowNested ?? target.allowNested)) refuseNested(sourceFd, doing);
    makeFolders(target.folder);
    const sourceUuid = subvolumeInfo(sourceFd).uuid;
    recordLineage(target.folder, sourceUuid);
    using _caller = await options.beforeSnapshot?.(target) ?? nothing;
    const databases = target.databases.map((file) => `${target.path}/${file}`);
    using quiet = await quiesce(databases);
    notes.push(...quiet.notes);
    const folderFd = openFolder(target.folder);
    return withFd(folderFd, () => {
      const timeMs = options.nowMs ?? Date.now();
      const name = snapshotNamed(sourceFd, folderFd, target.prefix, timeMs);
      const { uuid, missing } = prove(
        { fd: sourceFd, uuid: sourceUuid },
        folderFd,
        name,
        doing,
      );
      notes.push(...missing.map((path) => `nested subvolume ${path} is not in it`));
      const path = `${target.folder}/${name}`;
      return { target: target.name, name, path, uuid, timeMs, notes };
    });
  } catch (error) {
    throw explain(error, target, doing);
  } finally {
    close(sourceFd);
  }
}

const nothing: Disposable = { [Symbol.dispose]() {} };

function openSource(target: Target, doing: string): number {
  let fd: number;
  try {
    fd = openQuietly(target.path);
  } catch (error) {
    throw asOpError(error, doing);
  }
  if (isSubvolume(fd)) return fd;
  close(fd);
  throw new OpError("not_a_subvolume", `${doing}: it is not a btrfs subvolume`, {
    hint: "snapshots need a btrfs root: op-dbus init --loopback 2G makes one",
  });
}

/** Opens a folder so that listing it is no change; who does not own it may not ask so. */
function openQuietly(path: string): number {
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  try {
    return open(path, flags | O_NOATIME);
  } catch (error) {
    if (!isSysError(error, "EPERM")) throw error;
    return open(path, flags);
  }
}

function refuseNested(sourceFd: number, doing: string): void {
  const nested = nestedSubvolumes(sourceFd).map(({ path }) => path).sort();
  if (nested.length === 0) return;
  const more = nested.length > 1 ? ` and ${nested.length - 1} more` : "";
  throw new OpError(
    "nested_subvolumes",
    `${doing}: the nested subvolume ${nested[0]}${more} would be missing from it`,
    { hint: "make it a target of its own, or allow it with --allow-nested" },
  );
}

/**
 * Makes a read-only snapshot under the first name that {@link namesFor} gives.
 *
 * @throws {SysError} EEXIST when even the last is taken
 */
export function snapshotNamed(
  sourceFd: number,
  folderFd: number,
  prefix: string,
  timeMs: number,
): string {
  const decoder = new TextDecoder();
  const taken = listFd(folderFd).map(({ name }) => decoder.decode(name));
  const names = namesFor(prefix, timeMs, taken);
  for (const name of names) {
    try {
      snapshotIoctl(sourceFd, folderFd, name, true);
      return name;
    } catch (error) {
      if (!isSysError(error, "EEXIST") || name === names.at(-1)) throw error;
    }
  }
  throw new RangeError("no name"); // namesFor gives one
}

/**
 * Looks into the new snapshot: read-only, of this source, not empty where the source is
 * not. One that fails is deleted again.
 */
function prove(
  source: { readonly fd: number; readonly uuid: string },
  folderFd: number,
  name: string,
  doing: string,
): { uuid: string; missing: string[] } {
  const fd = openAt(folderFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return withFd(fd, () => {
    const info = subvolumeInfo(fd), entries = listFd(fd);
    const right = info.readOnly && info.parentUuid === source.uuid;
    if (right && (entries.length > 0 || listFd(source.fd).length === 0)) {
      return { uuid: info.uuid, missing: emptied(fd, entries) };
    }
    deleteSubvolumeById(folderFd, info.id);
    const why = right ? "it came out empty" : "it is not a read-only snapshot of it";
    throw new OpError("empty_snapshot", `${doing}: ${why}`, {
      hint: "another program may be replacing the source; try again",
    });
  });
}

/** Entries at the top that are what is left of nested subvolumes. */
function emptied(fd: number, entries: readonly FolderEntry[]): string[] {
  return entries.filter(({ name }) => statAt(fd, name).ino === EMPTY_SUBVOL_DIR_OBJECTID)
    .map(({ name }) => new TextDecoder().decode(name));
}

function explain(error: unknown, target: Target, doing: string): OpError {
  if (!isSysError(error, "EXDEV")) return asOpError(error, doing);
  const message = `${doing}: ${target.folder} is on another file system`;
  return new OpError("other_file_system", message, {
    cause: error,
    hint: `set folder under [snapshot.targets.${target.name}] to one beside it`,
  });
}
