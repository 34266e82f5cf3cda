/** Opens that the kernel asks to try again. */
import { errno, sys } from "./libc.ts";

/**
 * How often an open that gives EAGAIN is tried. openat2(2) gives it where something was
 * renamed or mounted meanwhile, anywhere, and says to try again; openat(2) once seemed
 * to. An open that failed has made nothing.
 */
const OPEN_TRIES = 100;
const EAGAIN = 11;

/**
 * @param attempt makes the system call and returns the descriptor, or its errno negated
 * @returns what it returned last
 */
export function tryOpen(attempt: () => number): number {
  let fd = attempt();
  for (let n = 1; n < OPEN_TRIES && fd === -EAGAIN; n++) fd = attempt();
  return fd;
}

/** openat(2). @returns the descriptor, or its errno negated */
export function tryOpenAt(
  dirFd: number,
  name: Uint8Array<ArrayBuffer>,
  flags: number,
  mode: number,
): number {
  return tryOpen(() => {
    const fd = sys.openat(dirFd, name, flags, mode);
    return fd < 0 ? -errno[0] : fd;
  });
}
