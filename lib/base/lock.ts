/** Locks between processes, by flock(2): dropped by the kernel when the holder dies. */
import { AT_FDCWD, close, O_CREAT, O_RDWR, open } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";
import { flock, LOCK_EX, LOCK_NB, LOCK_SH } from "../../ffi/flock.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { LockedError } from "./errors.ts";

/** A held lock; dispose releases it. */
export interface Lock extends Disposable {
  readonly path: string;
}

/** How to take a lock. */
export interface LockOptions {
  /** Shared with other readers; default exclusive. */
  readonly shared?: boolean;
  /** How long to wait for it; default 0: fail at once. */
  readonly waitMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

const POLL_MS = 20;

/**
 * Takes a lock file, making it where it is missing.
 *
 * @param path the lock file; its folder exists
 * @throws {LockedError} when somebody else still holds it after `waitMs`
 */
export async function acquireLock(
  path: string,
  options: LockOptions = {},
): Promise<Lock> {
  const deadline = Date.now() + (options.waitMs ?? 0);
  for (;;) {
    const lock = tryLock(path, options.shared ?? false);
    if (lock) return lock;
    options.signal?.throwIfAborted();
    if (Date.now() >= deadline) throw locked(path);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One attempt; null when it is held. */
export function tryLock(path: string, shared = false): Lock | null {
  const fd = open(path, O_RDWR | O_CREAT, 0o644);
  if (!flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB)) {
    close(fd);
    return null;
  }
  let held = true;
  return {
    path,
    [Symbol.dispose]() {
      if (held) close(fd);
      held = false;
    },
  };
}

function locked(path: string): LockedError {
  const pid = holderOf(path);
  return new LockedError(
    "locked",
    `Cannot take the lock ${path}: another op-dbus holds it${pid && ` (pid ${pid})`}`,
    { hint: "wait for it to end, or run again with --wait 60s" },
  );
}

/**
 * The process that holds a lock, for a message; empty where it cannot be told. The kernel
 * knows: a pid written into the file would cost every holder a disk write.
 *
 * Source: proc(5), /proc/locks.
 */
function holderOf(path: string): string {
  const { ino } = statAt(AT_FDCWD, path);
  const pids = readTextFile("/proc/locks").split("\n").flatMap((line) => {
    const [, kind, , mode, pid, place] = line.split(/\s+/);
    const held = kind === "FLOCK" && mode === "WRITE" && place?.endsWith(`:${ino}`);
    return held && pid !== undefined ? [pid] : [];
  });
  return pids.length === 1 ? pids[0]! : "";
}
