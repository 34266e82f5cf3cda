/** Where an update is made ready: a private folder beside the executable. */
import { temporaryBeside } from "../base/durable.ts";
import { asOpError } from "../base/errors.ts";
import {
  AT_FDCWD,
  close,
  effectiveUid,
  mkdirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { flock, LOCK_EX, LOCK_NB } from "../../ffi/flock.ts";
import { listFolder } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { removeTree } from "../plugin/copy_tree.ts";

const FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** A folder that is gone, with what is in it, when it is disposed of. */
export interface WorkFolder extends Disposable {
  readonly path: string;
}

/**
 * Makes a folder that nobody else can enter: what is verified in it stays what it is until
 * it is started and renamed, also where others may write beside the executable (/tmp).
 * Beside it, so that the last step is one rename. What killed updates left is removed: a
 * live one holds its folder by flock.
 *
 * @param executable absolute path of the file that shall be replaced
 * @throws {OpError} where it cannot be made
 */
export function workFolder(executable: string): WorkFolder {
  const path = temporaryBeside(executable);
  let fd: number;
  try {
    removeLeftovers(executable);
    mkdirAt(AT_FDCWD, path, 0o700);
    fd = open(path, FLAGS);
    flock(fd, LOCK_EX | LOCK_NB);
  } catch (error) {
    throw asOpError(error, `Cannot update ${executable}`);
  }
  return {
    path,
    [Symbol.dispose]() {
      close(fd);
      removeTree(path);
    },
  };
}

function removeLeftovers(executable: string): void {
  const slash = executable.lastIndexOf("/");
  const folder = executable.slice(0, slash + 1), name = executable.slice(slash + 1);
  const text = new TextDecoder();
  for (const { name: bytes } of listFolder(folder)) {
    const found = text.decode(bytes);
    const id = found.startsWith(".tmp-") && found.endsWith(`-${name}`)
      ? found.slice(5, -name.length - 1)
      : "";
    if (/^\d+-\d+$/.test(id)) removeUnlessHeld(folder + found);
  }
}

function removeUnlessHeld(path: string): void {
  let fd: number;
  try {
    fd = open(path, FLAGS);
  } catch (error) {
    // A file or link of that name is nobody's work folder.
    if (isSysError(error, "ENOTDIR", "ELOOP", "EACCES", "ENOENT")) return;
    throw error;
  }
  try {
    const ours = fstat(fd, path).uid === effectiveUid();
    if (ours && flock(fd, LOCK_EX | LOCK_NB)) removeTree(path);
  } finally {
    close(fd);
  }
}
