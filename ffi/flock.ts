/** flock(2): advisory locks that the kernel drops when the holder dies. */
import { errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

const EINTR = 4;
const EWOULDBLOCK = 11;

/**
 * Takes or releases a lock on an open file.
 *
 * @param fd any descriptor of the file
 * @param operation LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB not to wait
 * @returns false when LOCK_NB was given and somebody else holds it
 */
export function flock(fd: number, operation: number): boolean {
  for (;;) {
    const result = sys.flock(fd, operation);
    const number = errno[0];
    if (result === 0) return true;
    if (number === EWOULDBLOCK) return false;
    if (number !== EINTR) throw new SysError("flock", "", number);
  }
}
