/**
 * The content of one file as a stream builds it: its size, where its bytes come from,
 * and, as long as they come in order, their SHA-256.
 */
import { createHash, type Hash } from "node:crypto";
import type { HashWorker, LaterDigest } from "../../ffi/hash_worker.ts";
import { ExtentMap } from "./extents.ts";

const ZEROS = new Uint8Array(1024 * 1024);
/** Hashes that are kept open at one time; the others are sealed. */
const OPEN_HASHES = 8;
/** A content whose first piece is shorter is hashed as quickly as it is handed over. */
const WORKER_BYTES = 16 * 1024;

/** Feeds `count` zero bytes. */
export function hashZeros(hash: Hash, count: number): void {
  for (let left = count; left > 0; left -= ZEROS.length) {
    hash.update(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
  }
}

let emptySha: Uint8Array | undefined;
function shaOfNothing(): Uint8Array {
  return emptySha ??= createHash("sha256").digest();
}

/** A hash of what is yet to come, on this thread or another. */
interface ContentHash {
  update(data: Uint8Array): void;
  zeros(count: number): void;
  digest(): Uint8Array | LaterDigest;
}

class OwnHash implements ContentHash {
  readonly #hash = createHash("sha256");

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }
  zeros(count: number): void {
    hashZeros(this.#hash, count);
  }
  digest(): Uint8Array {
    return this.#hash.digest();
  }
}

class WorkerHash implements ContentHash {
  readonly #worker: HashWorker;
  readonly #id: number;

  constructor(worker: HashWorker) {
    this.#worker = worker;
    this.#id = worker.begin();
  }

  update(data: Uint8Array): void {
    this.#worker.update(this.#id, data);
  }
  zeros(count: number): void {
    this.#worker.zeros(this.#id, count);
  }
  digest(): LaterDigest {
    return this.#worker.digest(this.#id);
  }
}

/** Makes file contents and bounds how many hashes are open among them. */
export class ContentPool {
  /** False where nobody asks for digests: nothing is hashed then. */
  readonly hashing: boolean;
  readonly #open: FileContent[] = [];
  readonly #worker: HashWorker | null;

  /** @param worker hashes large contents; stays the caller's */
  constructor(hashing: boolean, worker: HashWorker | null = null) {
    this.hashing = hashing;
    this.#worker = worker;
  }

  /** @internal Called by a content that begins to hash. */
  begin(content: FileContent, firstBytes: number): ContentHash {
    this.#open.push(content);
    if (this.#open.length > OPEN_HASHES) this.#open.shift()!.seal();
    const worker = firstBytes >= WORKER_BYTES && this.#worker?.ready;
    return worker ? new WorkerHash(this.#worker!) : new OwnHash();
  }
}

/** A file's content. */
export class FileContent {
  readonly extents: ExtentMap;
  readonly #pool: ContentPool;
  #size = 0;
  #hash: ContentHash | null = null;
  /** Bytes that the hash has seen. */
  #hashed = 0;
  #sealed: Uint8Array | LaterDigest | null = null;
  /** Bytes came out of order: only another pass over the stream gives the hash. */
  #tangled = false;

  constructor(pool: ContentPool, extents = new ExtentMap()) {
    this.#pool = pool;
    this.extents = extents;
  }

  /** A file of the base tree, with the hash that was read from disk. */
  static ofBase(
    pool: ContentPool,
    index: number,
    size: number,
    sha: Uint8Array,
  ): FileContent {
    const content = new FileContent(pool);
    content.extents.set(0, size, -1 - index, 0);
    content.#size = size;
    content.#hashed = size;
    content.#sealed = sha;
    return content;
  }

  /** The same content, to be changed apart from this one. */
  copy(pool: ContentPool): FileContent {
    const other = new FileContent(pool, this.extents.copy());
    this.seal();
    other.#size = this.#size;
    other.#hashed = this.#hashed;
    other.#sealed = this.#sealed;
    other.#tangled = this.#tangled;
    return other;
  }

  get size(): number {
    return this.#size;
  }

  /** Notes data at `offset` that the command at `source` of the stream carries. */
  write(offset: number, data: Uint8Array, source: number, inner = 0): void {
    if (data.length === 0) return; // on disk it does not lengthen the file either
    this.extents.set(offset, data.length, source, inner);
    this.#size = Math.max(this.#size, offset + data.length);
    if (!this.#pool.hashing || this.#tangled) return;
    if (this.#sealed !== null || offset < this.#hashed) return this.#tangle();
    this.#hash ??= this.#pool.begin(this, data.length);
    this.#hash.zeros(offset - this.#hashed);
    this.#hash.update(data);
    this.#hashed = offset + data.length;
  }

  /** Notes that a range is a copy of `source`'s range, as it is now. */
  cloneFrom(source: FileContent, from: number, length: number, to: number): void {
    this.extents.paste(to, length, source.extents.slice(from, from + length));
    this.#size = Math.max(this.#size, to + length);
    if (this.#pool.hashing) this.#tangle();
  }

  /** Cuts or extends (with a hole) to `size`. */
  resize(size: number): void {
    if (size < this.#size) this.extents.clear(size, Infinity);
    this.#size = size;
    const lost = this.#sealed !== null ? size !== this.#hashed : size < this.#hashed;
    if (lost && this.#pool.hashing) this.#tangle();
  }

  /** Makes a hole inside the file. */
  punch(offset: number, length: number): void {
    this.extents.clear(offset, offset + length);
    if (offset < this.#hashed && this.#pool.hashing) this.#tangle();
  }

  #tangle(): void {
    this.#tangled = true;
    this.#hash = null;
    this.#sealed = null;
  }

  /** Ends the hash at the size that the file has now. Writing on tangles it. */
  seal(): void {
    if (this.#hash === null) return;
    this.#hash.zeros(this.#size - this.#hashed);
    this.#hashed = this.#size;
    this.#sealed = this.#hash.digest();
    this.#hash = null;
  }

  /** Puts in the hash that another pass found. */
  resolve(sha: Uint8Array): void {
    this.#sealed = sha;
    this.#hashed = this.#size;
    this.#tangled = false;
  }

  /** SHA-256 of the whole content; null when another pass is needed to know it. */
  sha256(): Uint8Array | null {
    if (this.#tangled || !this.#pool.hashing) return null;
    if (this.#size === 0) return shaOfNothing();
    if (this.#hash === null && this.#sealed === null) { // one hole
      this.#hash = new OwnHash();
    }
    this.seal();
    if (this.#hashed !== this.#size || this.#sealed === null) return null;
    if (!(this.#sealed instanceof Uint8Array)) this.#sealed = this.#sealed.get().sha256;
    return this.#sealed;
  }
}
