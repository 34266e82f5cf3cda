/**
 * Holds: marks that protect a snapshot from every policy. One small file per hold, in
 * `.holds/<snapshot>/` beside the snapshots, so that a lost meta folder loses none, and
 * whatever cannot be read there still protects.
 */
import { listFolder, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR, fsyncFolder, unlinkAt } from "../../ffi/files.ts";
import { writeDurably } from "../base/durable.ts";
import { asOpError, InputError } from "../base/errors.ts";
import { makeFolders } from "../base/root.ts";
import { sha256Hex } from "../base/sha256.ts";

/** One hold. */
export interface Hold {
  /** Why, in the holder's words. */
  readonly tag: string;
  readonly createdMs: number;
}

/** Longest tag, in UTF-8: the name of a replica may be a long path. */
const MAX_TAG_BYTES = 1024;
/** A tag whose encoded form is longer than this is named by its digest. */
const MAX_NAME_BYTES = 150;
const MAX_FILE_BYTES = 4096;

const folderOf = (folder: string, name: string) => `${folder}/.holds/${name}`;

/**
 * A tag as a file name: percent-encoded, never `.` or `..`; a long one by its SHA-256. The
 * file's content says the tag as it is.
 */
function tagFile(tag: string): string {
  const encoded = encodeURIComponent(tag).replaceAll(".", "%2E");
  const sizeBytes = new TextEncoder().encode(tag).length;
  if (tag === "" || sizeBytes > MAX_TAG_BYTES || /\p{Cc}/u.test(tag)) {
    throw new InputError("bad_tag", `Cannot hold with the tag ${JSON.stringify(tag)}`, {
      hint: "give a short text of one line, such as before-upgrade",
    });
  }
  return encoded.length <= MAX_NAME_BYTES ? encoded : `sha256-${sha256Hex(tag)}`;
}

/** The snapshots of a folder that are held, with their holds. */
export function readHolds(folder: string): Map<string, Hold[]> {
  const held = new Map<string, Hold[]>();
  for (const name of namesIn(`${folder}/.holds`)) {
    const files = namesIn(folderOf(folder, name)).filter((f) => !f.startsWith(".tmp-"));
    if (files.length > 0) {
      held.set(name, files.map((file) => readHold(folderOf(folder, name), file)));
    }
  }
  return held;
}

function namesIn(path: string): string[] {
  try {
    return listFolder(path).map(({ name }) => new TextDecoder().decode(name)).sort();
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw asOpError(error, `Cannot read the holds in ${path}`);
  }
}

function readHold(path: string, file: string): Hold {
  try {
    const text = readTextFile(`${path}/${file}`, MAX_FILE_BYTES);
    const { tag, createdMs } = (JSON.parse(text) ?? {}) as Hold;
    if (typeof tag === "string" && Number.isFinite(createdMs)) return { tag, createdMs };
  } catch (error) {
    if (!(error instanceof SyntaxError || isSysError(error))) throw error;
  }
  return { tag: `unreadable hold ${file}`, createdMs: 0 }; // it still protects
}

/** Adds a hold durably. Holding again under the same tag changes nothing. */
export function addHold(folder: string, name: string, tag: string, nowMs: number): void {
  const file = `${folderOf(folder, name)}/${tagFile(tag)}`;
  try {
    makeFolders(folderOf(folder, name));
    const text = JSON.stringify({ tag, createdMs: nowMs }) + "\n";
    writeDurably(file, new TextEncoder().encode(text));
  } catch (error) {
    throw asOpError(error, `Cannot hold ${name}`);
  }
}

/**
 * Removes one hold, or all of a snapshot's.
 *
 * @param tag null for all
 * @returns the tags that were released
 */
export function removeHolds(folder: string, name: string, tag: string | null): string[] {
  const path = folderOf(folder, name), only = tag === null ? null : tagFile(tag);
  const released: string[] = [];
  try {
    for (const file of namesIn(path)) {
      if (only !== null && file !== only) continue;
      const hold = readHold(path, file);
      unlinkAt(AT_FDCWD, `${path}/${file}`);
      released.push(hold.tag);
    }
    if (released.length > 0) fsyncFolder(path);
    if (namesIn(path).length === 0) removeFolder(path);
  } catch (error) {
    throw asOpError(error, `Cannot release ${name}`);
  }
  return released;
}

function removeFolder(path: string): void {
  try {
    unlinkAt(AT_FDCWD, path, AT_REMOVEDIR);
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTEMPTY")) throw error;
  }
}
