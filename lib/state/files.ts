/** The files of the state room under the root. */
import { isSysError } from "../../ffi/errno.ts";
import { DT_REG, listFolder, readTextFile } from "../../ffi/directory.ts";
import {
  AT_FDCWD,
  fsyncFolder,
  rename,
  RENAME_NOREPLACE,
  unlinkAt,
} from "../../ffi/files.ts";
import { temporaryBeside, writeDurably } from "../base/durable.ts";
import { OpError } from "../base/errors.ts";
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

/** A JSON file's content; null where there is none. @throws {OpError} `damaged_file` */
export function readJson(path: string): Json | null {
  try {
    return JSON.parse(readTextFile(path, MAX_FILE_BYTES)) as Json;
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    if (error instanceof SyntaxError) {
      throw new OpError("damaged_file", `Cannot read ${path}: it is no JSON any more`, {
        cause: error,
        hint: "it was damaged: bring it back from a backup, or remove it",
      });
    }
    throw error;
  }
}

/** {@link readJson} where a damaged file counts as missing. */
export function readOr(path: string): Json | null {
  try {
    return readJson(path);
  } catch (error) {
    if (error instanceof OpError && error.code === "damaged_file") return null;
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

/** {@link writeJson} unless the file is there: then false. Of several only one wins. */
export function createJson(path: string, value: unknown): boolean {
  const own = temporaryBeside(path);
  writeJson(own, value);
  try {
    rename(own, path, RENAME_NOREPLACE);
    fsyncFolder(path.slice(0, path.lastIndexOf("/")));
    return true;
  } catch (error) {
    removeFile(own);
    if (isSysError(error, "EEXIST")) return false;
    throw error;
  }
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
