/** A package from an author's folder: no root, no btrfs, the same bytes every time. */
import { constants, createZstdCompress } from "node:zlib";
import { Readable } from "node:stream";
import {
  AT_FDCWD,
  close,
  fsync,
  fsyncFolder,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  open,
  rename,
  unlinkAt,
  writeAll,
} from "../../ffi/files.ts";
import { isSysError } from "../../ffi/errno.ts";
import { InputError } from "../base/errors.ts";
import { temporaryBeside } from "../base/durable.ts";
import { packFolder } from "../stream/pack.ts";
import type { Manifest } from "./manifest.ts";
import { packageFileName, snapshotName } from "./names.ts";
import { InvalidFileError } from "./problems.ts";
import { validatePlugin } from "./validate.ts";

/** Small enough to be quick, strong enough to be worth it; text shrinks to a fifth. */
const ZSTD_LEVEL = 12;

/** What is never packed: version control, and what op-dbus itself keeps beside. */
export function skipEntry(path: string): boolean {
  return /^(\.git|\.gitignore|\.gitattributes|\.op-dbus\.json)$/.test(path) ||
    path.split("/").at(-1)!.startsWith(".tmp-");
}

/** What was packed. */
export interface PackedPlugin {
  readonly manifest: Manifest;
  readonly path: string;
  readonly tree: string;
  readonly entries: number;
}

/** How to pack. */
export interface PackPluginOptions {
  /** Folder that the package goes into. */
  readonly output: string;
  /** Replace a package that is there. */
  readonly force?: boolean;
  readonly sourceDateEpoch?: number;
  readonly signal?: AbortSignal;
}

/**
 * Packs a plugin's folder as `NAME-vX.Y.Z.btrfs.zst`.
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
  const { sourceDateEpoch, signal } = options;
  const pieces = packFolder(folder, {
    name: snapshotName(manifest),
    skip: skipEntry,
    ...(sourceDateEpoch !== undefined && { sourceDateEpoch }),
    ...(signal && { signal }),
  });
  const result = await writePackage(path, pieces, options);
  return { manifest, path, tree: result.digest, entries: result.entries };
}

/**
 * Compresses a stream into a file that is whole or absent.
 *
 * @param pieces of the stream
 * @returns what the generator returned
 * @throws {InputError} `exists` unless forced
 */
export async function writePackage<R>(
  path: string,
  pieces: Iterator<Uint8Array, R> | AsyncIterator<Uint8Array, R>,
  options: { readonly force?: boolean; readonly signal?: AbortSignal } = {},
): Promise<R> {
  const temporary = temporaryBeside(path);
  const fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
  try {
    let result: R;
    try {
      result = await compressInto(fd, pieces, options.signal);
      fsync(fd, temporary);
    } finally {
      close(fd);
    }
    place(temporary, path, options.force ?? false);
    return result;
  } catch (error) {
    unlinkAt(AT_FDCWD, temporary);
    throw error;
  }
}

async function compressInto<R>(
  fd: number,
  pieces: Iterator<Uint8Array, R> | AsyncIterator<Uint8Array, R>,
  signal: AbortSignal | undefined,
): Promise<R> {
  let result: IteratorReturnResult<R> | undefined;
  async function* source() {
    for (;;) {
      signal?.throwIfAborted();
      const next = await pieces.next();
      if (next.done) {
        result = next;
        return;
      }
      yield next.value;
    }
  }
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = constants;
  const zstd = createZstdCompress({
    params: { [ZSTD_c_compressionLevel]: ZSTD_LEVEL, [ZSTD_c_checksumFlag]: 1 },
  });
  const stream = Readable.from(source());
  stream.on("error", (error) => zstd.destroy(error));
  for await (const piece of stream.pipe(zstd)) writeAll(fd, piece as Uint8Array);
  return result!.value;
}

function place(temporary: string, path: string, force: boolean): void {
  const NOREPLACE = 1;
  try {
    rename(temporary, path, force ? 0 : NOREPLACE);
  } catch (error) {
    if (!isSysError(error, "EEXIST")) throw error;
    throw new InputError("exists", `${path} exists already`, {
      cause: error,
      hint: "raise the version in plugin.toml, or replace it with --force",
    });
  }
  fsyncFolder(path.slice(0, path.lastIndexOf("/")) || "/");
}
