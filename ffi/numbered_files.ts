/**
 * Reading the files `0.json`, `1.json`, … of one folder in order, many at a time.
 *
 * Each is one open, one read and one close while its pages are in memory. What is not is
 * asked for ahead (so that the disk works on many files at once) and dropped after it was
 * read: the page cache stays as it was. Long runs are read by workers, some batches
 * ahead of whoever uses them.
 *
 * Source: openat(2), cachestat(2), preadv2(2), posix_fadvise(2).
 */
import { setImmediate } from "node:timers";
import { arch } from "./arch.ts";
import { errnoOfThread, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { eachName } from "./directory.ts";
import { pointerNumber } from "./files.ts";
import {
  BATCH_FILES,
  type BatchJob,
  bufferBytes,
  fillBatch,
  type NumberedFiles,
  OPEN_FLAGS,
  STRUCTS_WORDS,
} from "./numbered_batch.ts";
import { ReadingWorker } from "./numbered_worker.ts";

/** Reading takes about as long as checking what was read; both want a CPU of their own. */
const WORKERS = Math.min(2, Math.max(1, navigator.hardwareConcurrency - 1));
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

const ENOENT = 2;
const encoder = new TextEncoder();

async function* readHere(files: NumberedFiles): AsyncGenerator<FileBatch> {
  const into = new Uint8Array(bufferBytes(files));
  const structs = new BigUint64Array(STRUCTS_WORDS);
  const job: BatchJob = {
    libc: sys,
    errno: errnoOfThread(),
    folderFd: files.folderFd,
    openFlags: OPEN_FLAGS,
    name: new Uint8Array(64),
    suffix: encoder.encode(`${files.suffix}\0`),
    structs,
    structsAddress: pointerNumber(structs),
    cachestat: BigInt(arch.syscall.cachestat),
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
  const workers: ReadingWorker[] = [];
  try {
    for (let at = 0; at < WORKERS; at++) {
      const from = files.from + at * BATCH_FILES;
      workers.push(new ReadingWorker({ ...files, from }, WORKERS));
    }
    for (let next = files.from; next < files.to;) {
      const stripe = Math.floor((next - files.from) / BATCH_FILES);
      const worker = workers[stripe % WORKERS]!;
      const filled = await worker.next();
      yield batchOf(filled, next, filled.count, files.suffix);
      next += filled.count;
      worker.fill(filled);
    }
  } finally {
    for (const worker of workers) worker.stop();
  }
}

const ZERO = 0x30;

/** Names of a folder of numbered files that are none of theirs. */
export interface StrayNames {
  /** Neither a number with the suffix, nor `.` or `..`. */
  readonly strange: readonly string[];
  /** Numbers at or past the end. */
  readonly beyond: readonly number[];
}

/**
 * Looks through the names of a folder of numbered files.
 *
 * @param end one past the last number that should be there
 */
export function strayNames(folderFd: number, suffix: string, end: number): StrayNames {
  const tail = encoder.encode(suffix);
  const strange: string[] = [], beyond: number[] = [];
  eachName(folderFd, (raw, at, length) => {
    const number = numberOf(raw, at, length, tail);
    if (number >= end) beyond.push(number);
    if (number >= 0) return;
    strange.push(decoder.decode(raw.subarray(at, at + length)));
  });
  return { strange, beyond };
}

const decoder = new TextDecoder();

/** The number that a name is made of, without leading zeros; -1 for any other name. */
function numberOf(
  raw: Uint8Array,
  at: number,
  length: number,
  suffix: Uint8Array,
): number {
  const digits = length - suffix.length;
  if (digits < 1 || digits > 15 || (digits > 1 && raw[at] === ZERO)) return -1;
  let number = 0;
  for (let i = at; i < at + digits; i++) {
    const digit = raw[i]! - ZERO;
    if (digit < 0 || digit > 9) return -1;
    number = 10 * number + digit;
  }
  for (let i = 0; i < suffix.length; i++) {
    if (raw[at + digits + i] !== suffix[i]) return -1;
  }
  return number;
}
