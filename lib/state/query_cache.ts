/**
 * What was read, kept in `@cache/queries/<plugin>/`: one file per plugin's whole state.
 * Regenerable: a broken file counts as a miss. Kept only where `@cache` is there.
 */
import { isSysError } from "../../ffi/errno.ts";
import { DT_DIR, listFolder } from "../../ffi/directory.ts";
import { makeFolders } from "../base/root.ts";
import { writeAtomically } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import { isObject, type Json } from "../dbus/value.ts";
import { listFiles, readJson, removeFile } from "./files.ts";

/** One plugin's state as it was read. */
export interface CachedQuery {
  /** ISO time of the reading. */
  readonly time: string;
  /** Hash of the mapping that it was read by. */
  readonly mapping: string;
  readonly states: { readonly [state: string]: Json };
}

const FILE = "state.json";

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

/** Keeps what was read. */
export function writeQuery(layout: Layout, plugin: string, query: CachedQuery): void {
  if (!hasCache(layout)) return;
  const folder = `${layout.queries}/${plugin}`;
  makeFolders(folder);
  // No fsync of the folder: what a crash loses is read again.
  const bytes = new TextEncoder().encode(JSON.stringify(query));
  writeAtomically(`${folder}/${FILE}`, bytes, 0o600);
}

/** Forgets what was read of a plugin, because it has changed. */
export function forgetQueries(layout: Layout, plugin: string): void {
  const folder = `${layout.queries}/${plugin}`;
  for (const name of listFiles(folder, ".json")) removeFile(`${folder}/${name}`);
}

/** A cache file; one that is broken counts as missing. */
export function readOr(path: string): Json | null {
  try {
    return readJson(path);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
