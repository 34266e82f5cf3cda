/**
 * One batch of {@link readNumbered}: what it reads and how, also inside a worker.
 *
 * Source: openat(2), cachestat(2) (Linux 6.5; without it a page counts as resident when a
 * read with RWF_NOWAIT gets it), preadv2(2), posix_fadvise(2).
 */
import type { Errno, sys } from "./libc.ts";
import { O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "./files.ts";

/** Most files of one batch. */
export const BATCH_FILES = 256;

/** Which files to read. */
export interface NumberedFiles {
  /** Descriptor of the folder. */
  readonly folderFd: number;
  /** The numbers `from <= n < to`. */
  readonly from: number;
  readonly to: number;
  /** What follows the number in a name. */
  readonly suffix: string;
  /** A longer file comes cut to this many bytes. */
  readonly limitBytes: number;
}

// A pipe in a file's place must not hold up whoever reads.
export const OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;

/** Bytes of a batch's buffer: it is full once the largest file might not fit. */
export function bufferBytes({ limitBytes }: NumberedFiles): number {
  return limitBytes + 1024 * 1024;
}

/** Words of {@link BatchJob.structs}: 2 + 2 + 5. */
export const STRUCTS_WORDS = 9;

/** The functions of libc that {@link fillBatch} calls. */
type Libc = Pick<
  typeof sys,
  "openat" | "close" | "preadv2" | "pread" | "lseek" | "posix_fadvise" | "syscall"
>;

/** What {@link fillBatch} works on; plain values, because it also runs in a worker. */
export interface BatchJob {
  readonly libc: Libc;
  /** The thread's. */
  readonly errno: Errno;
  readonly folderFd: number;
  readonly openFlags: number;
  /** Room for a name; the suffix and a NUL are put behind the digits. */
  readonly name: Uint8Array<ArrayBuffer>;
  readonly suffix: Uint8Array;
  /** `struct iovec`, `struct cachestat_range` (the whole file), `struct cachestat`. */
  readonly structs: BigUint64Array<ArrayBuffer>;
  readonly structsAddress: bigint;
  /** Number of the system call. */
  readonly cachestat: bigint;
  readonly into: Uint8Array;
  readonly intoAddress: bigint;
  readonly limitBytes: number;
  /** By file: where its bytes begin in `into`. */
  readonly starts: Int32Array;
  /** By file: how many there are, or minus the errno. */
  readonly lengths: Int32Array;
}

/**
 * Reads the files from `first` on until `last`, a full batch, a full buffer or too many
 * open files.
 *
 * It is turned into text for the worker: it must not refer to anything outside of itself
 * and hold no named function (esbuild's --keep-names would wrap it in a helper).
 *
 * @returns how many files; at least one
 */
export function fillBatch(job: BatchJob, first: number, last: number): number {
  const RWF_NOWAIT = 8, EINTR = 4, WILLNEED = 3, DONTNEED = 4, SEEK_END = 2;
  const PAGE_BYTES = 4096, OPEN_FILES = 64;
  const { libc, errno, name, into, starts, lengths, structs } = job;
  const most = Math.min(last - first, lengths.length);
  // Files whose pages must come from the disk: at, descriptor, size, bytes read, and from
  // where on nothing was in memory.
  const cold: [number, number, number, number, number][] = [];
  let used = 0, count = 0;
  // Room for any file: one that is only looked at stays in memory, for that reads ahead.
  const lastStart = into.length - job.limitBytes;
  for (; count < most && cold.length < OPEN_FILES && used <= lastStart; count++) {
    let digits = 1;
    for (let rest = first + count; rest >= 10; rest = Math.floor(rest / 10)) digits++;
    for (let rest = first + count, at = digits - 1; at >= 0; at--) {
      name[at] = 48 + rest % 10;
      rest = Math.floor(rest / 10);
    }
    name.set(job.suffix, digits);
    starts[count] = used;
    const fd = libc.openat(job.folderFd, name, job.openFlags, 0);
    if (fd < 0) {
      lengths[count] = -errno[0];
      continue;
    }
    const range = job.structsAddress + 16n, stat = job.structsAddress + 32n;
    const told = libc.syscall(job.cachestat, BigInt(fd), range, stat, 0n, 0n, 0n);
    const absent = told === 0n && structs[4] === 0n; // no page of it is in memory
    structs[0] = job.intoAddress + BigInt(used);
    structs[1] = BigInt(job.limitBytes);
    const n = Number(libc.preadv2(fd, structs, 1, 0n, RWF_NOWAIT));
    // Short, and within a page: the file ends there. Otherwise a page may not be in
    // memory, or the file system does not tell.
    if (n > 0 && n < job.limitBytes && n % PAGE_BYTES !== 0) {
      lengths[count] = n;
      used += n;
      if (absent) libc.posix_fadvise(fd, 0n, 0n, DONTNEED); // btrfs has small ones at hand
      libc.close(fd);
      continue;
    }
    const size = Math.min(Number(libc.lseek(fd, 0n, SEEK_END)), job.limitBytes);
    libc.posix_fadvise(fd, 0n, 0n, WILLNEED);
    cold.push([count, fd, size, Math.max(0, n), absent ? 0 : Math.max(0, n)]);
    used += Math.max(0, size);
  }
  for (const [at, fd, size, have, absentFrom] of cold) {
    const start = starts[at]!;
    lengths[at] = have;
    while (lengths[at]! >= 0 && lengths[at]! < size) {
      const rest = into.subarray(start + lengths[at]!, start + size);
      const offset = BigInt(lengths[at]!), wanted = BigInt(rest.length);
      const n = libc.pread(fd, rest as BufferSource, wanted, offset);
      const number = errno[0];
      if (n === 0n) break;
      if (n > 0n) lengths[at]! += Number(n);
      else if (number !== EINTR) lengths[at] = -number;
    }
    libc.posix_fadvise(fd, BigInt(absentFrom), 0n, DONTNEED);
    libc.close(fd);
  }
  return count;
}
