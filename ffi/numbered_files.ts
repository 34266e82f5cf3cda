/**
 * Reading the files `0.json`, `1.json`, … of one folder in order, many at a time.
 *
 * Each is one open, one read and one close while its pages are in memory. What is not is
 * asked for ahead (so that the disk works on many files at once) and dropped after it was
 * read: the page cache stays as it was. Long runs are read by a worker, one batch ahead
 * of whoever uses them.
 *
 * Source: openat(2), preadv2(2) RWF_NOWAIT, posix_fadvise(2).
 */
import { setImmediate } from "node:timers";
import { errno, sys } from "./libc.ts";
import { LIBC_SYMBOLS } from "./libc_symbols.ts";
import { libraryCandidates } from "./library.ts";
import { SysError } from "./errno.ts";
import { O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, pointerNumber } from "./files.ts";

/** Most files of one batch. */
const BATCH_FILES = 256;
/** Batches that the worker may be ahead. */
const BATCHES_AHEAD = 4;
/** From this many files on, a worker's start (some 30 ms) is worth it. */
const WORKER_FILES = 8192;

/** Files of one batch. */
export interface FileBatch {
  /** Number of its first file. */
  readonly first: number;
  readonly count: number;
  /**
   * The content of file `first + at`, which lies in a buffer that the next batch
   * overwrites; at most `limit` bytes of it.
   *
   * @returns null where there is no such file
   * @throws {SysError} it cannot be opened or read
   */
  bytes(at: number): Uint8Array | null;
}

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

/** The functions of libc that {@link fillBatch} calls. */
type Libc = Pick<
  typeof sys,
  "openat" | "close" | "preadv2" | "pread" | "lseek" | "posix_fadvise"
>;

/** What {@link fillBatch} works on; plain values, because it also runs in a worker. */
interface BatchJob {
  readonly libc: Libc;
  /** The thread's errno. */
  readonly errno: () => number;
  readonly folderFd: number;
  readonly openFlags: number;
  /** Room for a name; the suffix and a NUL are put behind the digits. */
  readonly name: Uint8Array<ArrayBuffer>;
  readonly suffix: Uint8Array;
  readonly iov: BigUint64Array<ArrayBuffer>;
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
function fillBatch(job: BatchJob, first: number, last: number): number {
  const RWF_NOWAIT = 8, EINTR = 4, WILLNEED = 3, DONTNEED = 4, SEEK_END = 2;
  const PAGE_BYTES = 4096, OPEN_FILES = 64;
  const { libc, name, into, starts, lengths } = job;
  const most = Math.min(last - first, lengths.length);
  // Files whose pages must come from the disk: at, descriptor, size, bytes read.
  const cold: [number, number, number, number][] = [];
  let used = 0, count = 0;
  for (; count < most && cold.length < OPEN_FILES; count++) {
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
      lengths[count] = -job.errno();
      continue;
    }
    const room = Math.min(into.length - used, job.limitBytes);
    job.iov[0] = job.intoAddress + BigInt(used);
    job.iov[1] = BigInt(room);
    const n = Number(libc.preadv2(fd, job.iov, 1, 0n, RWF_NOWAIT));
    // Short, and within a page: the file ends there. Otherwise a page may not be in
    // memory, or the file system does not tell.
    if (n > 0 && n < room && n % PAGE_BYTES !== 0) {
      lengths[count] = n;
      used += n;
      libc.close(fd);
      continue;
    }
    const size = Math.min(Number(libc.lseek(fd, 0n, SEEK_END)), job.limitBytes);
    if (size > into.length - used) {
      libc.close(fd); // it is the next batch's first
      break;
    }
    libc.posix_fadvise(fd, 0n, 0n, WILLNEED);
    cold.push([count, fd, size, Math.max(0, n)]);
    used += Math.max(0, size);
  }
  for (const [at, fd, size, kept] of cold) {
    const start = starts[at]!;
    lengths[at] = kept;
    while (lengths[at]! >= 0 && lengths[at]! < size) {
      const rest = into.subarray(start + lengths[at]!, start + size);
      const offset = BigInt(lengths[at]!), wanted = BigInt(rest.length);
      const n = Number(libc.pread(fd, rest as BufferSource, wanted, offset));
      if (n === 0) break;
      if (n > 0) lengths[at]! += n;
      else if (job.errno() !== EINTR) lengths[at] = -job.errno();
    }
    libc.posix_fadvise(fd, BigInt(kept), 0n, DONTNEED);
    libc.close(fd);
  }
  return count;
}

// A pipe in a file's place must not hold up whoever reads.
const OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
const ENOENT = 2;

/** What the worker is told first; a buffer after that is to be filled. */
interface WorkerStart {
  readonly libraries: readonly string[];
  readonly symbols: Readonly<Record<string, Deno.ForeignFunction>>;
  readonly files: Omit<NumberedFiles, "suffix">;
  readonly openFlags: number;
  readonly suffix: Uint8Array;
}

/** One buffer on its way between the worker and its user. */
interface Filled {
  readonly into: Uint8Array<ArrayBuffer>;
  readonly starts: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
  readonly first: number;
  /** 0 while empty; -1 says that the worker found no libc. */
  readonly count: number;
}

/** The worker's program, as text; see {@link fillBatch} for what it may hold. */
function readWorker(fill: typeof fillBatch): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<WorkerStart | Filled>) => void;
    postMessage: (filled: Filled, transfer: ArrayBuffer[]) => void;
  };
  let start: WorkerStart, libc: typeof sys | null = null;
  let errnoView: Int32Array, first = 0;
  scope.onmessage = ({ data }) => {
    if ("libraries" in data) {
      start = data;
      first = data.files.from;
      for (let i = 0; libc === null && i < data.libraries.length; i++) {
        try {
          const { symbols } = Deno.dlopen(data.libraries[i]!, data.symbols);
          libc = symbols as unknown as typeof sys;
        } catch {
          continue; // the next folder; one of them gave the main thread its libc
        }
      }
      const where = libc?.__errno_location();
      if (where) {
        errnoView = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(where, 4));
      }
      return;
    }
    if (first >= start.files.to) return;
    const { into, starts, lengths } = data;
    const count = libc === null ? -1 : fill(
      {
        libc,
        errno: () => errnoView[0]!,
        folderFd: start.files.folderFd,
        openFlags: start.openFlags,
        name: new Uint8Array(64),
        suffix: start.suffix,
        iov: new BigUint64Array(2),
        into,
        intoAddress: Deno.UnsafePointer.value(Deno.UnsafePointer.of(into)),
        limitBytes: start.files.limitBytes,
        starts,
        lengths,
      },
      first,
      start.files.to,
    );
    const filled = { into, starts, lengths, first, count };
    first += count;
    scope.postMessage(filled, [into.buffer, starts.buffer, lengths.buffer]);
  };
}

function batchOf(
  { into, starts, lengths }: Pick<BatchJob, "into" | "starts" | "lengths">,
  first: number,
  count: number,
  suffix: string,
): FileBatch {
  const bytes = (at: number) => {
    const length = lengths[at]!;
    if (length >= 0) return into.subarray(starts[at]!, starts[at]! + length);
    if (length === -ENOENT) return null;
    throw new SysError("read", `${first + at}${suffix}`, -length);
  };
  return { first, count, bytes };
}

/**
 * Reads the files of a range in order, batch by batch.
 *
 * The event loop gets its turn between two batches.
 */
export async function* readNumbered(files: NumberedFiles): AsyncGenerator<FileBatch> {
  const many = files.to - files.from >= WORKER_FILES;
  if (many && navigator.hardwareConcurrency > 1) yield* readAhead(files);
  else yield* readHere(files);
}

function bufferBytes({ limitBytes }: NumberedFiles): number {
  return Math.max(limitBytes, 1024 * 1024);
}

const encoder = new TextEncoder();

async function* readHere(files: NumberedFiles): AsyncGenerator<FileBatch> {
  const into = new Uint8Array(bufferBytes(files));
  const job: BatchJob = {
    libc: sys,
    errno,
    folderFd: files.folderFd,
    openFlags: OPEN_FLAGS,
    name: new Uint8Array(64),
    suffix: encoder.encode(`${files.suffix}\0`),
    iov: new BigUint64Array(2),
    into,
    intoAddress: pointerNumber(into),
    limitBytes: files.limitBytes,
    starts: new Int32Array(BATCH_FILES),
    lengths: new Int32Array(BATCH_FILES),
  };
  for (let first = files.from; first < files.to;) {
    // Timers and signals have their turn; a timer of 0 ms would wait for 1.
    await new Promise((resolve) => setImmediate(resolve));
    const count = fillBatch(job, first, files.to);
    yield batchOf(job, first, count, files.suffix);
    first += count;
  }
}

async function* readAhead(files: NumberedFiles): AsyncGenerator<FileBatch> {
  const text = `(${readWorker.toString()})(${fillBatch.toString()})`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    const filled = messagesOf(worker);
    worker.postMessage(workerStart(files));
    for (let i = 0; i < BATCHES_AHEAD; i++) fillAgain(worker, emptyBuffer(files));
    for (let next = files.from; next < files.to;) {
      const message = await filled();
      if (message.count < 0) throw new Error("The reading worker found no libc");
      yield batchOf(message, message.first, message.count, files.suffix);
      next += message.count;
      fillAgain(worker, message);
    }
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}

function emptyBuffer(files: NumberedFiles): Filled {
  return {
    into: new Uint8Array(bufferBytes(files)),
    starts: new Int32Array(BATCH_FILES),
    lengths: new Int32Array(BATCH_FILES),
    first: 0,
    count: 0,
  };
}

function fillAgain(worker: Worker, { into, starts, lengths }: Filled): void {
  const message: Filled = { into, starts, lengths, first: 0, count: 0 };
  worker.postMessage(message, [into.buffer, starts.buffer, lengths.buffer]);
}

function workerStart({ suffix, ...files }: NumberedFiles): WorkerStart {
  const { openat, close, preadv2, pread, lseek, posix_fadvise, __errno_location } =
    LIBC_SYMBOLS;
  return {
    libraries: libraryCandidates("libc.so.6"),
    symbols: { openat, close, preadv2, pread, lseek, posix_fadvise, __errno_location },
    files,
    openFlags: OPEN_FLAGS,
    suffix: encoder.encode(`${suffix}\0`),
  };
}

/** The worker's messages, one by one. */
function messagesOf(worker: Worker): () => Promise<Filled> {
  const arrived: Filled[] = [];
  let failure: Error | null = null;
  let wake = () => {};
  worker.onmessage = ({ data }: MessageEvent<Filled>) => {
    arrived.push(data);
    wake();
  };
  worker.onerror = (event) => {
    event.preventDefault();
    failure = new Error(`The reading worker failed: ${event.message}`);
    wake();
  };
  return async () => {
    while (arrived.length === 0) {
      if (failure) throw failure;
      await new Promise<void>((resolve) => wake = resolve);
    }
    return arrived.shift()!;
  };
}
