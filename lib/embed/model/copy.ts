/** Copying a stranger's file: what was checked is what is copied. */
import { setImmediate as eventLoopTurn } from "node:timers/promises";
import { cloneRange } from "../../../ffi/btrfs_stream.ts";
import { isSysError } from "../../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fchmod,
  fsync,
  O_CREAT,
  O_EXCL,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  open,
  read,
  readlinkAt,
  writeAll,
} from "../../../ffi/files.ts";
import { fstat, isRegular, statAt } from "../../../ffi/stat.ts";
import { InputError } from "../../base/errors.ts";

const PIECE_BYTES = 1024 * 1024;
/** Pieces between two turns of the event loop, so that an interruption is seen. */
const PIECES_PER_TURN = 16;
/** What a file system that cannot share extents says. */
const NO_CLONE = ["ENOTSUP", "EXDEV", "EINVAL", "ENOTTY", "ENOSYS", "EPERM"];

/** A model's folder as it was when it was looked over. */
export interface Home {
  /** Without links. */
  readonly path: string;
  readonly uid: number;
}

/** What a folder is now, for all that is copied from it. */
export function homeOf(folder: string): Home {
  const path = Deno.realPathSync(folder);
  return { path, uid: statAt(AT_FDCWD, path, true).uid };
}

/**
 * Copies a file, as a reflink where that can be; the copy is durable.
 *
 * A link may lead out of the folder, as in Hugging Face's own cache, but only to a file of
 * the folder's owner: nobody has us copy, for all to read, what only we may read. It is the
 * open file that is asked, so a link that is changed meanwhile changes nothing.
 *
 * @param to must not exist
 * @throws {InputError} for a link to another user's file, or what is no file
 * @throws {SysError} what opening, reading or writing gave
 */
export async function copyFrom(
  home: Home,
  from: string,
  to: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  // A pipe in the file's place would be waited for.
  const source = open(from, O_RDONLY | O_NONBLOCK);
  try {
    checkOwner(home, from, source);
    const target = open(to, O_WRONLY | O_CREAT | O_EXCL, 0o600);
    try {
      await copy(source, target, signal);
      fchmod(target, 0o644);
      fsync(target, to);
    } finally {
      close(target);
    }
  } finally {
    close(source);
  }
}

function checkOwner(home: Home, path: string, fd: number): void {
  const stat = fstat(fd, path);
  if (!isRegular(stat)) throw new InputError("bad_model", `Cannot use ${path}: no file`);
  const real = new TextDecoder().decode(readlinkAt(AT_FDCWD, `/proc/self/fd/${fd}`));
  if (real.startsWith(`${home.path}/`) || stat.uid === home.uid) return;
  throw new InputError(
    "bad_model",
    `Cannot use ${path}: it is a link to ${real}, a file of another user than the folder`,
    { hint: "copy that file into the folder, if it belongs there" },
  );
}

async function copy(
  source: number,
  target: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    return cloneRange(target, source, 0, 0, 0);
  } catch (error) {
    if (!isSysError(error, ...NO_CLONE)) throw error;
  }
  const piece = new Uint8Array(PIECE_BYTES);
  for (let pieces = 1;; pieces++) {
    const count = read(source, piece);
    if (count === 0) return;
    writeAll(target, piece.subarray(0, count));
    if (pieces % PIECES_PER_TURN !== 0) continue;
    await eventLoopTurn();
    signal?.throwIfAborted();
  }
}
