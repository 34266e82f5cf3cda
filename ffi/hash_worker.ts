/**
 * SHA-256 on another core: a worker that takes bytes and open files through a ring in
 * shared memory and gives digests back, in the order they were asked for. A message per
 * piece through postMessage would cost more than hashing it.
 *
 * Source: FIPS 180-4 by way of node:crypto; ECMA-262 25.4 (Atomics).
 */
import type { createHash } from "node:crypto";
import { SysError } from "./errno.ts";
import { libraryCandidates } from "./library.ts";
import { openWorkerLibc } from "./worker_libc.ts";

/** Bytes in flight at most; a power of two. */
const RING_BYTES = 2 * 1024 * 1024;
/** Digests asked for and not fetched at most: as many files are open meanwhile. */
const SLOTS = 64;
const SLOT_BYTES = 48, SHA_BYTES = 32;
/** Messages are whole multiples of this, so that one always fits before the ring's end. */
const HEADER_BYTES = 16;
const PIECE_BYTES = 256 * 1024;
/** Positions run to here, then start again at 0; a multiple of the ring. */
const POSITIONS = 2 ** 30;
/** How long a wait lasts before it is looked whether the worker still lives. */
const WAIT_MS = 100;

/** Where in the control words: written, read, state, digests given, to stop. */
const HEAD = 0, TAIL = 1, STATE = 2, DONE = 3, STOP = 4, CONTROL_WORDS = 8;
const READY = 1, FAILED = 2;
const OP_SKIP = 0, OP_UPDATE = 1, OP_ZEROS = 2, OP_DIGEST = 3, OP_FILE = 4, OP_END = 5;

/** What the worker is told. */
interface Start {
  readonly libraries: readonly string[];
  readonly control: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
  readonly results: SharedArrayBuffer;
}

const CALLS = {
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  sync_file_range: { parameters: ["i32", "i64", "i64", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;
type Calls = Deno.DynamicLibrary<typeof CALLS>["symbols"];

// The two functions that follow are the worker's program. They are turned into text:
// they must not refer to anything outside of themselves, and hold no named function (see
// btrfs_send.ts). Numbers stand for the constants above.

/** Reads an open file into a hash and closes it; its length, or the errno negated. */
function readInto(
  hash: ReturnType<typeof createHash>,
  calls: Calls,
  fd: number,
  chunk: Uint8Array<ArrayBuffer>,
  control: Int32Array,
): number {
  const where = calls.__errno_location();
  const errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(where!, 4));
  // The disk begins to write what will not change any more.
  calls.sync_file_range(fd, 0n, 0n, 2);
  let length = 0;
  while (Atomics.load(control, 4) === 0) {
    const most = BigInt(chunk.length);
    const result = calls.pread(fd, chunk, most, BigInt(length));
    const failed = result < 0n ? errno[0]! : 0;
    const n = Number(result);
    if (failed === 4) continue; // EINTR
    if (failed !== 0) length = -failed;
    if (n <= 0) break;
    hash.update(chunk.subarray(0, n));
    length += n;
  }
  calls.close(fd);
  return length;
}

function hashWorker(
  newHash: typeof createHash,
  open: typeof openWorkerLibc,
  read: typeof readInto,
  symbols: typeof CALLS,
): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<Start>) => void;
    close: () => void;
  };
  scope.onmessage = ({ data }) => {
    const control = new Int32Array(data.control);
    const bytes = new Uint8Array(data.ring), view = new DataView(data.ring);
    const results = new Uint8Array(data.results), answers = new DataView(data.results);
    try {
      const calls = open(data.libraries, symbols);
      if (calls === null) throw new Error("no libc");
      const chunk = new Uint8Array(256 * 1024), zeros = new Uint8Array(256 * 1024);
      const hashes = new Map<number, ReturnType<typeof createHash>>();
      Atomics.store(control, 2, 1);
      for (let tail = 0, done = 0;;) {
        while (Atomics.load(control, 0) === tail) Atomics.wait(control, 0, tail);
        const at = tail & (bytes.length - 1), op = view.getInt32(at, true);
        const id = view.getInt32(at + 4, true), count = view.getFloat64(at + 8, true);
        let size = 16, length = 0;
        if (op === 5) break;
        if (op === 0) size = count;
        else {
          const known = op < 4 ? hashes.get(id) : undefined;
          const hash = known ?? newHash("sha256");
          if (op < 3 && !known) hashes.set(id, hash);
          if (op === 1) {
            size += Math.ceil(count / 16) * 16;
            hash.update(bytes.subarray(at + 16, at + 16 + count));
          } else if (op === 2) {
            for (let left = count; left > 0 && control[4] === 0; left -= zeros.length) {
              hash.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
            }
          } else {
            if (op === 4) length = read(hash, calls, id, chunk, control);
            else hashes.delete(id);
            const slot = (done++ % 64) * 48;
            results.set(hash.digest(), slot);
            answers.setFloat64(slot + 32, length, true);
            Atomics.store(control, 3, done);
            Atomics.notify(control, 3);
          }
        }
        tail = (tail + size) % 2 ** 30;
        Atomics.store(control, 1, tail);
        Atomics.notify(control, 1);
      }
    } catch {
      Atomics.store(control, 2, 2);
    }
    scope.close();
  };
}

/** A digest that was asked for. */
export class LaterDigest {
  readonly #worker: HashWorker;
  #found: { readonly sha256: Uint8Array; readonly sizeBytes: number } | null = null;

  /** @internal */
  constructor(worker: HashWorker) {
    this.#worker = worker;
  }

  /** @internal Called when the answer is there. */
  put(sha256: Uint8Array, sizeBytes: number): void {
    this.#found = { sha256, sizeBytes };
  }

  /**
   * The SHA-256, 32 bytes, and of a file how many bytes it held. Blocks until known.
   * @throws {SysError} what reading the file gave
   */
  get(): { readonly sha256: Uint8Array; readonly sizeBytes: number } {
    while (this.#found === null) this.#worker.waitForOne();
    const { sizeBytes } = this.#found;
    if (sizeBytes < 0) throw new SysError("pread", "", -sizeBytes);
    return this.#found;
  }
}

/** The worker, from this side. Not to be shared between threads. */
export class HashWorker implements Disposable {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
  readonly #ring = new Uint8Array(new SharedArrayBuffer(RING_BYTES));
  readonly #view = new DataView(this.#ring.buffer);
  readonly #results = new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES));
  readonly #answers = new DataView(this.#results.buffer);
  readonly #waiting: LaterDigest[] = [];
  #head = 0;
  #fetched = 0;
  #nextId = 0;
  readonly #url: string;

  /** Starts it; {@link ready} says when it takes work. */
  constructor() {
    const text = `import { createHash } from "node:crypto";
      (${hashWorker.toString()})(createHash, ${openWorkerLibc.toString()},
        ${readInto.toString()}, ${JSON.stringify(CALLS)})`;
    this.#url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(this.#url, { type: "module" });
    worker.onerror = (event) => {
      event.preventDefault();
      Atomics.store(this.#control, STATE, FAILED);
    };
    const start: Start = {
      libraries: libraryCandidates("libc.so.6"),
      control: this.#control.buffer as SharedArrayBuffer,
      ring: this.#ring.buffer as SharedArrayBuffer,
      results: this.#results.buffer as SharedArrayBuffer,
    };
    worker.postMessage(start);
  }

  /** True once it takes work. Until then, and if it never does, hash on this thread. */
  get ready(): boolean {
    return Atomics.load(this.#control, STATE) === READY;
  }

  #checkAlive(): void {
    if (!this.ready) throw new Error("The hashing worker has ended unexpectedly");
  }

  /** A number for a new hash. */
  begin(): number {
    return this.#nextId = (this.#nextId + 1) | 0;
  }

  /** Adds bytes to a hash; they are copied. */
  update(id: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.#push(OP_UPDATE, id, piece.length, piece);
    }
  }

  /** Adds zero bytes to a hash. */
  zeros(id: number, count: number): void {
    if (count > 0) this.#push(OP_ZEROS, id, count);
  }

  /** Ends a hash. */
  digest(id: number): LaterDigest {
    return this.#ask(OP_DIGEST, id);
  }

  /**
   * Hashes an open file from its start; the disk is told to begin writing it.
   * @param fd open for reading; the worker closes it
   */
  hashFile(fd: number): LaterDigest {
    return this.#ask(OP_FILE, fd);
  }

  #ask(op: number, id: number): LaterDigest {
    while (this.#waiting.length >= SLOTS) this.waitForOne();
    this.#push(op, id, 0);
    const later = new LaterDigest(this);
    this.#waiting.push(later);
    this.#fetch();
    return later;
  }

  /** Takes the answers that are there. */
  #fetch(): void {
    for (const done = Atomics.load(this.#control, DONE); this.#fetched !== done;) {
      const slot = (this.#fetched++ % SLOTS) * SLOT_BYTES;
      this.#waiting.shift()!.put(
        this.#results.slice(slot, slot + SHA_BYTES),
        this.#answers.getFloat64(slot + SHA_BYTES, true),
      );
    }
  }

  /** Blocks until one more answer is there. */
  waitForOne(): void {
    const before = this.#fetched;
    for (this.#fetch(); this.#fetched === before; this.#fetch()) {
      this.#checkAlive();
      Atomics.wait(this.#control, DONE, before, WAIT_MS);
    }
  }

  /** Settles when everything that was asked for is known; the event loop lives on. */
  async settled(): Promise<void> {
    for (this.#fetch(); this.#waiting.length > 0; this.#fetch()) {
      this.#checkAlive();
      await Atomics.waitAsync(this.#control, DONE, this.#fetched, WAIT_MS).value;
    }
  }

  #push(op: number, id: number, count: number, payload?: Uint8Array): void {
    const size = HEADER_BYTES + (payload ? Math.ceil(payload.length / 16) * 16 : 0);
    const toEnd = RING_BYTES - (this.#head & (RING_BYTES - 1));
    if (toEnd < size) this.#put(toEnd, OP_SKIP, 0, toEnd);
    this.#put(size, op, id, count, payload);
  }

  #put(size: number, op: number, id: number, count: number, payload?: Uint8Array): void {
    for (;;) {
      const tail = Atomics.load(this.#control, TAIL);
      const used = (this.#head - tail + POSITIONS) % POSITIONS;
      if (used + size <= RING_BYTES) break;
      this.#checkAlive();
      Atomics.wait(this.#control, TAIL, tail, WAIT_MS);
    }
    const at = this.#head & (RING_BYTES - 1);
    this.#view.setInt32(at, op, true);
    this.#view.setInt32(at + 4, id, true);
    this.#view.setFloat64(at + 8, count, true);
    if (payload) this.#ring.set(payload, at + HEADER_BYTES);
    this.#head = (this.#head + size) % POSITIONS;
    Atomics.store(this.#control, HEAD, this.#head);
    Atomics.notify(this.#control, HEAD);
  }

  /** Ends the worker; what it was still to do is dropped, files are closed. */
  [Symbol.dispose](): void {
    Atomics.store(this.#control, STOP, 1);
    if (Atomics.load(this.#control, STATE) !== FAILED) this.#push(OP_END, 0, 0);
    URL.revokeObjectURL(this.#url);
  }
}
