/** Packages from an author's folder, or from the live plugin. */
import { InputError } from "../base/errors.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { statAt } from "../../ffi/stat.ts";
import { auditStream } from "../stream/inspect.ts";
import { packFolder } from "../stream/pack.ts";
import { type DeltaBase, packDelta } from "../stream/pack_delta.ts";
import { PACKAGE_LEVEL, saveStream } from "../stream/save.ts";
import { fileSource } from "../stream/source.ts";
import type { Manifest } from "./manifest.ts";
import { MARKER_FILE } from "./marker.ts";
import { packageFileName, snapshotName } from "./names.ts";
import { InvalidFileError } from "./problems.ts";
import { validatePlugin } from "./validate.ts";
import { isVersion } from "./versions.ts";

/** What is never packed: version control, and what op-dbus itself keeps beside. */
export function skipEntry(path: string): boolean {
  return [".git", ".gitignore", ".gitattributes", MARKER_FILE].includes(path) ||
    path.slice(path.lastIndexOf("/") + 1).startsWith(".tmp-");
}

/** What was packed. */
export interface PackedPlugin {
  readonly manifest: Manifest;
  readonly path: string;
  /** Tree digest. */
  readonly tree: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** How to pack. */
export interface PackPluginOptions {
  /** Folder that the package goes into. */
  readonly output: string;
  /** Replace a package that is there. */
  readonly force?: boolean;
  /** Only what changed since this version, whose full package lies in the same folder. */
  readonly deltaFrom?: string;
  readonly sourceDateEpoch?: number;
  readonly signal?: AbortSignal;
  readonly progress?: (streamBytes: number) => void;
}

/**
 * Packs a plugin's folder as `NAME-vX.Y.Z.btrfs.zst`: no root, no btrfs, the same bytes
 * every time.
 *
 * @param folder the author's folder
 * @throws {InvalidFileError} when the plugin is not valid
 * @throws {InputError} `exists`; `not_packable` for devices, links that leave
 */
export async function packPlugin(
  folder: string,
  options: PackPluginOptions,
): Promise<PackedPlugin> {
  const { manifest, problems, valid } = validatePlugin(folder);
  if (!valid || !manifest) throw new InvalidFileError(problems);
  const from = options.deltaFrom ?? null;
  const path = `${options.output}/${packageFileName(manifest, from)}`;
  requireFree(path, options.force ?? false);
  const base = from === null ? null : await readBase(manifest, from, options.output);
  const { sourceDateEpoch, signal, progress } = options;
  const packing = {
    name: snapshotName(manifest),
    skip: skipEntry,
    ...(sourceDateEpoch !== undefined && { sourceDateEpoch }),
    ...(signal && { signal }),
  };
  let tree = "";
  function* pieces() {
    const written = base
      ? yield* packDelta(folder, base, packing)
      : yield* packFolder(folder, packing);
    tree = written.digest;
  }
  const { sizeBytes, sha256 } = await saveStream(pieces(), path, {
    zstdLevel: PACKAGE_LEVEL,
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  return { manifest, path, tree, sizeBytes, sha256 };
}

/** The full package that a difference starts from. */
async function readBase(
  { name, version }: Manifest,
  from: string,
  folder: string,
): Promise<DeltaBase> {
  const file = isVersion(from) && from !== version
    ? packageFileName({ name, version: from })
    : null;
  try {
    if (file !== null) return await auditStream(fileSource(`${folder}/${file}`));
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
  }
  throw new InputError("no_base", `No package of ${name}@${from} in ${folder}`, {
    hint: `a difference needs the full package beside it: ${file ?? "another version"}`,
  });
}

/** @throws {InputError} `exists` when there is a package already */
export function requireFree(path: string, force: boolean): void {
  if (force) return;
  try {
    statAt(AT_FDCWD, path);
  } catch (error) {
    if (isSysError(error, "ENOENT")) return;
    throw error;
  }
  throw new InputError("exists", `${path} exists already`, {
    hint: "raise the version in plugin.toml, or replace it with --force",
  });
}
