/** D-Bus values from the bytes on the wire to JSON. The bytes are hostile. */
import { alignment, MAX_ARRAY_BYTES, MAX_DEPTH } from "./marshal.ts";
import { isObjectPath, isSignature, parseSignature, type Type } from "./names.ts";
import { base64, type Json } from "./value.ts";

/** Most values of one message: 64 MiB of tiny ones would take gigabytes as JSON. */
const MAX_VALUES = 4_000_000;

/** Bytes that break the protocol. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** Reads one message's body or header fields. */
export class Reader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #little: boolean;
  #values = 0;
  at: number;

  /**
   * @param bytes what to read
   * @param littleEndian its byte order
   * @param at where to start; alignment counts from the first byte of `bytes`
   */
  constructor(bytes: Uint8Array, littleEndian: boolean, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#little = littleEndian;
    this.at = at;
  }

  /** Values of all types of a signature, which must fill the bytes. */
  body(signature: string): Json[] {
    const values = types(signature).map((type) => this.value(type, 0));
    if (this.at !== this.#bytes.length) {
      throw new ProtocolError(
        `${this.#bytes.length - this.at} bytes after a body of "${signature}"`,
      );
    }
    return values;
  }

  /** One value of a type. */
  value(type: Type, depth: number): Json {
    if (depth > MAX_DEPTH) {
      throw new ProtocolError(`Values nested over ${MAX_DEPTH} deep`);
    }
    if (++this.#values > MAX_VALUES) {
      throw new ProtocolError(`More than ${MAX_VALUES} values in one message`);
    }
    this.#align(alignment(type.code));
    switch (type.code) {
      case "y":
        return this.#bytes[this.#take(1)]!;
      case "n":
        return this.#view.getInt16(this.#take(2), this.#little);
      case "q":
        return this.#view.getUint16(this.#take(2), this.#little);
      case "i":
        return this.#view.getInt32(this.#take(4), this.#little);
      case "u":
        return this.u32();
      case "b":
        return this.#boolean();
      case "x":
        return exact(this.#view.getBigInt64(this.#take(8), this.#little));
      case "t":
        return exact(this.#view.getBigUint64(this.#take(8), this.#little));
      case "d":
        return double(this.#view.getFloat64(this.#take(8), this.#little));
      case "s":
      case "o":
        return this.#text(type.code, this.u32());
      case "g":
        return this.#text("g", this.#bytes[this.#take(1)]!);
      case "v":
        return this.#variant(depth + 1);
      case "a":
        return this.#array(type.children[0]!, depth + 1);
      case "(":
        return type.children.map((child) => this.value(child, depth + 1));
      default:
        throw new ProtocolError("File descriptors are not received (D-Bus type h)");
    }
  }

  u32(): number {
    this.#align(4);
    return this.#view.getUint32(this.#take(4), this.#little);
  }

  #align(to: number): void {
    this.at += -this.at & (to - 1);
  }
  #take(size: number): number {
    const at = this.at;
    if (at + size > this.#bytes.length) {
      throw new ProtocolError("A value runs past the end of its message");
    }
    this.at += size;
    return at;
  }
  #boolean(): boolean {
    const value = this.u32();
    if (value > 1) throw new ProtocolError(`A boolean of ${value}`);
    return value === 1;
  }
  #text(code: string, length: number): string {
    const at = this.#take(length + 1);
    if (this.#bytes[at + length] !== 0) throw new ProtocolError("A string with no end");
    const bytes = this.#bytes.subarray(at, at + length);
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new ProtocolError("A string that is not UTF-8");
    }
    if (code === "o" && !isObjectPath(text)) {
      throw new ProtocolError("A bad object path");
    }
    if (code === "g" && !isSignature(text)) throw new ProtocolError("A bad signature");
    return text;
  }
  #variant(depth: number): Json {
    const signature = this.#text("g", this.#bytes[this.#take(1)]!);
    const [type, ...more] = types(signature);
    if (!type || more.length > 0) {
      throw new ProtocolError(`A variant of "${signature}"`);
    }
    return { $type: signature, value: this.value(type, depth) };
  }
  #array(child: Type, depth: number): Json {
    const length = this.u32();
    if (length > MAX_ARRAY_BYTES) throw new ProtocolError(`An array of ${length} bytes`);
    this.#align(alignment(child.code));
    const start = this.#take(length), end = start + length;
    this.at = start;
    if (child.code === "y") {
      this.at = end;
      return { $bytes: base64(this.#bytes.subarray(start, end)) };
    }
    const items: Json[] = [];
    const [keyType, valueType] = child.children;
    while (this.at < end) {
      if (child.code === "{") {
        this.#align(8);
        items.push([this.value(keyType!, depth), this.value(valueType!, depth)]);
      } else items.push(this.value(child, depth));
    }
    if (this.at !== end) throw new ProtocolError("An array's items run past its end");
    return child.code === "{" ? dict(items as [Json, Json][]) : items;
  }
}

/** Keys that mean something in value.ts and in lib/state/model.ts. */
const RESERVED_KEYS = ["$type", "$bytes", "$unknown"];

/**
 * A dict as an object; as pairs where a key comes twice, or where the object could be
 * taken for one of our own notations (a service's `{"$bytes": ...}` is no byte array).
 */
function dict(entries: [Json, Json][]): Json {
  const keys = new Set(entries.map(([key]) => String(key)));
  if (keys.size < entries.length) return entries;
  if (RESERVED_KEYS.some((key) => keys.has(key))) return entries;
  // fromEntries defines properties: a key named __proto__ is a key like any other.
  return Object.fromEntries(entries.map(([key, value]) => [String(key), value]));
}

function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

function double(value: number): number | string {
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? value : String(value);
}

const cache = new Map<string, Type[]>();
const MAX_CACHED = 256;

function types(signature: string): Type[] {
  let found = cache.get(signature);
  if (!found) {
    try {
      found = parseSignature(signature);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new ProtocolError(error.message);
    }
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(signature, found);
  }
  return found;
}

/**
 * Unmarshals a message's body.
 *
 * @throws {ProtocolError} when the bytes are not values of these types
 */
export function unmarshalBody(
  signature: string,
  bytes: Uint8Array,
  littleEndian: boolean,
): Json[] {
  return new Reader(bytes, littleEndian).body(signature);
}
