/** Decompression, with a bound on what comes out: zstd streams and single extents. */
import {
  constants,
  createZstdDecompress,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";
import { Buffer } from "node:buffer";
import type { EncodedWriteCommand } from "./command.ts";
import { COMPRESSION, MAX_UNENCODED_BYTES } from "./format.ts";
import { StreamError } from "./error.ts";
import type { StreamLimits } from "./limits.ts";
import { decodeLzoExtent } from "./lzo.ts";
import { type ByteReader, ChunkReader } from "./source.ts";
import { FrameScanner, zstdFrameBytes } from "./zstd_frames.ts";

/** Largest window that is decoded: 32 MiB; `zstd -19` uses 8 MiB. */
const WINDOW_LOG_MAX = 25;
const CHUNK_BYTES = 256 * 1024;

/** Reads the content of zstd frames, one after the other, until the input ends. */
export class ZstdReader implements ByteReader {
  readonly #inner: ByteReader;
  readonly #limits: StreamLimits;
  readonly #content: ChunkReader;
  /** Input that was read and belongs to no frame yet. */
  #ahead: Uint8Array = new Uint8Array();
  #bytesIn = 0;
  #bytesOut = 0;
  #inputError: unknown;

  constructor(inner: ByteReader, limits: StreamLimits) {
    this.#inner = inner;
    this.#limits = limits;
    this.#content = new ChunkReader(this.#frames());
  }

  read(into: Uint8Array): number | Promise<number> {
    return this.#content.read(into);
  }

  #damaged(why: string): StreamError {
    return new StreamError("stream_corrupt", `damaged zstd (${why})`, this.#bytesOut);
  }

  #count(bytes: number): void {
    this.#bytesOut += bytes;
    const { expansionRatio, expansionFreeBytes } = this.#limits;
    if (this.#bytesOut > expansionFreeBytes + expansionRatio * this.#bytesIn) {
      const what = `it expands more than ${expansionRatio} times`;
      throw new StreamError("stream_limit", what, this.#bytesOut);
    }
  }

  async #more(): Promise<boolean> {
    if (this.#ahead.length > 0) return true;
    const piece = new Uint8Array(CHUNK_BYTES);
    const n = await this.#inner.read(piece);
    this.#bytesIn += n;
    this.#ahead = piece.subarray(0, n);
    return n > 0;
  }

  async *#frames(): AsyncGenerator<Uint8Array> {
    const most = this.#limits.zstdFrames;
    for (let frames = 0; await this.#more(); frames++) {
      if (frames === most) {
        const what = `more than ${most} zstd frames`;
        throw new StreamError("stream_limit", what, this.#bytesOut);
      }
      yield* this.#frame();
    }
  }

  async *#frame(): AsyncGenerator<Uint8Array> {
    const decoder = createZstdDecompress({
      chunkSize: CHUNK_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
    });
    const pumped = this.#pump(decoder);
    try {
      for await (const piece of decoder as AsyncIterable<Uint8Array>) {
        this.#count(piece.length);
        yield piece;
      }
    } catch (error) {
      if (error instanceof StreamError) throw error;
      // What the input itself failed with goes on; the rest is the decoder's verdict.
      if (this.#inputError !== undefined) throw this.#inputError;
      throw this.#damaged(error instanceof Error ? error.message : String(error));
    } finally {
      decoder.destroy();
      await pumped;
    }
  }

  /** Feeds one frame to a decoder; a skippable one is read and dropped. */
  async #pump(decoder: ReturnType<typeof createZstdDecompress>): Promise<void> {
    const scanner = new FrameScanner();
    try {
      while (!scanner.done) {
        if (!await this.#more()) throw this.#damaged("cut short");
        const size = this.#scan(scanner);
        const piece = this.#ahead.subarray(0, size);
        this.#ahead = this.#ahead.subarray(size);
        if (scanner.skippable) continue;
        if (!decoder.write(piece)) await drained(decoder);
        if (decoder.destroyed) return;
      }
      decoder.end();
    } catch (error) {
      this.#inputError = error;
      decoder.destroy(error as Error);
    }
  }

  #scan(scanner: FrameScanner): number {
    try {
      return scanner.push(this.#ahead);
    } catch (error) {
      if (error instanceof RangeError) throw this.#damaged(error.message);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#content[Symbol.asyncDispose]();
    await this.#inner[Symbol.asyncDispose]();
  }
}

/** Settles when a stream takes more, or takes nothing any more. */
function drained(stream: ReturnType<typeof createZstdDecompress>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
    if (stream.destroyed) done();
  });
}

/**
 * The whole decoded extent of an encoded write. What its frame does not give reads as
 * zeros, as in the kernel.
 *
 * @throws {StreamError} when it does not decode
 */
export function decodeEncoded(command: EncodedWriteCommand): Uint8Array {
  try {
    return decodeExtent(command.data, command.compression, command.unencodedLength);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new StreamError("stream_corrupt", `encoded_write: ${why}`, command.at);
  }
}

function decodeExtent(data: Uint8Array, compression: number, length: number): Uint8Array {
  if (length > MAX_UNENCODED_BYTES) throw new RangeError(`${length} bytes decoded`);
  let decoded: Uint8Array;
  if (compression === COMPRESSION.none) decoded = data;
  else if (compression === COMPRESSION.zlib) {
    decoded = inflateSync(data, { maxOutputLength: MAX_UNENCODED_BYTES });
  } else if (compression === COMPRESSION.zstd) {
    const frame = data.subarray(0, zstdFrameBytes(data));
    decoded = zstdDecompressSync(frame, { maxOutputLength: MAX_UNENCODED_BYTES });
  } else if (compression >= COMPRESSION.lzo_4k && compression <= COMPRESSION.lzo_64k) {
    decoded = decodeLzoExtent(data, 4096 << (compression - COMPRESSION.lzo_4k), length);
  } else throw new RangeError(`compression ${compression} is not known`);
  if (decoded.length === length) return decoded;
  const out = Buffer.alloc(length);
  out.set(decoded.subarray(0, length));
  return out;
}
