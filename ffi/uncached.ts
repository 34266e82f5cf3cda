/**
 * Reads and writes that leave the page cache as they found it.
 *
 * A write with RWF_DONTCACHE (Linux 6.14) drops its own pages once they are on disk; a
 * read with it drops what was not resident before. File systems without it answer
 * EOPNOTSUPP (btrfs at 6.18), kernels without it EOPNOTSUPP or EINVAL; then a write is
 * plain and the caller flushes and advises DONTNEED, and a read asks what is resident
 * (cachestat of Linux 6.5, RWF_NOWAIT), reads the rest plainly and drops that.
 *
 * Source: preadv2(2), cachestat(2), posix_fadvise(2), linux/fs.h.
 */
import { arch } from "./arch.ts";
import { errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { fadvise, POSIX_FADV_DONTNEED, pread, pwriteAll } from "./files.ts";

export const RWF_NOWAIT = 0x08;
export const RWF_DONTCACHE = 0x80;

const PAGE_BYTES = 4096;
const EINTR = 4, EAGAIN = 11, EINVAL = 22, ENOSYS = 38, EOPNOTSUPP = 95;

/** What a file system was found to allow; ask once per open file or folder of files. */
export interface UncachedSupport {
  /** Reads may carry RWF_DONTCACHE. */
  dontCacheRead: boolean;
  /** Writes may carry RWF_DONTCACHE. */
  dontCacheWrite: boolean;
  /** Reads may carry RWF_NOWAIT, which tells what is resident. */
  noWait: boolean;
}

/** Nothing is known yet: each use tries the best way and notes a refusal here. */
export function unprobed(): UncachedSupport {
  return { dontCacheRead: true, dontCacheWrite: true, noWait: true };
}

// Asking V8 for an address costs more than the system call: one vector for all calls, and
// the address of the buffer that was used last.
const iov = new BigUint64Array(2);
const iovAddress = Deno.UnsafePointer.value(Deno.UnsafePointer.of(iov));
let lastBuffer: ArrayBufferLike | null = null;
let lastAddress = 0n;

function addressOf(bytes: Uint8Array): bigint {
  if (bytes.buffer !== lastBuffer) {
    lastAddress = Deno.UnsafePointer.value(
      Deno.UnsafePointer.of(new Uint8Array(bytes.buffer) as BufferSource),
    );
    lastBuffer = bytes.buffer;
  }
  return lastAddress + BigInt(bytes.byteOffset);
}

function vectored(
  call: "preadv2" | "pwritev2",
  fd: number,
  bytes: Uint8Array,
  offset: number,
  flags: number,
): number {
  iov[0] = addressOf(bytes);
  iov[1] = BigInt(bytes.length);
  const result = sys.syscall(
    BigInt(arch.syscall[call]),
    BigInt(fd),
    iovAddress,
    1n,
    BigInt(offset),
    0n,
    BigInt(flags),
  );
  return result < 0n ? -errno[0] : Number(result);
}

// struct cachestat_range and struct cachestat.
const cachestat = new BigUint64Array(2 + 5);
const cachestatAddress = Deno.UnsafePointer.value(Deno.UnsafePointer.of(cachestat));

/**
 * Pages of a file's range that are in memory.
 *
 * Source: cachestat(2), Linux 6.5.
 *
 * @returns null where the kernel cannot or will not tell
 */
export function cachedPages(fd: number, offset: number, length: number): number | null {
  cachestat[0] = BigInt(offset);
  cachestat[1] = BigInt(length);
  const number = BigInt(arch.syscall.cachestat);
  const into = cachestatAddress + 16n;
  const told = sys.syscall(number, BigInt(fd), cachestatAddress, into, 0n, 0n, 0n);
  return told === 0n ? Number(cachestat[2]!) : null;
}

function refused(result: number): boolean {
  return result === -EOPNOTSUPP || result === -EINVAL || result === -ENOSYS;
}

/**
 * Reads and drops what it read unless that was in memory before.
 *
 * @param fd a regular file opened for reading
 * @param into filled from `offset`; short only at the end of the file
 * @param support what this file system allows; updated
 * @returns bytes read
 */
export function preadUncached(
  fd: number,
  into: Uint8Array,
  offset: number,
  support: UncachedSupport,
): number {
  if (support.dontCacheRead) {
    const done = readWith(fd, into, offset, RWF_DONTCACHE);
    if (!refused(done)) return checkRead(done);
    support.dontCacheRead = false;
  }
  if (cachedPages(fd, offset, into.length) === 0) {
    // Not by RWF_NOWAIT: btrfs answers that from its tree, and the page stays.
    const read = pread(fd, into, offset);
    const start = offset - offset % PAGE_BYTES; // whole pages only are dropped
    const end = Math.ceil((offset + read) / PAGE_BYTES) * PAGE_BYTES;
    if (read > 0) fadvise(fd, start, end - start, POSIX_FADV_DONTNEED);
    return read;
  }
  // Short where the rest is not resident, or where the file ends: read on plainly.
  const resident = support.noWait ? vectored("preadv2", fd, into, offset, RWF_NOWAIT) : 0;
  if (refused(resident)) support.noWait = false;
  const kept = Math.max(0, resident);
  if (kept === into.length) return kept;
  const rest = pread(fd, into.subarray(kept), offset + kept);
  if (rest > 0) fadvise(fd, offset + kept, 0, POSIX_FADV_DONTNEED);
  return kept + rest;
}

/** Repeats short reads; a negative errno is handed back only when nothing was read. */
function readWith(fd: number, into: Uint8Array, offset: number, flags: number): number {
  let done = 0;
  while (done < into.length) {
    const n = vectored("preadv2", fd, into.subarray(done), offset + done, flags);
    if (n === -EINTR) continue;
    if (n < 0) return done > 0 ? done : n;
    if (n === 0) break;
    done += n;
  }
  return done;
}

function checkRead(result: number): number {
  if (result >= 0) return result;
  if (result === -EAGAIN) return 0;
  throw new SysError("preadv2", "", -result);
}

/**
 * Writes every byte; where the file system allows it, their pages go once written back.
 * Elsewhere the caller flushes and then advises DONTNEED ({@link dropPages}).
 *
 * @param support what this file system allows; updated
 */
export function pwriteUncached(
  fd: number,
  bytes: Uint8Array,
  offset: number,
  support: UncachedSupport,
): void {
  let done = 0;
  while (support.dontCacheWrite && done < bytes.length) {
    const rest = bytes.subarray(done);
    const n = vectored("pwritev2", fd, rest, offset + done, RWF_DONTCACHE);
    if (n === -EINTR) continue;
    if (refused(n)) support.dontCacheWrite = false;
    else if (n < 0) throw new SysError("pwritev2", "", -n);
    else done += n;
  }
  if (done < bytes.length) pwriteAll(fd, bytes.subarray(done), offset + done);
}

/** Drops the clean pages of a file range; what is dirty stays. `length` 0: to the end. */
export function dropPages(fd: number, offset = 0, length = 0): void {
  fadvise(fd, offset, length, POSIX_FADV_DONTNEED);
}
