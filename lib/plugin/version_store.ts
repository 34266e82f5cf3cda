/** The versions that lie under `@plugin-snapshots`, and what was verified of each. */
import * as v from "valibot";
import { isSysError } from "../../ffi/errno.ts";
import { listFolder } from "../../ffi/directory.ts";
import { AT_FDCWD, AT_REMOVEDIR, unlinkAt } from "../../ffi/files.ts";
import type { Layout } from "../base/layout.ts";
import { readJsonFile, writeJsonFile, writeJsonUnsynced } from "./json_file.ts";
import { NameSchema, VersionSchema } from "./manifest_schema.ts";
import {
  isPluginName,
  type NameVersion,
  parseNameVersion,
  snapshotName,
} from "./names.ts";
import { recordPath, versionPath } from "./places.ts";
import { KeyIdSchema } from "./trust_store.ts";
import { compareVersions, isVersion } from "./versions.ts";

const Hex64Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

/** What was verified when a version came in. */
const VersionRecordSchema = v.object({
  format: v.literal(1),
  name: NameSchema,
  version: VersionSchema,
  /** Tree digest. */
  tree: Hex64Schema,
  /** SHA-256 of the package, null for a snapshot made here. */
  sha256: v.nullable(Hex64Schema),
  /** Null for what came unsigned. */
  signed_by: v.nullable(KeyIdSchema),
  /** Where it came from: a file, a URL, `repository NAME`, `live`. */
  source: v.pipe(v.string(), v.maxLength(4096)),
  installed: v.string(),
  /**
   * Identity of the tree (store.ts), so that another one under its name shows. Null while
   * it is being received: whoever finds it so, removes it.
   */
  identity: v.nullable(v.string()),
  /** How streams name this tree, for differences that build on it. */
  stream: v.nullable(v.object({ uuid: v.string(), ctransid: v.string() })),
});

export type VersionRecord = v.InferOutput<typeof VersionRecordSchema>;

/** A version that is here. */
export interface StoredVersion extends NameVersion {
  readonly path: string;
  /** Null where op-dbus did not verify it itself. */
  readonly record: VersionRecord | null;
}

/** What was verified of a version; null where nothing was, or not to its end. */
export function readRecord(layout: Layout, version: NameVersion): VersionRecord | null {
  const record = readAnyRecord(layout, version);
  return record?.identity === null ? null : record;
}

function readAnyRecord(layout: Layout, version: NameVersion): VersionRecord | null {
  return readJsonFile(VersionRecordSchema, recordPath(layout, version), 64 * 1024);
}

/** Versions whose reception was begun and not ended. */
export function pendingVersions(layout: Layout): NameVersion[] {
  const folder = `${layout.meta}/plugins`;
  return entriesOf(folder).filter(isPluginName).flatMap((name) =>
    entriesOf(`${folder}/${name}`).flatMap((file) => {
      const version = file.replace(/\.json$/, "");
      if (version === file || !isVersion(version)) return [];
      const record = readAnyRecord(layout, { name, version });
      return record?.identity === null ? [{ name, version }] : [];
    })
  );
}

/** Notes what was verified, durably. */
export function writeRecord(layout: Layout, record: Omit<VersionRecord, "format">): void {
  writeJsonFile(recordPath(layout, record), { format: 1, ...record });
}

/** {@link writeRecord} for a caller that syncs the file system before it matters. */
export function writeRecordUnsynced(
  layout: Layout,
  record: Omit<VersionRecord, "format">,
): void {
  writeJsonUnsynced(recordPath(layout, record), { format: 1, ...record });
}

/** Forgets a version that is gone. */
export function removeRecord(layout: Layout, version: NameVersion): void {
  const path = recordPath(layout, version);
  try {
    unlinkAt(AT_FDCWD, path);
    unlinkAt(AT_FDCWD, path.slice(0, path.lastIndexOf("/")), AT_REMOVEDIR);
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTEMPTY", "EEXIST")) throw error;
  }
}

/** The versions that are here, of one plugin or of all; by name, newest first. */
export function storedVersions(layout: Layout, name?: string): StoredVersion[] {
  const found: StoredVersion[] = [];
  for (const entry of entriesOf(layout.pluginSnapshots)) {
    const version = parseNameVersion(entry);
    if (!version || snapshotName(version) !== entry) continue;
    if (name !== undefined && version.name !== name) continue;
    found.push({
      ...version,
      path: versionPath(layout, version),
      record: readRecord(layout, version),
    });
  }
  return found.sort((a, b) =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : compareVersions(b.version, a.version)
  );
}

function entriesOf(folder: string): string[] {
  try {
    return listFolder(folder).map((entry) => new TextDecoder().decode(entry.name));
  } catch (error) {
    if (isSysError(error, "ENOENT")) return [];
    throw error;
  }
}
