/** Send stream commands as bytes: the opposite of decode.ts. Version 1. */
import {
  ATTR,
  type AttributeName,
  CMD,
  COMMAND_HEADER_BYTES,
  type CommandName,
  STREAM_HEADER_BYTES,
  STREAM_MAGIC,
} from "./format.ts";
import { type CrcBuffer, crcBuffer } from "./crc32c.ts";

/** Data bytes per write command: what fits a u16 length, in whole pages (kernel: 48 KiB). */
export const WRITE_BYTES = 48 * 1024;
const BUFFER_BYTES = 1024 * 1024;

/** A value of an attribute; numbers and bigints become u64. */
export type AttributeValue =
  | Uint8Array
  | number
  | bigint
  | { readonly seconds: number; readonly nanoseconds: number };

/** Writes commands into a buffer and hands it on whenever it is full. */
export class StreamEncoder implements Disposable {
  readonly #crc: CrcBuffer = crcBuffer(BUFFER_BYTES);
  readonly #bytes = this.#crc.bytes;
  readonly #view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset);
  readonly #sink: (bytes: Uint8Array) => void;
  #used = 0;

  /**
   * Begins a stream.
   * @param sink takes bytes in order; they are valid until it returns
   */
  constructor(sink: (bytes: Uint8Array) => void) {
    this.#sink = sink;
    this.#bytes.set(STREAM_MAGIC);
    this.#view.setUint32(STREAM_MAGIC.length, 1, true);
    this.#used = STREAM_HEADER_BYTES;
  }

  /** Appends a command. */
  command(
    name: CommandName,
    attributes: readonly (readonly [AttributeName, AttributeValue])[],
  ): void {
    let size = COMMAND_HEADER_BYTES;
    for (const [, value] of attributes) size += 4 + valueBytes(value);
    if (this.#used + size > BUFFER_BYTES) this.flush();
    const start = this.#used;
    let at = start + COMMAND_HEADER_BYTES;
    for (const [attribute, value] of attributes) {
      this.#view.setUint16(at, ATTR[attribute], true);
      this.#view.setUint16(at + 2, valueBytes(value), true);
      at += 4;
      this.#put(at, value);
      at += valueBytes(value);
    }
    this.#view.setUint32(start, size - COMMAND_HEADER_BYTES, true);
    this.#view.setUint16(start + 4, CMD[name], true);
    this.#view.setUint32(start + 6, 0, true);
    this.#view.setUint32(start + 6, this.#crc.crc(start, size), true);
    this.#used = at;
  }

  /** Hands on what is in the buffer. */
  flush(): void {
    if (this.#used > 0) this.#sink(this.#bytes.subarray(0, this.#used));
    this.#used = 0;
  }

  /** Gives the buffer back. */
  [Symbol.dispose](): void {
    this.#crc[Symbol.dispose]();
  }

  #put(at: number, value: AttributeValue): void {
    if (value instanceof Uint8Array) this.#bytes.set(value, at);
    else if (typeof value === "object") {
      this.#view.setBigInt64(at, BigInt(value.seconds), true);
      this.#view.setUint32(at + 8, value.nanoseconds, true);
    } else this.#view.setBigUint64(at, BigInt(value), true);
  }
}

function valueBytes(value: AttributeValue): number {
  if (value instanceof Uint8Array) return value.length;
  return typeof value === "object" ? 12 : 8;
}
