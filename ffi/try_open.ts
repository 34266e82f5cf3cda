/** Opens that the kernel asks to try again. */
import { errno } from "./libc.ts";

/**
 * How often an open that gives EAGAIN is tried. openat2(2) gives it where something was
 * renamed or mounted meanwhile, anywhere, and says to try again; openat(2) has been seen
 * to give it on btrfs, once. An open that failed has made nothing.
 */
const OPEN_TRIES = 100;
const EAGAIN = 11;

/** @param attempt makes the system call; its last result is returned */
export function tryOpen<T extends number | bigint>(attempt: () => T): T {
  let fd = attempt();
  for (let n = 1; n < OPEN_TRIES && fd < 0 && errno() === EAGAIN; n++) fd = attempt();
  return fd;
}
