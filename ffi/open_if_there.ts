/** Opening what may well be missing. */
import { type BytePath, check, shortLived } from "./libc.ts";
import { O_CLOEXEC } from "./files.ts";
import { tryOpenAt } from "./try_open.ts";

const ENOENT = 2;
/** errno of a link under O_NOFOLLOW. */
export const ELOOP = 40;

/**
 * openat(2) of a file whose absence is no surprise. An Error costs more than the call, and
 * a process's first one 2 ms.
 *
 * @param path absolute, or relative to `dirFd`
 * @param flags O_* bits without O_CREAT; O_CLOEXEC is added
 * @param also errno numbers that count as absence, too
 * @returns a descriptor that the caller closes, or null
 * @throws {SysError} any other failure
 */
export function openIfThere(
  dirFd: number,
  path: BytePath,
  flags: number,
  ...also: readonly number[]
): number | null {
  const name = shortLived(path);
  const fd = tryOpenAt(dirFd, name, flags | O_CLOEXEC, 0);
  if (fd === -ENOENT || also.includes(-fd)) return null;
  return check(fd, -fd, "open", path);
}
