/** The folder of vectors of a cache. */
import { AT_FDCWD, close, mkdirAt, O_PATH } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { openIfThere } from "../../ffi/open_if_there.ts";
import { asOpError } from "../base/errors.ts";
import { LooseStore } from "./loose.ts";

/**
 * Opens the loose files of a cache, making their folder where it is missing.
 *
 * @param folder `@cache/embeddings`, which exists
 * @throws {OpError} `not_found`, `permission_denied`, `read_only`
 */
export function openLoose(folder: string, readOnly: boolean): LooseStore {
  const path = `${folder}/vectors`;
  try {
    if (!readOnly && !isThere(path)) makeFolder(path);
    return new LooseStore(path);
  } catch (error) {
    throw asOpError(error, `Cannot open the cache ${folder}`);
  }
}

/** Asked first: that a folder is there is the rule, and mkdir's refusal costs 2 ms. */
function isThere(path: string): boolean {
  const fd = openIfThere(AT_FDCWD, path, O_PATH);
  if (fd !== null) close(fd);
  return fd !== null;
}

function makeFolder(path: string): void {
  try {
    mkdirAt(AT_FDCWD, path, 0o755);
  } catch (error) {
    // EROFS comes before EEXIST on some file systems: opening tells what is there.
    if (!isSysError(error, "EEXIST", "EROFS")) throw error;
  }
}
