/** A folder that is made where it is missing. */
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, mkdirAt } from "../../ffi/files.ts";
import { isFolder, statAt } from "../../ffi/stat.ts";

/**
 * Makes a folder, unless one is there. It is looked for, before and after: what mkdir says
 * of one that is there is not the same everywhere (EROFS may come before EEXIST).
 *
 * @param path its parent is there; a link to a folder is as good
 * @param mode less the umask
 * @returns whether it was made
 * @throws {SysError} what mkdir gave; EEXIST where something else has the name
 */
export function makeFolder(path: string, mode = 0o755): boolean {
  if (isThere(path)) return false;
  try {
    mkdirAt(AT_FDCWD, path, mode);
    return true;
  } catch (error) {
    if (isThere(path)) return false; // another process was quicker
    throw error;
  }
}

function isThere(path: string): boolean {
  try {
    return isFolder(statAt(AT_FDCWD, path, true));
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR", "ELOOP", "EACCES")) return false;
    throw error;
  }
}
