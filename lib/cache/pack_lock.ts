/** The lock of whoever changes which packs there are: compaction, cleaning, repair. */
import {
  close,
  ftruncate,
  O_CREAT,
  O_NOFOLLOW,
  O_RDWR,
  open,
  pwriteAll,
} from "../../ffi/files.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { flock, LOCK_EX, LOCK_NB } from "../../ffi/flock.ts";
import { LockedError } from "../base/errors.ts";

const FLAGS = O_RDWR | O_CREAT | O_NOFOLLOW;

function pathOf(folder: string): string {
  return `${folder}/compact.lock`;
}

/**
 * Makes the lock's file. Done when a cache is opened: a full disk has no room for it, and
 * that is when cleaning is wanted most.
 */
export function makePackLock(folder: string): void {
  close(open(pathOf(folder), FLAGS, 0o644));
}

/**
 * Takes the lock; the kernel drops it when the holder dies.
 *
 * @throws {LockedError} when another process has it
 */
export function lockPacks(folder: string): Disposable {
  const path = pathOf(folder);
  const fd = open(path, FLAGS, 0o644);
  if (!flock(fd, LOCK_EX | LOCK_NB)) {
    close(fd);
    const pid = readTextFile(path).trim();
    throw new LockedError(
      "locked",
      `Cannot change the packs of ${folder}: another op-dbus is compacting or cleaning${
        pid && ` (pid ${pid})`
      }`,
      { hint: "wait for it to end and run again" },
    );
  }
  notePid(fd);
  return { [Symbol.dispose]: () => close(fd) };
}

/** For the message of whoever finds it held. A full disk need not know. */
function notePid(fd: number): void {
  try {
    ftruncate(fd, 0);
    pwriteAll(fd, new TextEncoder().encode(`${Deno.pid}\n`), 0);
  } catch (error) {
    if (!isSysError(error, "ENOSPC", "EDQUOT")) throw error;
  }
}
