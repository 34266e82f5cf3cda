/**
 * Remembering that a large file was hashed. A stamp holds the file's inode, size and both
 * of its times: whoever changes the file changes its ctime, which no user can set.
 */
import { isSysError } from "../../../ffi/errno.ts";
import { readTextFile } from "../../../ffi/directory.ts";
import { AT_FDCWD, effectiveUid } from "../../../ffi/files.ts";
import { MAP_POPULATE, MAP_PRIVATE, Mapping, PROT_READ } from "../../../ffi/memory.ts";
import { fstat, isRegular, type Stat, statAt } from "../../../ffi/stat.ts";
import { writeDurably } from "../../base/durable.ts";
import { OpError } from "../../base/errors.ts";

const MAX_STAMP_BYTES = 4096;
const STAMP_FILE = "onnxruntime.verified";

/**
 * Hashes an open file, unless a stamp says that it was done.
 *
 * @param fd open for reading, writable by nobody but root and us
 * @param sha256 what it must be, lowercase hex
 * @param folder where stamps are kept; none are without it
 * @throws {OpError} when the file is another one
 */
export async function verifyOnce(
  fd: number,
  path: string,
  sha256: string,
  folder: string | undefined,
): Promise<void> {
  const stamp = stampOf(fstat(fd, path), sha256);
  const file = folder === undefined ? null : `${folder}/${STAMP_FILE}`;
  if (file !== null && readStamp(file) === stamp) return;
  const size = fstat(fd, path).sizeBytes;
  const digest = size === 0 ? "" : await digestOf(fd, size);
  checkDigest(path, digest, sha256);
  // A change while it was hashed shows in the stamp: it is taken from before.
  if (file !== null) writeStamp(file, stamp);
}

async function digestOf(fd: number, sizeBytes: number): Promise<string> {
  using mapping = Mapping.ofFile(fd, sizeBytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", mapping.buffer)).toHex();
}

function stampOf(stat: Stat, sha256: string): string {
  const time = ({ seconds, nanoseconds }: Stat["mtime"]) => `${seconds}.${nanoseconds}`;
  const { dev, ino, sizeBytes, mtime, ctime } = stat;
  return [sha256, dev, ino, sizeBytes, time(mtime), time(ctime)].join(" ") + "\n";
}

/** A stamp that somebody else could have written counts for nothing. */
function readStamp(file: string): string | null {
  try {
    const stat = statAt(AT_FDCWD, file);
    const ours = stat.uid === 0 || stat.uid === effectiveUid();
    if (!isRegular(stat) || !ours || stat.mode & 0o022) return null;
    return readTextFile(file, MAX_STAMP_BYTES);
  } catch (error) {
    if (isSysError(error)) return null;
    throw error;
  }
}

/** Where the folder is not ours or not there, the file is hashed again next time. */
function writeStamp(file: string, stamp: string): void {
  try {
    writeDurably(file, new TextEncoder().encode(stamp));
  } catch (error) {
    if (!isSysError(error)) throw error;
  }
}

/** @throws {OpError} when a built-in binary is not the one this version was built with */
export function checkDigest(
  path: string,
  found: string,
  expected: string | undefined,
): void {
  if (found === expected) return;
  throw new OpError(
    "runtime_damaged",
    `Cannot use ${path}: its SHA-256 is ${found}, expected ${expected}`,
    { hint: "download op-dbus again, or run: deno install" },
  );
}
