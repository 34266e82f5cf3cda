/** Removing and copying trees by descriptor, never through a link. */
import { isSysError } from "../../ffi/errno.ts";
import { listFd } from "../../ffi/directory.ts";
import {
  AT_REMOVEDIR,
  close,
  fchmod,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openAt,
  unlinkAt,
} from "../../ffi/files.ts";
import { isFolder, statAt } from "../../ffi/stat.ts";

/** Empties an open folder. Nothing outside of it is touched, whatever links it holds. */
export function emptyFolder(fd: number): void {
  for (const { name } of listFd(fd)) {
    if (!isFolder(statAt(fd, name))) {
      unlinkAt(fd, name);
      continue;
    }
    const child = openForRemoval(fd, name);
    try {
      emptyFolder(child);
    } finally {
      close(child);
    }
    unlinkAt(fd, name, AT_REMOVEDIR);
  }
}

/** Removes a folder with all that is in it. */
export function removeTree(parentFd: number, name: Uint8Array): void {
  const fd = openForRemoval(parentFd, name);
  try {
    emptyFolder(fd);
  } finally {
    close(fd);
  }
  unlinkAt(parentFd, name, AT_REMOVEDIR);
}

function openForRemoval(parentFd: number, name: Uint8Array): number {
  const fd = openAt(parentFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    // A folder of one's own without write permission cannot be emptied.
    fchmod(fd, 0o700);
  } catch (error) {
    if (!isSysError(error, "EPERM", "EROFS")) {
      close(fd);
      throw error;
    }
  }
  return fd;
}
