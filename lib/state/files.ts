/** The files of the state room under the root. */
import { isSysError } from "../../ffi/errno.ts";
import { DT_REG, listFolder, readTextFile } from "../../ffi/directory.ts";
import { AT_FDCWD, unlinkAt } from "../../ffi/files.ts";
import { writeDurably } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import { makeFolders } from "../base/root.ts";
import type { Json } from "../dbus/value.ts";

const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Paths below `@state`. */
export class StateFiles {
  constructor(readonly layout: Layout) {}

  /** The state last applied, of all plugins. */
  get current(): string {
    return `${this.layout.state}/current.json`;
  }
  get plugins(): string {
    return `${this.layout.state}/plugins`;
  }
  get checkpoints(): string {
    return `${this.layout.state}/checkpoints`;
  }
  /** There while an apply is under way or waits to be confirmed. */
  get journal(): string {
    return `${this.layout.state}/pending.json`;
  }
  /** Made by `op-dbus confirm`. */
  get confirmation(): string {
    return `${this.layout.state}/confirmed`;
  }
}

/** A JSON file's content; null where there is none. @throws {SyntaxError} */
export function readJson(path: string): Json | null {
  try {
    return JSON.parse(readTextFile(path, MAX_FILE_BYTES)) as Json;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    throw error;
  }
}

/** Writes a JSON file whole or not at all, making its folder. */
export function writeJson(path: string, value: unknown, mode = 0o600): void {
  makeFolders(path.slice(0, path.lastIndexOf("/")));
  writeDurably(
    path,
    new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`),
    mode,
  );
}

/** Removes a file; false where there was none. */
export function removeFile(path: string): boolean {
  try {
    unlinkAt(AT_FDCWD, path);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

/** Names of the regular files of a folder that end so, sorted; none where it is missing. */
export function listFiles(folder: string, suffix: string): string[] {
  try {
    return listFolder(folder).filter(({ type }) => type === DT_REG)
      .map(({ name }) => new TextDecoder().decode(name))
      .filter((name) => name.endsWith(suffix) && !name.startsWith(".")).sort();
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw error;
  }
}
