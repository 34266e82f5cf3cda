/** Files that a killed process was writing: `.tmp-<pid>-...`, of lib/base/durable.ts. */
import { listFolder } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, unlinkAt } from "../../ffi/files.ts";
import { statAt } from "../../ffi/stat.ts";

const TORN = /^\.tmp-(\d+)-\d+-/;

/**
 * Removes them from a folder and from those in its `.holds`, where their process is gone.
 *
 * @throws {SysError} what listing or unlinking gave
 */
export function removeTornFiles(folder: string): void {
  const holds = `${folder}/.holds`;
  for (const place of [folder, ...namesIn(holds).map((name) => `${holds}/${name}`)]) {
    for (const name of namesIn(place)) {
      const pid = TORN.exec(name)?.[1];
      if (pid !== undefined && !isAlive(pid)) unlinkAt(AT_FDCWD, `${place}/${name}`);
    }
  }
}

function namesIn(path: string): string[] {
  try {
    return listFolder(path).map(({ name }) => new TextDecoder().decode(name));
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

function isAlive(pid: string): boolean {
  try {
    statAt(AT_FDCWD, `/proc/${pid}`);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw error;
  }
}
