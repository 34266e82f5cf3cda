/** Holding off whoever uses a target's content while it is replaced. */
import { isSysError } from "../../ffi/errno.ts";
import { O_NOFOLLOW, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { lockHolder } from "../../ffi/posix_locks.ts";
import { asOpError, LockedError } from "../base/errors.ts";
import { type Lock, tryLock } from "../base/lock.ts";
import { makeFolders } from "../base/root.ts";
import type { Target } from "./target.ts";

/**
 * The byte of `-shm` that every open connection of a WAL database holds (WAL_DMS of
 * SQLite's `os_unix.c`: the lock region starts at 120 and has 8 others before it).
 */
const DMS_BYTE = 128;

/**
 * Takes the lock that writers of the target share, for as long as the result lives.
 *
 * @throws {LockedError} while a process of ours writes, or any process has one of the
 *   target's databases open
 */
export function lockWriters(target: Target): Disposable {
  for (const database of target.databases) {
    const pid = databaseUser(`${target.path}/${database}`);
    if (pid !== null) throw inUse(target, ` by process ${pid}`);
  }
  if (target.writerLock === null) return { [Symbol.dispose]() {} };
  makeFolders(target.writerLock.slice(0, target.writerLock.lastIndexOf("/")));
  const lock: Lock | null = tryLock(target.writerLock);
  if (lock) return lock;
  throw inUse(target, "");
}

function inUse(target: Target, by: string): LockedError {
  return new LockedError("locked", `Cannot restore ${target.name}: it is in use${by}`, {
    hint: "stop what uses it (op-dbus serve, op-dbus embed), then run again",
  });
}

/** A process that has a database open; null when none has. */
function databaseUser(path: string): number | null {
  try {
    return withFd(
      open(`${path}-shm`, O_RDONLY | O_NOFOLLOW),
      (fd) => lockHolder(fd, DMS_BYTE),
    );
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    throw asOpError(error, `Cannot see who uses ${path}`);
  }
}
