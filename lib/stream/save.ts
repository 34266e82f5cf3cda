/** Writes a stream into a file, compressed or not: whole or not at all. */
import { createHash } from "node:crypto";
import { constants, createZstdCompress } from "node:zlib";
import { fsyncFolder, writeAll } from "../../ffi/files.ts";
import { Replacement } from "../base/durable.ts";
import { packFolder, type PackOptions, type PackResult } from "./pack.ts";

/** Level for packages: small, and still decoded at full speed (window 8 MiB). */
export const PACKAGE_LEVEL = 19;
const ZSTD_CHUNK_BYTES = 256 * 1024;

/** How to save. */
export interface SaveOptions {
  /** zstd level 1 to 22; absent: not compressed. */
  readonly zstdLevel?: number;
  /** Permission bits of the new file; default 0644. */
  readonly mode?: number;
  readonly signal?: AbortSignal;
  /** Bytes of stream (before compression) that were taken. */
  readonly progress?: (streamBytes: number) => void;
}

/** What was saved. */
export interface SavedStream {
  readonly sizeBytes: number;
  /** Bytes before compression. */
  readonly streamBytes: number;
  /** SHA-256 of the file, lower-case hexadecimal. */
  readonly sha256: string;
}

/**
 * Saves chunks as a file, atomically and durably; replaces one that is there.
 *
 * @param chunks e.g. from `packFolder` or `sendChunks`
 * @param path the file
 * @throws {SysError} what open, write or rename gave; what the chunks threw. Nothing is
 *   left behind then
 */
export async function saveStream(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  path: string,
  options: SaveOptions = {},
): Promise<SavedStream> {
  using file = new Replacement(path, options.mode);
  const hash = createHash("sha256");
  let sizeBytes = 0, streamBytes = 0;
  const counted = async function* () {
    for await (const chunk of chunks) {
      options.signal?.throwIfAborted();
      yield chunk;
      streamBytes += chunk.length;
      options.progress?.(streamBytes);
    }
  };
  const level = options.zstdLevel;
  const output = level === undefined ? counted() : zstdFrame(counted(), level);
  for await (const piece of output) {
    writeAll(file.fd, piece);
    hash.update(piece);
    sizeBytes += piece.length;
  }
  file.commit();
  fsyncFolder(path.slice(0, path.lastIndexOf("/")) || "/");
  return { sizeBytes, streamBytes, sha256: hash.digest("hex") };
}

/**
 * One zstd frame around chunks. The same input gives the same bytes.
 *
 * @param level zstd level 1 to 22
 */
export async function* zstdFrame(
  chunks: AsyncIterable<Uint8Array>,
  level: number,
): AsyncGenerator<Uint8Array> {
  const encoder = createZstdCompress({
    chunkSize: ZSTD_CHUNK_BYTES,
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  });
  const feed = async () => {
    try {
      for await (const chunk of chunks) {
        const written = Promise.withResolvers<void>();
        // The chunk is only lent: it must be taken before the next is asked for.
        encoder.write(
          chunk,
          (error) => error ? written.reject(error) : written.resolve(),
        );
        await written.promise;
      }
      encoder.end();
    } catch (error) {
      encoder.destroy(error as Error);
    }
  };
  const fed = feed();
  yield* encoder as AsyncIterable<Uint8Array>;
  await fed;
}

/**
 * Packs a folder into a file: `packFolder` and {@link saveStream} together.
 *
 * @param folder the author's folder
 * @param path the file to be made
 * @throws as both do
 */
export async function savePacked(
  folder: string,
  path: string,
  pack: PackOptions,
  save: SaveOptions = {},
): Promise<PackResult & SavedStream> {
  let packed: PackResult | undefined;
  const chunks = function* () {
    packed = yield* packFolder(folder, pack);
  };
  const saved = await saveStream(chunks(), path, save);
  return { ...packed!, ...saved };
}
