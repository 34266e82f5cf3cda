/** The lock that orders appends between processes. */
import { LockedError } from "../base/errors.ts";
import { makeFolder } from "../base/folder.ts";
import type { Layout } from "../base/layout.ts";
import { type Lock, tryLock } from "../base/lock.ts";

/** How long to wait for other processes by default: their turns take milliseconds. */
export const LOCK_WAIT_MS = 60_000;
/** Waiting: the step grows from one to the other, far finer than `acquireLock`'s. */
const STEP_MS = 0.5, STEP_LIMIT_MS = 8;

/**
 * Waits for the chain's lock.
 * @throws {LockedError} when another process still holds it after `waitMs`
 */
export async function lockChain(layout: Layout, waitMs = LOCK_WAIT_MS): Promise<Lock> {
  const path = layout.lock("chain");
  makeFolder(layout.meta);
  const deadline = Date.now() + waitMs;
  for (let stepMs = STEP_MS;; stepMs = Math.min(2 * stepMs, STEP_LIMIT_MS)) {
    const lock = tryLock(path);
    if (lock) return lock;
    if (Date.now() >= deadline) {
      throw new LockedError("locked", `Cannot append to the chain: ${path} is held`, {
        hint: `find who holds it with: fuser ${path}`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, stepMs * (0.5 + Math.random())));
  }
}
