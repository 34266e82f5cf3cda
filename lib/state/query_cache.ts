/**
 * What was read, kept in `@cache/queries/<plugin>/`: one file per plugin's whole state.
 * Regenerable: a broken file counts as a miss. Kept only where `@cache` is there.
 */
import { isSysError } from "../../ffi/errno.ts";
import { DT_DIR, listFolder, readTextFile } from "../../ffi/directory.ts";
import {
  O_CREAT,
  O_NOFOLLOW,
  O_TRUNC,
  O_WRONLY,
  open,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { makeFolders } from "../base/root.ts";
import { writeAtomically } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import { isObject, type Json } from "../dbus/value.ts";
import { listFiles, readOr, removeFile } from "./files.ts";

/** One plugin's state as it was read. */
export interface CachedQuery {
  /** ISO time of the reading. */
  readonly time: string;
  /** Hash of the mapping that it was read by. */
  readonly mapping: string;
  readonly states: { readonly [state: string]: Json };
}

const FILE = "state.json", MARK = "changed";
const MAX_MARK_BYTES = 64;

/** True where there is a `@cache` to write to. */
export function hasCache(layout: Layout): boolean {
  try {
    return listFolder(layout.root).some(({ name, type }) =>
      type === DT_DIR && new TextDecoder().decode(name) === "@cache"
    );
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw error;
  }
}

/** What was read of a plugin, or null. */
export function readQuery(layout: Layout, plugin: string): CachedQuery | null {
  const value = readOr(`${layout.queries}/${plugin}/${FILE}`);
  return isObject(value) && typeof value.time === "string" && isObject(value.states)
    ? value as unknown as CachedQuery
    : null;
}

/**
 * Another text after each {@link forgetQueries}: taken before reading, it tells whether
 * what was read had changed before it was kept.
 */
export function changeMark(layout: Layout, plugin: string): string {
  try {
    return readTextFile(`${layout.queries}/${plugin}/${MARK}`, MAX_MARK_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return "";
    throw error;
  }
}

/**
 * Keeps what was read, unless it has changed meanwhile.
 *
 * @param mark {@link changeMark} from before the reading
 */
export function writeQuery(
  layout: Layout,
  plugin: string,
  query: CachedQuery,
  mark: string,
): void {
  if (!hasCache(layout)) return;
  const folder = `${layout.queries}/${plugin}`;
  makeFolders(folder);
  // No fsync of the folder: what a crash loses is read again.
  const bytes = new TextEncoder().encode(JSON.stringify(query));
  writeAtomically(`${folder}/${FILE}`, bytes, 0o600);
  // Looked at after writing: who forgets marks first and removes then.
  if (changeMark(layout, plugin) !== mark) removeFile(`${folder}/${FILE}`);
}

/** Forgets what was read of a plugin, because it has changed. */
export function forgetQueries(layout: Layout, plugin: string): void {
  if (!hasCache(layout)) return;
  const folder = `${layout.queries}/${plugin}`;
  makeFolders(folder);
  const mark = new TextEncoder().encode(crypto.randomUUID());
  withFd(
    // In place: it must only differ, so half of it does as well.
    open(`${folder}/${MARK}`, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600),
    (fd) => writeAll(fd, mark),
  );
  for (const name of listFiles(folder, ".json")) removeFile(`${folder}/${name}`);
}
