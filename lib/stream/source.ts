/**
 * Where a stream's bytes come from: a file, a pipe, bytes in memory, anything that
 * yields chunks. A zstd frame around the stream is recognised and taken off.
 */
import { readLater } from "../../ffi/later.ts";
import { close, O_RDONLY, open, pread, read, withFd } from "../../ffi/files.ts";
import { fstat, isRegular } from "../../ffi/stat.ts";
import type { StreamLimits } from "./limits.ts";
import { isZstdMagic } from "./zstd_frames.ts";

/** One run over the bytes. */
export interface ByteReader extends AsyncDisposable {
  /**
   * Fills the front of `into`; 0 at the end. Synchronous sources answer at once, so that
   * a file costs no trip through the event loop per read.
   */
  read(into: Uint8Array): number | Promise<number>;
}

/** Bytes that can be read, once or again. */
export interface ByteSource {
  /** What to call it in messages, e.g. the file's path. */
  readonly name: string;
  /** True when {@link open} may be called again for the same bytes. */
  readonly replayable: boolean;
  /** Bytes as they lie there, compressed or not; absent where nobody knows. */
  readonly sizeBytes?: number;
  /** @throws {SysError} where it cannot be opened */
  open(): ByteReader;
}

/** A regular file by path; replayable. The file must not change meanwhile. */
export function fileSource(path: string): ByteSource {
  return {
    name: path,
    replayable: true,
    get sizeBytes() {
      return withFd(open(path, O_RDONLY), fstat).sizeBytes;
    },
    open() {
      const fd = open(path, O_RDONLY);
      return {
        read: (into) => read(fd, into),
        [Symbol.asyncDispose]() {
          close(fd);
          return Promise.resolve();
        },
      };
    },
  };
}

/**
 * An open descriptor, which stays the caller's. A regular file is read from its start and
 * is replayable; anything else (pipe, socket, terminal) is read once, as it comes.
 */
export function fdSource(fd: number, name = `descriptor ${fd}`): ByteSource {
  const stat = fstat(fd, name), regular = isRegular(stat);
  const nothing = () => Promise.resolve();
  return {
    name,
    replayable: regular,
    ...(regular && { sizeBytes: stat.sizeBytes }),
    open() {
      if (!regular) {
        // On another thread: the event loop must live while the other end is silent.
        return { read: (into) => readLater(fd, into), [Symbol.asyncDispose]: nothing };
      }
      let at = 0;
      return {
        read(into) {
          const n = pread(fd, into, at);
          at += n;
          return n;
        },
        [Symbol.asyncDispose]: nothing,
      };
    },
  };
}

/** Bytes in memory; replayable. */
export function bytesSource(bytes: Uint8Array, name = "bytes"): ByteSource {
  return {
    name,
    replayable: true,
    sizeBytes: bytes.length,
    open() {
      let at = 0;
      return {
        read(into) {
          const piece = bytes.subarray(at, at + into.length);
          into.set(piece);
          at += piece.length;
          return piece.length;
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      };
    },
  };
}

/** Chunks as they come, e.g. a download or a worker's messages; read once. */
export function chunksSource(
  chunks: AsyncIterable<Uint8Array>,
  name = "stream",
): ByteSource {
  return { name, replayable: false, open: () => new ChunkReader(chunks) };
}

/** Reads chunks, of whatever size they come, in pieces of whatever size is asked for. */
export class ChunkReader implements ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#iterator = chunks[Symbol.asyncIterator]();
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
    while (this.#rest.length === 0) {
      const next = await this.#iterator.next();
      if (next.done) return 0;
      this.#rest = next.value;
    }
    return this.#take(into);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#iterator.return?.();
  }
}

/**
 * Opens a source; when it begins with a zstd frame, what comes out is its content.
 *
 * @param limits the expansion allowed, checked as it goes
 * @throws {StreamError} from `read`, when a frame is damaged or expands too far
 */
export async function openDecoded(
  source: ByteSource,
  limits: StreamLimits,
): Promise<ByteReader> {
  const reader = source.open();
  try {
    const head = new Uint8Array(4);
    let have = 0;
    while (have < 4) {
      const n = await reader.read(head.subarray(have));
      if (n === 0) break;
      have += n;
    }
    const prefixed = new PrefixedReader(head.subarray(0, have), reader);
    const magic = have === 4 ? new DataView(head.buffer).getUint32(0, true) : 0;
    if (!isZstdMagic(magic)) return prefixed;
    const { ZstdReader } = await import("./zstd.ts");
    return new ZstdReader(prefixed, limits);
  } catch (error) {
    await reader[Symbol.asyncDispose]();
    throw error;
  }
}

class PrefixedReader implements ByteReader {
  #head: Uint8Array;
  readonly #inner: ByteReader;

  constructor(head: Uint8Array, inner: ByteReader) {
    this.#head = head;
    this.#inner = inner;
  }

  read(into: Uint8Array): number | Promise<number> {
    if (this.#head.length === 0) return this.#inner.read(into);
    const piece = this.#head.subarray(0, into.length);
    into.set(piece);
    this.#head = this.#head.subarray(piece.length);
    return piece.length;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#inner[Symbol.asyncDispose]() as Promise<void>;
  }
}
