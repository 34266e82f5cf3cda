/** The folder of vectors of a cache. */
import { AT_FDCWD, mkdirAt } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
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
    if (!readOnly) makeFolder(path);
    return new LooseStore(path);
  } catch (error) {
    throw asOpError(error, `Cannot open the cache ${folder}`);
  }
}

function makeFolder(path: string): void {
  try {
    mkdirAt(AT_FDCWD, path, 0o755);
  } catch (error) {
    // EROFS comes before EEXIST on some file systems: opening tells what is there.
    if (!isSysError(error, "EEXIST", "EROFS")) throw error;
  }
}
