/**
 * A package file, read for everything that has to know its bytes: signature, audit,
 * reception. Nothing looks at the file itself but once: a small one, as nearly all plugins
 * are, is taken into memory, a larger one into a file without a name that nobody else can
 * open (extents shared where the file system can). What is received are the very bytes
 * that were checked, whatever becomes of the file meanwhile.
 */
import { cloneRange } from "../../ffi/btrfs_stream.ts";
import { isSysError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
  O_TMPFILE,
  open,
  pread,
  pwriteAll,
  read,
  unlinkAt,
  withFd,
} from "../../ffi/files.ts";
import { isRegular, type Stat, statAt } from "../../ffi/stat.ts";
import { temporaryBeside } from "../base/durable.ts";
import { InputError } from "../base/errors.ts";
import { openRegular } from "../base/regular_file.ts";
import { type ByteSource, bytesSource, fdSource } from "../stream/source.ts";
import { FrameScanner } from "../stream/zstd_frames.ts";
import { concat } from "./minisign/format.ts";
import { MAX_PACKAGE_BYTES } from "./index_schema.ts";
import { digestBytes, digestFd, type FileDigests } from "./minisign/sign.ts";

const MIB = 1024 * 1024;
/** Largest package that is held in memory, as it lies on disk and decompressed. */
const SMALL_BYTES = 8 * MIB;
const SMALL_DECODED_BYTES = 32 * MIB;
/** As lib/stream/zstd.ts: windows of up to 32 MiB. */
const WINDOW_LOG_MAX = 25;
/** `pzstd` makes a frame for every few MiB; more are for the reader of streams. */
const MAX_FRAMES = 64;

/**
 * Says at once that there is no such file; reads nothing.
 * @throws {InputError} `no_such_file`, `not_a_file`
 */
export function requirePackageFile(path: string): void {
  try {
    const stat = statAt(AT_FDCWD, path);
    if (!isRegular(stat)) throw notAFile(path);
    checkedSize(stat, path);
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTDIR")) throw error;
    throw new InputError("no_such_file", `There is no package ${path}`, {
      cause: error,
      hint: "check the path; a plugin of a repository is named without one",
    });
  }
}

/** A package file; nothing is read before it is asked for. */
export class PackageFile implements Disposable {
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  /** The copy of a large one. */
  #fd = -1;
  #digests: FileDigests | undefined;
  #source: ByteSource | undefined;

  /**
   * @param path a regular file; a link is not followed
   * @param folder where a large one is copied to
   */
  constructor(readonly path: string, readonly folder: string) {}

  /**
   * Digests of the file.
   * @throws {SysError} {@link InputError} `too_large`, `not_a_file`
   */
  digests(): FileDigests {
    this.#take();
    return this.#digests ??= this.#bytes
      ? digestBytes(this.#bytes)
      : digestFd(this.#fd, this.path, MAX_PACKAGE_BYTES);
  }

  /** The stream in it, not to be asked for before its signature was checked. */
  async source(): Promise<ByteSource> {
    this.#take();
    const bytes = this.#bytes;
    if (!bytes) return this.#source ??= fdSource(this.#fd, this.path);
    return this.#source ??= bytesSource(await decode(bytes) ?? bytes, this.path);
  }

  /** {@link requirePackageFile} of its path. */
  requireThere(): void {
    requirePackageFile(this.path);
  }

  #take(): void {
    if (this.#bytes || this.#fd >= 0) return;
    const opened = openRegular(this.path, O_NOFOLLOW, () => notAFile(this.path));
    withFd(opened.fd, (fd) => {
      const small = readSmall(fd, checkedSize(opened.stat, this.path));
      if (small) this.#bytes = small;
      else this.#fd = privateCopy(fd, this.folder);
    });
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }
}

function notAFile(path: string): InputError {
  return new InputError("not_a_file", `Not a package: ${path} is not a regular file`, {
    hint: "name the package file itself",
  });
}

/** The size of what may be a package. @throws {InputError} `too_large` */
function checkedSize(stat: Stat, path: string): number {
  if (stat.sizeBytes > MAX_PACKAGE_BYTES) {
    throw new InputError(
      "too_large",
      `${path} is larger than ${MAX_PACKAGE_BYTES} bytes`,
      { hint: "check that it is the right file" },
    );
  }
  return stat.sizeBytes;
}

/** The whole content; null where it is large, or has grown meanwhile. */
function readSmall(fd: number, sizeBytes: number): Uint8Array<ArrayBuffer> | null {
  if (sizeBytes > SMALL_BYTES) return null;
  const bytes = new Uint8Array(sizeBytes + 1);
  let size = 0;
  for (let n = 1; n > 0 && size < bytes.length; size += n) {
    n = read(fd, bytes.subarray(size));
  }
  return size > sizeBytes ? null : bytes.subarray(0, size);
}

/** The content in a file without a name, open for reading. */
function privateCopy(fromFd: number, folder: string): number {
  const fd = nameless(folder);
  try {
    try {
      cloneRange(fd, fromFd, 0, 0, 0);
    } catch (error) {
      // Another file system, or one that cannot share.
      if (!isSysError(error, "EXDEV", "ENOTSUP", "ENOTTY", "EINVAL", "ENOSYS")) {
        throw error;
      }
      copyAll(fromFd, fd);
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

function nameless(folder: string): number {
  try {
    return open(folder, O_RDWR | O_TMPFILE, 0o600);
  } catch (error) {
    if (!isSysError(error, "ENOTSUP", "EISDIR", "EINVAL")) throw error;
  }
  const path = temporaryBeside(`${folder}/package`);
  const fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  unlinkAt(AT_FDCWD, path);
  return fd;
}

function copyAll(fromFd: number, toFd: number): void {
  const piece = new Uint8Array(MIB);
  for (let at = 0;;) {
    const n = pread(fromFd, piece, at);
    if (n === 0) return;
    at += n;
    if (at > MAX_PACKAGE_BYTES) return; // growing: its digest is another one anyway
    pwriteAll(toFd, piece.subarray(0, n), at - n);
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
