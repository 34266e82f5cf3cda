/**
 * op-dbus.lock: the versions in use with their digests, so that another host can have
 * exactly these. Written after every change; `plugin install --locked` reads it.
 */
import * as v from "valibot";
import { writeAtomically } from "../base/durable.ts";
import type { Layout } from "../base/layout.ts";
import { livePlugins } from "./installed.ts";
import { readJsonFile } from "./json_file.ts";
import { DependencySchema, NameSchema, VersionSchema } from "./manifest_schema.ts";
import { lockFilePath } from "./places.ts";
import { KeyIdSchema } from "./trust_store.ts";
import { readRecord } from "./version_store.ts";

const Hex64Schema = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

/** The shape of op-dbus.lock. */
export const LockFileSchema = v.pipe(
  v.object({
    format: v.literal(1),
    plugins: v.pipe(
      v.array(v.object({
        name: NameSchema,
        version: VersionSchema,
        tree: Hex64Schema,
        sha256: v.nullable(Hex64Schema),
        signed_by: v.nullable(KeyIdSchema),
        source: v.string(),
        dependencies: v.array(DependencySchema),
      })),
      v.maxLength(10_000),
    ),
  }),
  v.title("op-dbus.lock"),
);

export type LockFile = v.InferOutput<typeof LockFileSchema>;
export type LockedPlugin = LockFile["plugins"][number];

/**
 * Writes the lock file from what is live now; plugins made here are not in it. The caller
 * syncs the folder.
 */
export function writeLockFile(layout: Layout): void {
  const plugins = livePlugins(layout).flatMap(({ name, marker, manifest }) => {
    const record = marker && readRecord(layout, { name, version: marker.version });
    if (!marker || !record) return [];
    const { version, tree } = marker, { sha256, signed_by, source } = record;
    const { dependencies } = manifest;
    return [{ name, version, tree, sha256, signed_by, source, dependencies }];
  });
  const text = JSON.stringify({ format: 1, plugins }, null, 2) + "\n";
  writeAtomically(lockFilePath(layout), new TextEncoder().encode(text));
}

/** Reads a lock file; null where there is none. @throws {InputError} */
export function readLockFile(path: string): LockFile | null {
  return readJsonFile(LockFileSchema, path);
}
