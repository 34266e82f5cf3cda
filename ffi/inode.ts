/**
 * Owners, modes, times and special files: the calls that restoring a tree needs. None
 * follows a link.
 *
 * Source: Linux man-pages section 2.
 */
import { SysError } from "./errno.ts";
import { timePair, type Timespec } from "./files.ts";
import { type BytePath, check, cString, errno, sys } from "./libc.ts";

/** fchown(2). */
export function fchown(fd: number, uid: number, gid: number): void {
  check(sys.fchown(fd, uid, gid), errno[0], "fchown");
}

/** futimens(3). */
export function futimes(fd: number, atime: Timespec, mtime: Timespec): void {
  check(sys.futimens(fd, timePair(atime, mtime)), errno[0], "futimens");
}

/** fchmodat(2). Follows a link: for names that are known to be none. */
export function chmodAt(dirFd: number, name: BytePath, mode: number): void {
  const bytes = cString(name);
  check(sys.fchmodat(dirFd, bytes, mode, 0), errno[0], "fchmodat", name);
}

/**
 * mknodat(2).
 * @param mode file type and permission bits
 * @param rdev the device's number, 0 for fifos and sockets
 * @throws {SysError} ENOSYS where libc has no such function; EPERM without root
 */
export function mknodAt(
  dirFd: number,
  name: BytePath,
  mode: number,
  rdev: bigint,
): void {
  if (sys.mknodat === null) throw new SysError("mknodat", "", 38);
  const bytes = cString(name);
  check(sys.mknodat(dirFd, bytes, mode, rdev), errno[0], "mknodat", name);
}
