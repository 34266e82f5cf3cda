/**
 * A protobuf writer, as much of it as an ONNX file needs: varints, length-delimited
 * fields, packed integers.
 *
 * Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding/
 */

const encoder = new TextEncoder();

/**
 * One message under construction. Chunks are kept as they are and joined once at the end,
 * so that a 90 MB weight is copied one time, however deep it is nested.
 */
export class Message {
  readonly #chunks: Uint8Array[] = [];
  #lengthBytes = 0;

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** A varint field: int32, int64, enum, bool. Negative numbers take ten bytes. */
  int(field: number, value: number | bigint): this {
    return this.#push(varint(field << 3)).#push(varint(value));
  }

  /** A string field. */
  text(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value));
  }

  /** A bytes field. The bytes are not copied until {@link write}. */
  bytes(field: number, value: Uint8Array): this {
    return this.#push(varint((field << 3) | 2)).#push(varint(value.length)).#push(value);
  }

  /** A float field. */
  float(field: number, value: number): this {
    return this.#push(varint((field << 3) | 5))
      .#push(new Uint8Array(new Float32Array([value]).buffer));
  }

  /** A nested message. */
  message(field: number, value: Message): this {
    this.#push(varint((field << 3) | 2)).#push(varint(value.lengthBytes));
    for (const chunk of value.#chunks) this.#push(chunk);
    return this;
  }

  /** Fields that are encoded already. */
  raw(encoded: Uint8Array): this {
    return this.#push(encoded);
  }

  /** The encoded message. */
  write(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.#lengthBytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }

  #push(chunk: Uint8Array): this {
    this.#chunks.push(chunk);
    this.#lengthBytes += chunk.length;
    return this;
  }
}

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return new Uint8Array(out);
}
