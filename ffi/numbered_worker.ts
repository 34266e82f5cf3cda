/**
 * A worker that reads numbered files ahead of whoever uses them.
 */
import { arch } from "./arch.ts";
import type { Errno, sys } from "./libc.ts";
import { LIBC_SYMBOLS } from "./libc_symbols.ts";
import { libraryCandidates } from "./library.ts";
import { openWorkerLibc } from "./worker_libc.ts";
import {
  BATCH_FILES,
  bufferBytes,
  fillBatch,
  type NumberedFiles,
  OPEN_FLAGS,
  STRUCTS_WORDS,
} from "./numbered_batch.ts";

/** Batches that each worker may be ahead. */
const BATCHES_AHEAD = 4;

/** What {@link fillBatch} calls, and where errno is. */
const CALLS = [
  ...[
    "openat",
    "close",
    "preadv2",
    "pread",
    "lseek",
    "posix_fadvise",
    "syscall",
  ] as const,
  "__errno_location",
] as const;

const encoder = new TextEncoder();

/** What the worker is told first; a buffer after that is to be filled. */
interface WorkerStart {
  readonly libraries: readonly string[];
  readonly symbols: Readonly<Record<string, Deno.ForeignFunction>>;
  readonly files: Omit<NumberedFiles, "suffix">;
  /** It reads every so many'th stripe of files, its own first one at `from`. */
  readonly stripes: number;
  readonly stripeFiles: number;
  readonly openFlags: number;
  readonly structsWords: number;
  readonly cachestat: bigint;
  readonly suffix: Uint8Array;
}

/** One buffer on its way between the worker and its user. */
export interface Filled {
  readonly into: Uint8Array<ArrayBuffer>;
  readonly starts: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
  readonly first: number;
  /** 0 while empty; -1 says that the worker found no libc. */
  readonly count: number;
}

/** The worker's program, as text; see {@link fillBatch} for what it may hold. */
function readWorker(fill: typeof fillBatch, open: typeof openWorkerLibc): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<WorkerStart | Filled>) => void;
    postMessage: (filled: Filled, transfer: ArrayBuffer[]) => void;
  };
  let start: WorkerStart, libc: typeof sys | null = null;
  let errno: Errno, first = 0;
  scope.onmessage = ({ data }) => {
    if ("libraries" in data) {
      start = data;
      first = data.files.from;
      libc = open(data.libraries, data.symbols) as typeof sys | null;
      const where = libc?.__errno_location();
      if (where) {
        const buffer = Deno.UnsafePointerView.getArrayBuffer(where, 4);
        errno = new Int32Array(buffer) as unknown as Errno;
      }
      return;
    }
    if (first >= start.files.to) return;
    const { into, starts, lengths } = data;
    const structs = new BigUint64Array(start.structsWords);
    const own = Math.floor((first - start.files.from) / start.stripeFiles) + 1;
    const end = Math.min(start.files.from + own * start.stripeFiles, start.files.to);
    const count = libc === null ? -1 : fill(
      {
        libc,
        errno,
        folderFd: start.files.folderFd,
        openFlags: start.openFlags,
        name: new Uint8Array(64),
        suffix: start.suffix,
        structs,
        structsAddress: Deno.UnsafePointer.value(Deno.UnsafePointer.of(structs)),
        cachestat: start.cachestat,
        into,
        intoAddress: Deno.UnsafePointer.value(Deno.UnsafePointer.of(into)),
        limitBytes: start.files.limitBytes,
        starts,
        lengths,
      },
      first,
      end,
    );
    const filled = { into, starts, lengths, first, count };
    first += count;
    if (first === end) first += (start.stripes - 1) * start.stripeFiles;
    scope.postMessage(filled, [into.buffer, starts.buffer, lengths.buffer]);
  };
}

/** A worker, and what it has read. */
export class ReadingWorker {
  readonly #url: string;
  readonly #worker: Worker;
  readonly #arrived: Filled[] = [];
  #failure: Error | null = null;
  #wake = () => {};

  /**
   * @param files what to read: of each {@link BATCH_FILES} times `stripes` files the
   *   first {@link BATCH_FILES}
   */
  constructor(files: NumberedFiles, stripes: number) {
    const text = `(${readWorker.toString()})(${fillBatch.toString()},
      ${openWorkerLibc.toString()})`;
    this.#url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    this.#worker = new Worker(this.#url, { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Filled>) => {
      this.#arrived.push(data);
      this.#wake();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failure = new Error(`A reading worker failed: ${event.message}`);
      this.#wake();
    };
    this.#worker.postMessage(workerStart(files, stripes));
    for (let i = 0; i < BATCHES_AHEAD; i++) this.fill(emptyBuffer(files));
  }

  /** Hands over a buffer to be filled. */
  fill({ into, starts, lengths }: Filled): void {
    const message: Filled = { into, starts, lengths, first: 0, count: 0 };
    this.#worker.postMessage(message, [into.buffer, starts.buffer, lengths.buffer]);
  }

  /** The next buffer that it filled. */
  async next(): Promise<Filled> {
    while (this.#arrived.length === 0) {
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const filled = this.#arrived.shift()!;
    if (filled.count < 0) throw new Error("A reading worker found no libc");
    return filled;
  }

  stop(): void {
    this.#worker.terminate();
    URL.revokeObjectURL(this.#url);
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

function workerStart(
  { suffix, ...files }: NumberedFiles,
  stripes: number,
): WorkerStart {
  return {
    libraries: libraryCandidates("libc.so.6"),
    symbols: Object.fromEntries(CALLS.map((name) => [name, LIBC_SYMBOLS[name]])),
    files,
    stripes,
    stripeFiles: BATCH_FILES,
    openFlags: OPEN_FLAGS,
    structsWords: STRUCTS_WORDS,
    cachestat: BigInt(arch.syscall.cachestat),
    suffix: encoder.encode(`${suffix}\0`),
  };
}
