/** Decompression, with a bound on what comes out: zstd streams and single extents. */
import {
  constants,
  createZstdDecompress,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { COMPRESSION, MAX_UNENCODED_BYTES } from "./format.ts";
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";
import type { ByteReader } from "./source.ts";

/** Largest window that is decoded: 32 MiB; `zstd -19` uses 8 MiB. */
const WINDOW_LOG_MAX = 25;
const CHUNK_BYTES = 256 * 1024;

/** Reads the content of zstd frames, one after the other, until the input ends. */
export class ZstdReader implements ByteReader {
  readonly #inner: ByteReader;
  readonly #limits: StreamLimits;
  readonly #decoder = createZstdDecompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
  });
  readonly #chunks = this.#decoder[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  #pump: Promise<void> | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  #closed = false;

  constructor(inner: ByteReader, limits: StreamLimits) {
    this.#inner = inner;
    this.#limits = limits;
  }

  read(into: Uint8Array): number | Promise<number> {
    return this.#rest.length > 0 ? this.#take(into) : this.#fetch(into);
  }

  #take(into: Uint8Array): number {
    const piece = this.#rest.subarray(0, into.length);
    into.set(piece);
    this.#rest = this.#rest.subarray(piece.length);
    return piece.length;
  }

  async #fetch(into: Uint8Array): Promise<number> {
    this.#pump ??= this.#feed();
    while (this.#rest.length === 0) {
      const next = await this.#next();
      if (next.done) return 0;
      this.#rest = next.value;
      this.#bytesOut += next.value.length;
      const { expansionRatio, expansionFreeBytes } = this.#limits;
      if (this.#bytesOut > expansionFreeBytes + expansionRatio * this.#bytesIn) {
        throw new StreamError(
          "stream_limit",
          `it expands more than ${expansionRatio} times`,
          this.#bytesOut,
        );
      }
    }
    return this.#take(into);
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    try {
      return await this.#chunks.next();
    } catch (error) {
      if (error instanceof StreamError) throw error;
      const code = (error as { code?: unknown }).code;
      if (
        typeof code !== "string" || !code.startsWith("ZSTD_") && !code.startsWith("Z_")
      ) {
        throw error;
      }
      throw new StreamError("stream_corrupt", `damaged zstd (${code})`, this.#bytesOut);
    }
  }

  async #feed(): Promise<void> {
    try {
      for (;;) {
        const piece = new Uint8Array(CHUNK_BYTES);
        const n = await this.#inner.read(piece);
        if (n === 0 || this.#closed) break;
        this.#bytesIn += n;
        if (!this.#decoder.write(piece.subarray(0, n))) await this.#drained();
      }
      this.#decoder.end();
    } catch (error) {
      this.#decoder.destroy(error as Error);
    }
  }

  async #drained(): Promise<void> {
    if (!this.#closed) await once(this.#decoder, "drain");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#decoder.emit("drain");
    this.#decoder.destroy();
    await this.#pump;
    await this.#inner[Symbol.asyncDispose]();
  }
}

/**
 * Decodes the extent of an encoded write.
 *
 * @param data the compressed bytes; for zlib and zstd the kernel pads them to a sector
 * @param compression one of `COMPRESSION`
 * @param length decoded size wanted, at most 128 KiB
 * @returns `length` bytes; what the frame does not give reads as zeros, as in the kernel
 * @throws {RangeError} when it does not decode
 */
export function decodeExtent(
  data: Uint8Array,
  compression: number,
  length: number,
): Uint8Array {
  if (length > MAX_UNENCODED_BYTES) throw new RangeError(`${length} bytes decoded`);
  let decoded: Uint8Array;
  if (compression === COMPRESSION.none) decoded = data;
  else if (compression === COMPRESSION.zlib) {
    decoded = inflateSync(data, { maxOutputLength: MAX_UNENCODED_BYTES });
  } else if (compression === COMPRESSION.zstd) {
    const frame = data.subarray(0, zstdFrameBytes(data));
    decoded = zstdDecompressSync(frame, { maxOutputLength: MAX_UNENCODED_BYTES });
  } else throw new RangeError(`compression ${compression} is not known`);
  if (decoded.length === length) return decoded;
  const out = Buffer.alloc(length);
  out.set(decoded.subarray(0, length));
  return out;
}

/**
 * Size of the zstd frame at the front of `data`, by walking its block headers.
 * Source: RFC 8878, section 3.1.1.
 */
export function zstdFrameBytes(data: Uint8Array): number {
  if (data.length < 6) throw new RangeError("a zstd frame is cut short");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (view.getUint32(0, true) !== 0xfd2fb528) throw new RangeError("no zstd frame");
  const descriptor = data[4]!;
  const single = (descriptor >> 5) & 1;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? single : 1 << sizeFlag;
  let at = 5 + (single ? 0 : 1) + dictionaryBytes + sizeBytes;
  for (let last = 0; !last;) {
    if (at + 3 > data.length) throw new RangeError("a zstd frame is cut short");
    const header = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16);
    last = header & 1;
    const isRle = ((header >> 1) & 3) === 1;
    at += 3 + (isRle ? 1 : header >> 3);
  }
  at += descriptor & 4 ? 4 : 0;
  if (at > data.length) throw new RangeError("a zstd frame is cut short");
  return at;
}
