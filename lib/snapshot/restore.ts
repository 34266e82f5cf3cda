/**
 * restore: a snapshot's content becomes the live subvolume, by one atomic exchange. What was
 * live is a snapshot before, and is deleted only after.
 */
import {
  createSnapshot as snapshotIoctl,
  openFolder,
  subvolumeInfo,
  syncFileSystem,
} from "../../ffi/btrfs.ts";
import { nestedSubvolumes } from "../../ffi/btrfs_list.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  close,
  fsync,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  openBeneath,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  renameAt,
  withFd,
} from "../../ffi/files.ts";
import { fstat, isRegular } from "../../ffi/stat.ts";
import { asOpError, InputError, OpError } from "../base/errors.ts";
import type { LockOptions } from "../base/lock.ts";
import type { Recorder } from "../base/recorder.ts";
import { makeFolders } from "../base/root.ts";
import {
  type Created,
  type CreateOptions,
  createUnlocked,
  lockTarget,
} from "./create.ts";
import type { Found } from "./found.ts";
import { recordLineage } from "./lineage.ts";
import { quiesce } from "./quiesce.ts";
import { findSnapshot } from "./remove.ts";
import { discard, discardStale, staleName } from "./stale.ts";
import type { Target } from "./target.ts";
import { lockWriters } from "./writers.ts";

/** How to restore. */
export interface RestoreOptions extends CreateOptions, LockOptions {
  readonly recorder?: Recorder;
}

/** What a restore did. */
export interface Restored {
  readonly target: string;
  /** The snapshot whose content is live now. */
  readonly name: string;
  /** The snapshot of what was live before; null where there was nothing. */
  readonly saved: string | null;
  /** UUID of the live subvolume now. */
  readonly uuid: string;
  readonly notes: readonly string[];
}

/**
 * Makes a snapshot's content live.
 *
 * @throws {InputError} `no_snapshot`
 * @throws {LockedError} while another run, or a writer of the target, holds its lock
 * @throws {OpError} `nested_subvolumes` when the live one holds any: they would be lost
 */
export async function restore(
  target: Target,
  name: string,
  options: RestoreOptions = {},
): Promise<Restored> {
  using _lock = await lockTarget(target, options);
  const found = findSnapshot(target, name), nowMs = options.nowMs ?? Date.now();
  requireReadOnly(found);
  using _writers = lockWriters(target);
  const notes = discardStale(target);
  const live = exists(target.path);
  if (live) refuseNested(target);
  try {
    const before = live ? await saveLive(target, { ...options, nowMs }) : null;
    const { uuid, saved } = swapIn(target, found, live, nowMs);
    if (saved) notes.push(`what was written meanwhile is in ${saved}`);
    await options.recorder?.record({
      category: "snapshot",
      action: "restore",
      subject: found.name,
      data: { target: target.name, saved: before?.name ?? null, uuid },
    });
    return {
      target: target.name,
      name: found.name,
      saved: before?.name ?? null,
      uuid,
      notes: [...notes, ...before?.notes ?? []],
    };
  } catch (error) {
    throw asOpError(error, `Cannot restore ${found.name}`);
  }
}

/**
 * A snapshot of what is live. Writers are held off, so the databases are brought to rest
 * and closed before it: SQLite writes once more as it closes, which would be a change since.
 */
async function saveLive(target: Target, options: RestoreOptions): Promise<Created> {
  const quiet = await quiesce(target.databases.map((file) => `${target.path}/${file}`));
  quiet[Symbol.dispose]();
  withFd(openFolder(target.path), (fd) => syncFileSystem(fd, target.path));
  const made = await createUnlocked({ ...target, databases: [] }, options);
  return { ...made, notes: [...quiet.notes, ...made.notes] };
}

function requireReadOnly(found: Found): void {
  if (found.info.readOnly) return;
  throw new OpError("not_read_only", `Cannot restore ${found.name}: it is writable`, {
    hint: "its content may have changed since it was made; look at it, then copy it",
  });
}

function exists(path: string): boolean {
  try {
    return withFd(openFolder(path), () => true);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw asOpError(error, `Cannot look at ${path}`);
  }
}

function refuseNested(target: Target): void {
  const nested = withFd(openFolder(target.path), nestedSubvolumes);
  if (nested.length === 0) return;
  throw new OpError(
    "nested_subvolumes",
    `Cannot restore ${target.name}: the nested subvolume ${
      nested[0]!.path
    } would be lost`,
    { hint: "move it out first" },
  );
}

/** The new live subvolume is made beside the old one, exchanged with it, made durable. */
function swapIn(
  target: Target,
  found: Found,
  live: boolean,
  nowMs: number,
): { uuid: string; saved: string | null } {
  const slash = target.path.lastIndexOf("/");
  const above = target.path.slice(0, slash) || "/", name = target.path.slice(slash + 1);
  const temporary = staleName(target, Deno.pid);
  return withFd(openFolder(above), (aboveFd) => {
    withFd(openFolder(found.path), (fd) => snapshotIoctl(fd, aboveFd, temporary, false));
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const uuid = withFd(
      openAt(aboveFd, temporary, flags),
      (fd) => subvolumeInfo(fd).uuid,
    );
    recordLineage(target.folder, uuid);
    const exchange = live ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    renameAt(aboveFd, temporary, aboveFd, name, exchange);
    fsync(aboveFd, above); // an exchange alone is lost in a crash
    return { uuid, saved: live ? discard(target, temporary, nowMs) : null };
  });
}

/**
 * Makes a writable copy of a snapshot at a new path on the same file system.
 *
 * @param to a path where nothing is
 * @throws {InputError} `exists`; `other_file_system`
 */
export function restoreTo(target: Target, name: string, to: string): Found {
  const found = findSnapshot(target, name),
    doing = `Cannot restore ${found.name} to ${to}`;
  const slash = to.lastIndexOf("/"), above = to.slice(0, slash) || "/";
  try {
    makeFolders(above);
    withFd(openFolder(above), (aboveFd) => {
      withFd(
        openFolder(found.path),
        (fd) => snapshotIoctl(fd, aboveFd, to.slice(slash + 1), false),
      );
      fsync(aboveFd, above);
    });
    return found;
  } catch (error) {
    if (isSysError(error, "EEXIST")) {
      throw new InputError("exists", `${doing}: something is there`, {
        cause: error,
        hint: "name a path that is free",
      });
    }
    if (isSysError(error, "EXDEV", "ENOTTY")) {
      throw new InputError(
        "other_file_system",
        `${doing}: it is on another file system`,
        {
          cause: error,
          hint: "use op-dbus snapshot send to bring it there",
        },
      );
    }
    throw asOpError(error, doing);
  }
}

/**
 * One file of a snapshot, opened beneath it; no link is followed.
 *
 * @param path relative to the snapshot
 * @returns a descriptor that the caller closes
 * @throws {InputError} `no_file`
 */
export function openInSnapshot(found: Found, path: string): number {
  const relative = path.replace(/^\/+/, "");
  try {
    return withFd(openFolder(found.path), (fd) => {
      const file = openBeneath(fd, relative, O_RDONLY);
      if (isRegular(fstat(file, relative))) return file;
      close(file);
      throw new InputError(
        "not_a_file",
        `Cannot read ${relative} of ${found.name}: no file`,
      );
    });
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTDIR", "ELOOP", "EXDEV")) throw asOpError(error);
    const why = error.code === "EXDEV"
      ? "it leads out of the snapshot"
      : error.code === "ELOOP"
      ? "it is a link, or leads through one"
      : "there is no such file";
    throw new InputError(
      "no_file",
      `Cannot read ${relative} of ${found.name}: ${why}`,
      {
        cause: error,
        hint: `look into ${found.path}`,
      },
    );
  }
}
