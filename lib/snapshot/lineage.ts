/**
 * The UUIDs that a target's live subvolume has had. A restore makes another subvolume the
 * live one, with another UUID; snapshots of the former remain op-dbus's own.
 */
import { readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { writeDurably } from "../base/durable.ts";
import { asOpError } from "../base/errors.ts";

const MAX_BYTES = 1024 * 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const fileOf = (folder: string) => `${folder}/.lineage.json`;

/** What is recorded, and why it could not be read where it could not. */
export interface Lineage {
  readonly uuids: readonly string[];
  readonly problem: string | null;
}

/** Reads the record of a snapshot folder; a missing one is empty. */
export function readLineage(folder: string): Lineage {
  const path = fileOf(folder);
  let text: string;
  try {
    text = readTextFile(path, MAX_BYTES);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return { uuids: [], problem: null };
    throw asOpError(error, `Cannot read ${path}`);
  }
  try {
    const { uuids } = JSON.parse(text) as { uuids: unknown };
    if (Array.isArray(uuids) && uuids.every((uuid) => UUID.test(String(uuid)))) {
      return { uuids, problem: null };
    }
  } catch {
    // reported below: the snapshots that it vouched for are kept, not deleted
  }
  return { uuids: [], problem: `${path} is damaged` };
}

/** Adds a UUID durably; does nothing when it is there. */
export function recordLineage(folder: string, uuid: string): void {
  const { uuids } = readLineage(folder);
  if (uuids.includes(uuid)) return;
  const text = JSON.stringify({ format: 1, uuids: [...uuids, uuid] }) + "\n";
  writeDurably(fileOf(folder), new TextEncoder().encode(text));
}
