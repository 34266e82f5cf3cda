/**
 * Reads a protobuf message from a file piece by piece: big fields are stepped over, so
 * that a 2 GB model costs a few kilobytes of memory.
 *
 * Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding/
 */
import { pread } from "../../../ffi/files.ts";

/** A field: its number, and either a number or where its bytes lie in the file. */
export interface Field {
  readonly number: number;
  /** Value of a varint field; 0 for the others. */
  readonly value: number;
  /** First byte and end of a length-delimited field; equal for the others. */
  readonly start: number;
  readonly end: number;
}

/** Why the bytes are no message. */
export class ProtobufError extends Error {
  override readonly name = "ProtobufError";
}

const WINDOW_BYTES = 64 * 1024;
/** Bytes of the longest varint. */
const MAX_VARINT_BYTES = 10;
const MAX_STRING_BYTES = 4096;

/** An open file, read through one window. */
export class MessageFile {
  readonly #window = new Uint8Array(WINDOW_BYTES);
  #windowStart = 0;
  #windowEnd = 0;

  /** @param fd open for reading; the caller closes it */
  constructor(readonly fd: number, readonly sizeBytes: number) {}

  /**
   * The fields between two offsets, in the file's order.
   *
   * @throws {ProtobufError} when the bytes are cut short or are no message
   */
  *fields(start = 0, end = this.sizeBytes): Generator<Field> {
    for (let at = start; at < end;) {
      const tag = this.#varint(at, end);
      const number = Math.floor(tag.value / 8), wire = tag.value % 8;
      if (number === 0) throw new ProtobufError(`field number 0 at byte ${at}`);
      at = tag.end;
      if (wire === 0) {
        const { value, end: next } = this.#varint(at, end);
        yield { number, value, start: next, end: next };
        at = next;
        continue;
      }
      const length = this.#length(wire, at, end);
      at = length.start;
      const next = at + length.bytes;
      if (next > end) {
        throw new ProtobufError(`field ${number} ends at byte ${next} of ${end}`);
      }
      yield { number, value: 0, start: at, end: next };
      at = next;
    }
  }

  #length(wire: number, at: number, end: number): { start: number; bytes: number } {
    if (wire === 1) return { start: at, bytes: 8 };
    if (wire === 5) return { start: at, bytes: 4 };
    if (wire !== 2) throw new ProtobufError(`wire type ${wire} at byte ${at}`);
    const { value, end: start } = this.#varint(at, end);
    return { start, bytes: value };
  }

  /** A string field. */
  string(field: Field): string {
    const length = field.end - field.start;
    if (length > MAX_STRING_BYTES) throw new ProtobufError(`a name of ${length} bytes`);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#byte(field.start + i);
    return new TextDecoder().decode(bytes);
  }

  /** The numbers of a packed field. */
  *packed(field: Field): Generator<number> {
    for (let at = field.start; at < field.end;) {
      const { value, end } = this.#varint(at, field.end);
      yield value;
      at = end;
    }
  }

  #varint(start: number, end: number): { value: number; end: number } {
    let value = 0, scale = 1;
    for (let at = start; at < end && at < start + MAX_VARINT_BYTES; at++) {
      const byte = this.#byte(at);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return { value, end: at + 1 };
      scale *= 128;
    }
    throw new ProtobufError(`no end of the number at byte ${start}`);
  }

  #byte(at: number): number {
    if (at < this.#windowStart || at >= this.#windowEnd) {
      this.#windowStart = at;
      this.#windowEnd = at + pread(this.fd, this.#window, at);
      if (this.#windowEnd === at) throw new ProtobufError(`the file ends at byte ${at}`);
    }
    return this.#window[at - this.#windowStart]!;
  }
}
