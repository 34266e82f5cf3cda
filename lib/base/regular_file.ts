/** Files that somebody names, and that may turn out to be something else. */
import { close, O_NONBLOCK, O_RDONLY, open } from "../../ffi/files.ts";
import { fstat, isRegular, type Stat } from "../../ffi/stat.ts";

/**
 * Opens a file that has an end, for reading: a device may have none, and opening a pipe
 * would wait for somebody to write.
 *
 * @param path the file
 * @param flags O_* bits beside O_RDONLY: O_NOFOLLOW, or 0
 * @param refuse the error to throw for what is no regular file
 * @returns a descriptor that the caller closes, and what it is open on
 * @throws what `refuse` gives; {SysError} what open gave
 */
export function openRegular(
  path: string,
  flags: number,
  refuse: (stat: Stat) => Error,
): { readonly fd: number; readonly stat: Stat } {
  const fd = open(path, O_RDONLY | O_NONBLOCK | flags);
  try {
    const stat = fstat(fd, path);
    if (!isRegular(stat)) throw refuse(stat);
    return { fd, stat };
  } catch (error) {
    close(fd);
    throw error;
  }
}
