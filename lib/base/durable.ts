/**
 * Files that are whole or absent after a crash: write beside the target, fsync, rename,
 * fsync the folder.
 */
import {
  AT_FDCWD,
  close,
  fsync,
  fsyncFolder,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  rename,
  unlinkAt,
  writeAll,
} from "../../ffi/files.ts";

let counter = 0;

/** A name beside `path` that no other process picks. Starts with `.tmp-`. */
export function temporaryBeside(path: string): string {
  const slash = path.lastIndexOf("/");
  const folder = path.slice(0, slash + 1), name = path.slice(slash + 1);
  return `${folder}.tmp-${Deno.pid}-${++counter}-${name}`;
}

/**
 * Replaces a file atomically and durably. On any failure the old file is untouched and
 * nothing is left beside it.
 *
 * @param path the file
 * @param bytes its new content
 * @param mode permission bits of a new file
 * @throws {SysError} what open, write, fsync or rename gave
 */
export function writeDurably(path: string, bytes: Uint8Array, mode = 0o644): void {
  writeAtomically(path, bytes, mode);
  fsyncFolder(path.slice(0, path.lastIndexOf("/")) || "/");
}

/** {@link writeDurably} without the folder's fsync, for callers that batch it. */
export function writeAtomically(path: string, bytes: Uint8Array, mode = 0o644): void {
  const temporary = temporaryBeside(path);
  const fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  try {
    try {
      writeAll(fd, bytes);
      fsync(fd, temporary);
    } finally {
      close(fd);
    }
    rename(temporary, path);
  } catch (error) {
    unlinkAt(AT_FDCWD, temporary);
    throw error;
  }
}
