/**
 * A package file, read for everything that has to know its bytes: signature, audit,
 * reception. A small one, as nearly all plugins are, is read and decompressed once, into
 * memory: what is received then are the very bytes that were checked, whatever becomes of
 * the file meanwhile. A large one is read from the disk each time, and audited again
 * command by command while it is received.
 */
import { close, read } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { type ByteSource, bytesSource, fileSource } from "../stream/source.ts";
import { FrameScanner } from "../stream/zstd_frames.ts";
import { concat } from "./minisign/format.ts";
import { MAX_PACKAGE_BYTES } from "./index_schema.ts";
import {
  digestBytes,
  digestFile,
  type FileDigests,
  openRegularFile,
} from "./minisign/sign.ts";

const MIB = 1024 * 1024;
/** Largest package that is held in memory, as it lies on disk and decompressed. */
const SMALL_BYTES = 8 * MIB;
const SMALL_DECODED_BYTES = 32 * MIB;
/** As lib/stream/zstd.ts: windows of up to 32 MiB. */
const WINDOW_LOG_MAX = 25;
/** `pzstd` makes a frame for every few MiB; more are for the reader of streams. */
const MAX_FRAMES = 64;

/** A package file; nothing is read before it is asked for. */
export class PackageFile {
  /** Undefined before the file was looked at, null for one that is large. */
  #bytes: Uint8Array<ArrayBuffer> | null | undefined;
  #digests: FileDigests | undefined;
  #source: ByteSource | undefined;

  /** @param path a regular file; a link is not followed */
  constructor(readonly path: string) {}

  /** True when it is in memory, where nobody else can change it. */
  get held(): boolean {
    return this.#held() !== null;
  }

  /** Digests of the file. @throws {SysError} {@link InputError} `too_large` */
  digests(): FileDigests {
    const bytes = this.#held();
    return this.#digests ??= bytes
      ? digestBytes(bytes)
      : digestFile(this.path, MAX_PACKAGE_BYTES);
  }

  /** The stream in it, not to be asked for before its signature was checked. */
  async source(): Promise<ByteSource> {
    const bytes = this.#held();
    if (!bytes) return fileSource(this.path);
    return this.#source ??= bytesSource(await decode(bytes) ?? bytes, this.path);
  }

  #held(): Uint8Array<ArrayBuffer> | null {
    if (this.#bytes === undefined) this.#bytes = readSmall(this.path);
    return this.#bytes;
  }
}

function readSmall(path: string): Uint8Array<ArrayBuffer> | null {
  const fd = openRegularFile(path);
  try {
    const stat = fstat(fd, path);
    if (stat.sizeBytes > SMALL_BYTES) return null;
    // One byte more: what has grown since is left to be read as a stream.
    const bytes = new Uint8Array(stat.sizeBytes + 1);
    let size = 0;
    for (let n = 1; n > 0 && size < bytes.length; size += n) {
      n = read(fd, bytes.subarray(size));
    }
    return size > stat.sizeBytes ? null : bytes.subarray(0, size);
  } finally {
    close(fd);
  }
}

/**
 * The content of all zstd frames. Null for what is no zstd, damaged or too large: reading
 * it as a stream says what is wrong with it, and where.
 */
async function decode(bytes: Uint8Array): Promise<Uint8Array | null> {
  const { constants, zstdDecompressSync } = await import("node:zlib");
  const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX };
  const pieces: Uint8Array[] = [];
  let left = SMALL_DECODED_BYTES;
  try {
    for (let at = 0; at < bytes.length;) {
      if (pieces.length === MAX_FRAMES) return null;
      const scanner = new FrameScanner(), size = scanner.push(bytes.subarray(at));
      if (!scanner.done) return null;
      const frame = bytes.subarray(at, at += size);
      if (scanner.skippable) continue;
      const piece = zstdDecompressSync(frame, { maxOutputLength: left, params });
      left -= piece.length;
      pieces.push(piece);
    }
  } catch {
    return null;
  }
  return pieces.length === 1 ? pieces[0]! : concat(...pieces);
}
