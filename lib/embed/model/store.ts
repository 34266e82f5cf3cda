/** Models kept by name under the root: list, find, default, remove. */
import { isSysError } from "../../../ffi/errno.ts";
import { fsyncFolder, rename, RENAME_EXCHANGE } from "../../../ffi/files.ts";
import { readTextFile } from "../../../ffi/directory.ts";
import { writeDurably } from "../../base/durable.ts";
import { InputError } from "../../base/errors.ts";
import type { Layout } from "../../base/layout.ts";
import { acquireLock, type Lock } from "../../base/lock.ts";
import { nearest } from "../../base/nearest.ts";
import { checkModelName } from "./names.ts";
import {
  MAX_RECORD_BYTES,
  type ModelRecord,
  parseRecord,
  RECORD_FILE,
} from "./record.ts";

/** Holds the default model's name. Hidden, so no model's folder can be called that. */
const DEFAULT_FILE = ".default";
/** Folders of models being made or unmade start with this. */
const TEMPORARY = ".tmp-";
const MAX_MODELS = 10_000;

/** How to wait for another op-dbus that changes models. */
export interface LockWait {
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

/** Where a model's files are. */
export function modelFolder(layout: Layout, name: string): string {
  return `${layout.models}/${name}`;
}

/** Where a model's files come together while it is pulled. */
export function pullFolder(layout: Layout, name: string): string {
  return `${layout.models}/.pull-${name}`;
}

/** Every kept model, by name. @throws {OpError} when a record is damaged */
export function listModels(layout: Layout): ModelRecord[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(layout.models)].filter((entry) =>
      entry.isDirectory && !entry.name.startsWith(".")
    ).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return names.sort().slice(0, MAX_MODELS)
    .map((name) => readModel(layout, name))
    .filter((record) => record !== null);
}

/** A model's record, or null where there is no such model. */
export function readModel(layout: Layout, name: string): ModelRecord | null {
  const path = `${modelFolder(layout, name)}/${RECORD_FILE}`;
  try {
    return { ...parseRecord(readTextFile(path, MAX_RECORD_BYTES), path), name };
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    throw error;
  }
}

/** {@link readModel} that must find it. @throws {InputError} with the nearest name */
export function findModel(layout: Layout, name: string): ModelRecord {
  checkModelName(name);
  const record = readModel(layout, name);
  if (record) return record;
  const names = listModels(layout).map((model) => model.name);
  const guess = nearest(name, names);
  throw new InputError("unknown_model", `There is no model ${name}`, {
    hint: guess
      ? `did you mean ${guess}?`
      : "op-dbus model list shows the models; add one with: op-dbus model add NAME DIR",
  });
}

/** The default model's name; null means the builtin embedder. */
export function defaultModel(layout: Layout): string | null {
  try {
    const name = readTextFile(`${layout.models}/${DEFAULT_FILE}`, 1024).trim();
    return name === "" ? null : name;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return null;
    throw error;
  }
}

/**
 * Makes a model the default.
 *
 * @param name a kept model, or `builtin`
 * @throws {InputError} when there is no such model
 */
export async function setDefaultModel(
  layout: Layout,
  name: string,
  wait: LockWait = {},
): Promise<void> {
  using _lock = await lockModels(layout, wait);
  if (name !== "builtin") findModel(layout, name);
  const text = name === "builtin" ? "" : `${name}\n`;
  writeDurably(`${layout.models}/${DEFAULT_FILE}`, new TextEncoder().encode(text));
}

/**
 * Removes a model's files. Its vectors stay in the cache until somebody drops them by the
 * returned record's digest.
 *
 * @throws {InputError} when there is no such model
 */
export async function removeModel(
  layout: Layout,
  name: string,
  wait: LockWait = {},
): Promise<ModelRecord> {
  using _lock = await lockModels(layout, wait);
  const record = findModel(layout, name);
  if (defaultModel(layout) === name) {
    writeDurably(`${layout.models}/${DEFAULT_FILE}`, new Uint8Array());
  }
  const temporary = temporaryFolder(layout, name);
  rename(modelFolder(layout, name), temporary);
  fsyncFolder(layout.models);
  await Deno.remove(temporary, { recursive: true });
  const unfinished = pullFolder(layout, name);
  await Deno.remove(unfinished, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  return record;
}

/** Takes the lock on the models; makes their folder, sweeps what a crash left. */
export async function lockModels(layout: Layout, wait: LockWait = {}): Promise<Lock> {
  await Deno.mkdir(layout.models, { recursive: true });
  await Deno.mkdir(layout.meta, { recursive: true });
  const lock = await acquireLock(layout.lock("models"), wait);
  try {
    for (const { name } of Deno.readDirSync(layout.models)) {
      if (!name.startsWith(TEMPORARY)) continue;
      await Deno.remove(`${layout.models}/${name}`, { recursive: true });
    }
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  return lock;
}

let made = 0;

/** A folder for a model on its way in or out. The lock is held. */
export function temporaryFolder(layout: Layout, name: string): string {
  return `${layout.models}/${TEMPORARY}${Deno.pid}-${++made}-${name}`;
}

/** Puts a finished folder in its place, in one step, also where one is there. */
export async function installFolder(
  layout: Layout,
  temporary: string,
  name: string,
): Promise<void> {
  const place = modelFolder(layout, name);
  const replaces = readModel(layout, name) !== null;
  rename(temporary, place, replaces ? RENAME_EXCHANGE : 0);
  fsyncFolder(layout.models);
  if (replaces) await Deno.remove(temporary, { recursive: true });
}
