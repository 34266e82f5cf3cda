/** Packages from an author's folder, or from the live plugin. */
import { InputError } from "../base/errors.ts";
import { AT_FDCWD } from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { statAt } from "../../ffi/stat.ts";
import { packFolder, type PackResult } from "../stream/pack.ts";
import { PACKAGE_LEVEL, saveStream } from "../stream/save.ts";
import type { Manifest } from "./manifest.ts";
import { MARKER_FILE } from "./marker.ts";
import { packageFileName, snapshotName } from "./names.ts";
import { InvalidFileError } from "./problems.ts";
import { validatePlugin } from "./validate.ts";

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
  const path = `${options.output}/${packageFileName(manifest)}`;
  requireFree(path, options.force ?? false);
  const { sourceDateEpoch, signal, progress } = options;
  let result: PackResult | undefined;
  function* pieces() {
    result = yield* packFolder(folder, {
      name: snapshotName(manifest!),
      skip: skipEntry,
      ...(sourceDateEpoch !== undefined && { sourceDateEpoch }),
      ...(signal && { signal }),
    });
  }
  const { sizeBytes, sha256 } = await saveStream(pieces(), path, {
    zstdLevel: PACKAGE_LEVEL,
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
  return { manifest, path, tree: result!.digest, sizeBytes, sha256 };
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
