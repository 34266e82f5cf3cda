/**
 * Sending into a file. It grows under the name `FILE.part`; a later run makes the same
 * stream again, compares it with what is there, and goes on where they part.
 */
import {
  AT_FDCWD,
  close,
  fsync,
  fsyncFolder,
  ftruncate,
  O_CREAT,
  O_NOFOLLOW,
  O_RDWR,
  open,
  pread,
  pwriteAll,
  rename,
  startWriteback,
} from "../../ffi/files.ts";
import { flock, LOCK_EX, LOCK_NB } from "../../ffi/flock.ts";
import { isSysError } from "../../ffi/errno.ts";
import { fstat, statAt } from "../../ffi/stat.ts";
import { asOpError, InputError, LockedError } from "../base/errors.ts";
import { sendChunks, sendToFd } from "../stream/send.ts";
import { paced, type PaceOptions } from "./pace.ts";

/** How to send into a file. */
export interface SendFileOptions extends PaceOptions {
  /** Path of the snapshot that this is a difference to. */
  readonly parent?: string;
  /** zstd level 1 to 22; absent: not compressed by op-dbus. */
  readonly zstdLevel?: number;
  /** Replaces a file that is there. */
  readonly force?: boolean;
}

/** What was written. */
export interface SentFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Bytes that an earlier, interrupted run had written already. */
  readonly resumedBytes: number;
}

/**
 * Sends a snapshot into a file: whole and durable under its name, or not there.
 *
 * @param snapshot path of a read-only snapshot
 * @param file path of the file; made with mode 0600, for it holds all that the snapshot does
 * @throws {InputError} `exists` without force
 * @throws {LockedError} while another run writes the same file
 */
export async function sendToFile(
  snapshot: string,
  file: string,
  options: SendFileOptions = {},
): Promise<SentFile> {
  if (!options.force && exists(file)) {
    throw new InputError("exists", `Cannot send to ${file}: it exists`, {
      hint: "name another file, or replace it with --force",
    });
  }
  const part = `${file}.part`, doing = `Cannot send to ${file}`;
  let fd: number;
  try {
    fd = open(part, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  } catch (error) {
    throw asOpError(error, doing);
  }
  try {
    // Who held the lock may have given the file its final name since it was opened here.
    if (!flock(fd, LOCK_EX | LOCK_NB) || !isAt(part, fd)) {
      throw new LockedError("locked", `${doing}: another op-dbus writes it`, {
        hint: "wait for it to end",
      });
    }
    const resumedBytes = await write(snapshot, fd, options);
    fsync(fd, part);
    const { sizeBytes } = fstat(fd, part);
    rename(part, file);
    fsyncFolder(file.slice(0, file.lastIndexOf("/")) || "/");
    return { path: file, sizeBytes, resumedBytes };
  } catch (error) {
    throw asOpError(error, doing);
  } finally {
    close(fd);
  }
}

function exists(path: string): boolean {
  try {
    statAt(AT_FDCWD, path);
    return true;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw asOpError(error, `Cannot look at ${path}`);
  }
}

function isAt(path: string, fd: number): boolean {
  try {
    const { dev, ino } = statAt(AT_FDCWD, path), held = fstat(fd, path);
    return dev === held.dev && ino === held.ino;
  } catch (error) {
    if (isSysError(error, "ENOENT")) return false;
    throw error;
  }
}

async function write(
  snapshot: string,
  fd: number,
  options: SendFileOptions,
): Promise<number> {
  const { parent, signal, zstdLevel, limit } = options;
  const send = { ...(parent !== undefined && { parent }), ...(signal && { signal }) };
  const there = fstat(fd).sizeBytes;
  if (there === 0 && zstdLevel === undefined && !limit) {
    using _watch = everyTick(() => {
      startWriteback(fd); // the disk is busy while the kernel makes the stream
      options.progress?.(fstat(fd).sizeBytes);
    });
    await sendToFd(snapshot, fd, send); // no byte passes through JavaScript
    options.progress?.(fstat(fd).sizeBytes);
    return 0;
  }
  let chunks: AsyncIterable<Uint8Array> = paced(sendChunks(snapshot, send), options);
  if (zstdLevel !== undefined) {
    const { zstdFrame } = await import("../stream/save.ts");
    chunks = zstdFrame(chunks, zstdLevel);
  }
  return await writeComparing(fd, there, chunks);
}

const TICK_MS = 10;

function everyTick(run: () => void): Disposable {
  const timer = setInterval(run, TICK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Writes chunks where they differ from what is there. @returns bytes that were the same */
async function writeComparing(
  fd: number,
  there: number,
  chunks: AsyncIterable<Uint8Array>,
): Promise<number> {
  let at = 0, same = there;
  for await (const chunk of chunks) {
    if (at < same) {
      const old = new Uint8Array(Math.min(chunk.length, same - at));
      pread(fd, old, at);
      if (isPrefix(old, chunk)) {
        const rest = chunk.subarray(old.length);
        if (rest.length > 0) pwriteAll(fd, rest, at + old.length);
        at += chunk.length;
        continue;
      }
      same = at;
      ftruncate(fd, at);
    }
    pwriteAll(fd, chunk, at);
    at += chunk.length;
  }
  ftruncate(fd, at);
  return Math.min(same, at);
}

function isPrefix(prefix: Uint8Array, of: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (prefix[i] !== of[i]) return false;
  return true;
}
