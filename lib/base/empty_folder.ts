/** Emptying a folder of op-dbus's own without ever following a link out of it. */
import {
  AT_REMOVEDIR,
  fsync,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  openAt,
  unlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { listFd } from "../../ffi/directory.ts";
import { isFolder, statAt } from "../../ffi/stat.ts";

/** Deeper trees are not op-dbus's own. */
const MAX_DEPTH = 32;

/**
 * Removes everything inside a folder, the folder itself stays.
 *
 * @param path absolute; not a link
 * @param dryRun only counts
 * @returns how many files and links there were, folders not counted
 * @throws {SysError} what open, unlink or rmdir gave
 */
export function emptyFolder(path: string, dryRun = false): number {
  return withFd(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
    const count = emptyFd(fd, dryRun, 0);
    if (!dryRun) fsync(fd, path);
    return count;
  });
}

function emptyFd(fd: number, dryRun: boolean, depth: number): number {
  if (depth > MAX_DEPTH) {
    throw new RangeError(`Folders are nested over ${MAX_DEPTH} deep`);
  }
  let count = 0;
  for (const { name } of listFd(fd)) {
    if (!isFolder(statAt(fd, name))) {
      if (!dryRun) unlinkAt(fd, name);
      count += 1;
      continue;
    }
    const inner = openAt(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    count += withFd(inner, (innerFd) => emptyFd(innerFd, dryRun, depth + 1));
    if (!dryRun) unlinkAt(fd, name, AT_REMOVEDIR);
  }
  return count;
}
