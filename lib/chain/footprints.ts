/**
 * Footprints: the vector of each block's text, so that a question finds the block that
 * answers it. Kept in `@vectors`, one file per embedding model; derived from the blocks,
 * so whatever is missing or damaged there is computed again.
 *
 *     "OPDBUSFP" version:u32 dimensions:u32 identity:32 bytes, then per block
 *     number:u32 crc:u32 float32 × dimensions
 */
import { crc32 } from "node:zlib";
import {
  close,
  fdatasync,
  ftruncate,
  O_CREAT,
  O_NOFOLLOW,
  O_RDWR,
  open,
} from "../../ffi/files.ts";
import {
  dropPages,
  preadUncached,
  pwriteUncached,
  unprobed,
} from "../../ffi/uncached.ts";
import { fstat } from "../../ffi/stat.ts";
import { flock, LOCK_EX, LOCK_UN } from "../../ffi/flock.ts";
import { OpError } from "../base/errors.ts";
import { makeFolder } from "../base/folder.ts";
import { type Block, blockText } from "./block.ts";
import { sha256 } from "./merkle.ts";
import { type ChainReader, pause } from "./reader.ts";
import { type BlockFilter, type Found, matches } from "./search.ts";

const MAGIC = "OPDBUSFP";
const VERSION = 1;
const HEADER_BYTES = 48, RECORD_HEADER_BYTES = 8;
const DIMENSIONS_LIMIT = 16_384;
/** Blocks whose texts are embedded in one call. */
const EMBED_BATCH = 64;
/** Records that are read and compared at once: few enough to stay in the CPU's cache. */
const COMPARE_BATCH = 128;
/** Batches between two looks at the event loop. */
const BATCHES_PER_TURN = 16;

/** Turns texts into vectors: the embedding cache, as the chain sees it. */
export interface Footprinter {
  /** Names model and settings: vectors of different identities are never compared. */
  readonly identity: string;
  readonly dimensions: number;
  /** One vector per text, in order. */
  embed(texts: readonly string[]): Promise<readonly Float32Array[]>;
}

/** The vectors of one chain under one model. */
export class Footprints implements Disposable {
  readonly #fd: number;
  readonly #recordBytes: number;
  readonly #support = unprobed();

  /**
   * Opens the vectors, making the file where it is missing.
   *
   * @param folder `@vectors`
   * @throws {OpError} `bad_vectors` when the file belongs to another format
   */
  constructor(readonly folder: string, readonly footprinter: Footprinter) {
    const { dimensions } = footprinter;
    if (!(dimensions > 0 && dimensions <= DIMENSIONS_LIMIT)) {
      throw new OpError(
        "bad_vectors",
        `Cannot store vectors of ${dimensions} dimensions`,
      );
    }
    this.#recordBytes = RECORD_HEADER_BYTES + 4 * dimensions;
    makeFolder(folder);
    this.#fd = open(this.path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
    try {
      this.#checkHeader();
    } catch (error) {
      close(this.#fd);
      throw error;
    }
  }

  get path(): string {
    const id = sha256(new TextEncoder().encode(this.footprinter.identity)).toHex();
    return `${this.folder}/${id.slice(0, 16)}.footprints`;
  }

  /** Blocks that have a vector: always the first so many. */
  get count(): number {
    const bytes = fstat(this.#fd).sizeBytes - HEADER_BYTES;
    return Math.max(0, Math.floor(bytes / this.#recordBytes));
  }

  #checkHeader(): void {
    const expected = this.#header();
    const found = new Uint8Array(HEADER_BYTES);
    const length = preadUncached(this.#fd, found, 0, this.#support);
    if (length < HEADER_BYTES) {
      ftruncate(this.#fd, 0);
      pwriteUncached(this.#fd, expected, 0, this.#support);
    } else if (found.some((byte, at) => byte !== expected[at])) {
      throw new OpError(
        "bad_vectors",
        `Cannot read ${this.path}: it is of another format`,
        {
          hint: "remove the file: the vectors are computed again from the blocks",
        },
      );
    }
  }

  #header(): Uint8Array<ArrayBuffer> {
    const header = new Uint8Array(HEADER_BYTES);
    const encoder = new TextEncoder();
    header.set(encoder.encode(MAGIC));
    const view = new DataView(header.buffer);
    view.setUint32(8, VERSION, true);
    view.setUint32(12, this.footprinter.dimensions, true);
    header.set(sha256(encoder.encode(this.footprinter.identity)), 16);
    return header;
  }

  /**
   * Embeds the blocks that have no vector yet.
   *
   * @param onProgress blocks done and to do, now and then
   * @returns how many were added
   */
  async catchUp(
    reader: ChainReader,
    signal?: AbortSignal,
    onProgress?: (done: number, total: number) => void,
  ): Promise<number> {
    const start = this.count;
    let blocks: Block[] = [];
    for await (const block of reader.blocks(start, reader.size, signal)) {
      blocks.push(block);
      if (blocks.length < EMBED_BATCH) continue;
      await this.#add(blocks);
      onProgress?.(block.header.number + 1 - start, reader.size - start);
      blocks = [];
    }
    if (blocks.length > 0) await this.#add(blocks);
    return this.count - start;
  }

  async #add(blocks: readonly Block[]): Promise<void> {
    const first = blocks[0]!.header.number;
    const vectors = await this.footprinter.embed(blocks.map(blockText));
    const records = new Uint8Array(blocks.length * this.#recordBytes);
    blocks.forEach(({ header }, at) => {
      const vector = vectors[at];
      const sound = vector?.length === this.footprinter.dimensions &&
        vector.every(Number.isFinite);
      if (!sound) {
        throw new OpError("bad_vectors", "Cannot store a vector: it is unsound");
      }
      this.#encode(records, at * this.#recordBytes, header.number, vector);
    });
    // Another process may have added the same blocks meanwhile: write over, same bytes.
    flock(this.#fd, LOCK_EX);
    try {
      if (this.count < first) return; // somebody cut the file: the next catch-up mends it
      const offset = HEADER_BYTES + first * this.#recordBytes;
      pwriteUncached(this.#fd, records, offset, this.#support);
      fdatasync(this.#fd, this.path);
      dropPages(this.#fd);
    } finally {
      flock(this.#fd, LOCK_UN);
    }
  }

  #encode(records: Uint8Array, at: number, number: number, vector: Float32Array): void {
    const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
    const view = new DataView(records.buffer);
    view.setUint32(at, number, true);
    view.setUint32(at + 4, crc32(bytes), true);
    records.set(bytes, at + RECORD_HEADER_BYTES);
  }

  /**
   * Blocks nearest to a question, by cosine.
   *
   * @param limit how many at most
   * @throws {OpError} `bad_vectors` when a vector stays damaged after it was made again
   */
  async search(
    reader: ChainReader,
    query: string,
    limit: number,
    filter: BlockFilter = {},
    signal?: AbortSignal,
  ): Promise<Found[]> {
    await this.catchUp(reader, signal);
    const [question] = await this.footprinter.embed([query]);
    const asked = unit(question!);
    let ranked = await this.#rank(asked, reader.size, signal);
    if (typeof ranked === "number") {
      this.#cut(ranked);
      await this.catchUp(reader, signal);
      ranked = await this.#rank(asked, reader.size, signal);
    }
    if (typeof ranked === "number") {
      throw new OpError("bad_vectors", `Cannot read ${this.path}: it stays damaged`, {
        hint: "check the disk (dmesg, btrfs scrub)",
      });
    }
    const found: Found[] = [];
    for (const { number, score } of ranked) {
      if (found.length >= limit) break;
      const block = reader.read(number);
      if (matches(block, filter)) found.push({ block, score });
    }
    return found;
  }

  /** Drops the vectors from a damaged one on. */
  #cut(number: number): void {
    flock(this.#fd, LOCK_EX);
    try {
      ftruncate(this.#fd, HEADER_BYTES + number * this.#recordBytes);
    } finally {
      flock(this.#fd, LOCK_UN);
    }
  }

  /** Every block by its score; the number of the first damaged vector instead, if any. */
  async #rank(question: Float32Array, size: number, signal?: AbortSignal) {
    const { dimensions } = this.footprinter;
    const buffer = new Uint8Array(COMPARE_BATCH * this.#recordBytes);
    const floats = new Float32Array(buffer.buffer);
    const words = new Uint32Array(buffer.buffer);
    const ranked: { number: number; score: number }[] = [];
    const count = Math.min(this.count, size);
    for (let first = 0; first < count; first += COMPARE_BATCH) {
      if (first % (BATCHES_PER_TURN * COMPARE_BATCH) === 0) await pause(signal);
      const records = Math.min(COMPARE_BATCH, count - first);
      const wanted = buffer.subarray(0, records * this.#recordBytes);
      preadUncached(
        this.#fd,
        wanted,
        HEADER_BYTES + first * this.#recordBytes,
        this.#support,
      );
      for (let at = 0; at < records; at++) {
        const word = at * (this.#recordBytes / 4);
        const start = (word + 2) * 4;
        const crc = crc32(buffer.subarray(start, start + 4 * dimensions));
        if (words[word] !== first + at || words[word + 1] !== crc) {
          return first + at;
        }
        ranked.push({ number: first + at, score: cosine(question, floats, word + 2) });
      }
    }
    return ranked.sort((a, b) => b.score - a.score || b.number - a.number);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

function unit(vector: Float32Array): Float32Array {
  const norm = Math.hypot(...vector);
  return norm === 0 ? vector : vector.map((value) => value / norm);
}

/** Cosine of a unit vector and the one that starts at `at`. */
function cosine(question: Float32Array, floats: Float32Array, at: number): number {
  let dot = 0, square = 0;
  for (let i = 0; i < question.length; i++) {
    const value = floats[at + i]!;
    dot += question[i]! * value;
    square += value * value;
  }
  return square === 0 ? 0 : dot / Math.sqrt(square);
}
