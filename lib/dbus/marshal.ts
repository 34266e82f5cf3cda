/**
 * D-Bus values from JSON to the bytes on the wire. dbus-next's own marshaller cannot send
 * INT64_MIN, NaN, `a{us}` or a dict key named `constructor`, so this one does it.
 * Source: https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol-marshaling
 */
import {
  isObjectPath,
  isSignature,
  isSingleType,
  parseSignature,
  type Type,
} from "./names.ts";
import {
  childPointer,
  fromBase64,
  inferType,
  isBytes,
  isObject,
  isTyped,
  type Json,
  shown,
  typeName,
  ValueError,
} from "./value.ts";

/** Longest array, by the specification. */
export const MAX_ARRAY_BYTES = 64 * 1024 * 1024;
/** Deepest nesting of containers in one message, variants counted. */
export const MAX_DEPTH = 64;
const EIGHT_ALIGNED = "xtd({";

/** Alignment of a type in bytes. */
export function alignment(code: string): number {
  if (EIGHT_ALIGNED.includes(code)) return 8;
  return code === "y" || code === "g" || code === "v"
    ? 1
    : code === "n" || code === "q"
    ? 2
    : 4;
}

/** A growing little-endian buffer that aligns as D-Bus does. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  align(to: number): void {
    const padding = -this.length & (to - 1);
    this.#reserve(padding);
    this.#bytes.fill(0, this.length, this.length + padding);
    this.length += padding;
  }
  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }
  u32(value: number): void {
    this.#number(4, (view, at) => view.setUint32(at, value, true));
  }
  /** Writes a 32-bit number over an earlier one. */
  patch(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }
  /** A string with its length, as `s` (4 bytes of length) or `g` (1 byte). */
  text(value: string, lengthBytes: 1 | 4): void {
    const bytes = new TextEncoder().encode(value);
    if (lengthBytes === 1) this.u8(bytes.length);
    else this.u32(bytes.length);
    this.raw(bytes);
    this.u8(0);
  }
  number(code: string, value: number): void {
    if (code === "n") this.#number(2, (view, at) => view.setInt16(at, value, true));
    else if (code === "q") this.#number(2, (view, at) => view.setUint16(at, value, true));
    else if (code === "i") this.#number(4, (view, at) => view.setInt32(at, value, true));
    else if (code === "d") {
      this.#number(8, (view, at) => view.setFloat64(at, value, true));
    } else this.u32(value);
  }
  big(value: bigint): void {
    this.#number(8, (view, at) => view.setBigUint64(at, BigInt.asUintN(64, value), true));
  }
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length);
  }

  #number(size: number, set: (view: DataView, at: number) => void): void {
    this.align(size);
    this.#reserve(size);
    set(this.#view, this.length);
    this.length += size;
  }
  #reserve(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/**
 * Marshals a message's body.
 *
 * @param signature its complete types
 * @param values one per type
 * @throws {ValueError} with a JSON pointer to what does not fit its type
 */
export function marshalBody(
  signature: string,
  values: readonly Json[],
): Uint8Array<ArrayBuffer> {
  const types = parseSignature(signature);
  if (types.length !== values.length) {
    throw new ValueError(
      "",
      `${values.length} values for the ${types.length} types of "${signature}"`,
    );
  }
  const writer = new Writer();
  types.forEach((type, i) => marshal(writer, type, values[i]!, `/${i}`, 0));
  return writer.bytes();
}

/**
 * Checks a value against a type without sending it.
 *
 * @param pointer where the value stands, for the message
 * @throws {ValueError}
 */
export function checkValue(signature: string, value: Json, pointer = ""): void {
  const [type] = parseSignature(signature);
  if (type) marshal(new Writer(), type, value, pointer, 0);
}

/** Writes one value. */
export function marshal(w: Writer, type: Type, value: Json, at: string, depth: number) {
  if (depth > MAX_DEPTH) throw new ValueError(at, `is nested over ${MAX_DEPTH} deep`);
  switch (type.code) {
    case "a":
      return marshalArray(w, type, value, at, depth + 1);
    case "(":
      return marshalStruct(w, type, value, at, depth + 1);
    case "v":
      return marshalVariant(w, value, at, depth + 1);
    case "h":
      throw new ValueError(at, "file descriptors cannot be passed (D-Bus type h)");
    default:
      return marshalBasic(w, type, value, at);
  }
}

function wrong(type: Type, value: Json, at: string): ValueError {
  return new ValueError(at, `expected ${typeName(type)}, got ${shown(value)}`);
}

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  y: [0, 0xff],
  n: [-0x8000, 0x7fff],
  q: [0, 0xffff],
  i: [-0x80000000, 0x7fffffff],
  u: [0, 0xffffffff],
};
const SPECIAL_DOUBLES: Readonly<Record<string, number>> = {
  "NaN": NaN,
  "Infinity": Infinity,
  "-Infinity": -Infinity,
  "-0": -0,
};

function marshalBasic(w: Writer, type: Type, value: Json, at: string): void {
  const { code } = type;
  if (code === "b") {
    if (typeof value !== "boolean") throw wrong(type, value, at);
    w.number("u", value ? 1 : 0);
  } else if (code === "s" || code === "o" || code === "g") {
    marshalText(w, type, value, at);
  } else if (code === "x" || code === "t") {
    w.big(toBig(type, value, at));
  } else if (code === "d") {
    const isName = typeof value === "string" && Object.hasOwn(SPECIAL_DOUBLES, value);
    const number = isName ? SPECIAL_DOUBLES[value] : value;
    // JSON has no infinity: 1e999 is a mistake, "Infinity" is not.
    const isTooLarge = typeof value === "number" && !Number.isFinite(value);
    if (typeof number !== "number" || isTooLarge) throw wrong(type, value, at);
    w.number("d", number);
  } else {
    const [low, high] = RANGES[code]!;
    if (typeof value !== "number" || !Number.isInteger(value)) {
      throw wrong(type, value, at);
    }
    if (value < low || value > high) throw wrong(type, value, at);
    if (code === "y") w.u8(value);
    else w.number(code, value);
  }
}

function marshalText(w: Writer, type: Type, value: Json, at: string): void {
  if (typeof value !== "string") throw wrong(type, value, at);
  if (type.code === "o" && !isObjectPath(value)) throw wrong(type, value, at);
  if (type.code === "g" && !isSignature(value)) throw wrong(type, value, at);
  if (value.includes("\0") || !value.isWellFormed()) {
    throw new ValueError(at, "a string holds a NUL or half a character");
  }
  w.text(value, type.code === "g" ? 1 : 4);
}

function toBig(type: Type, value: Json, at: string): bigint {
  if (typeof value !== "number" && typeof value !== "string") {
    throw wrong(type, value, at);
  }
  const exact = typeof value === "number"
    ? Number.isSafeInteger(value)
    : /^-?\d{1,20}$/.test(value);
  if (!exact) throw wrong(type, value, at);
  const big = BigInt(value);
  const fits = type.code === "t"
    ? BigInt.asUintN(64, big) === big
    : BigInt.asIntN(64, big) === big;
  if (!fits) throw wrong(type, value, at);
  return big;
}

function marshalStruct(w: Writer, type: Type, value: Json, at: string, depth: number) {
  if (!Array.isArray(value) || value.length !== type.children.length) {
    throw wrong(type, value, at);
  }
  w.align(8);
  type.children.forEach((child, i) =>
    marshal(w, child, value[i]!, childPointer(at, i), depth)
  );
}

function marshalVariant(w: Writer, value: Json, at: string, depth: number): void {
  const signature = isTyped(value) ? value.$type : inferType(value);
  if (signature === null) throw new ValueError(at, "null has no D-Bus type");
  if (!isSingleType(signature)) {
    throw new ValueError(at, `"$type" is not one D-Bus type: ${shown(signature)}`);
  }
  w.text(signature, 1);
  const inner = isTyped(value) ? value.value : value;
  marshal(w, parseSignature(signature)[0]!, inner, at, depth);
}

function marshalArray(w: Writer, type: Type, value: Json, at: string, depth: number) {
  const child = type.children[0]!;
  w.u32(0);
  const lengthAt = w.length - 4;
  w.align(alignment(child.code));
  const start = w.length;
  if (child.code === "{") marshalDict(w, type, value, at, depth);
  else if (child.code === "y" && isBytes(value)) w.raw(fromBase64(value.$bytes, at));
  else {
    if (!Array.isArray(value)) throw wrong(type, value, at);
    value.forEach((item, i) => marshal(w, child, item, childPointer(at, i), depth));
  }
  if (w.length - start > MAX_ARRAY_BYTES) {
    throw new ValueError(at, `is larger than D-Bus allows (${MAX_ARRAY_BYTES} bytes)`);
  }
  w.patch(lengthAt, w.length - start);
}

function marshalDict(w: Writer, type: Type, value: Json, at: string, depth: number) {
  const [keyType, valueType] = type.children[0]!.children as [Type, Type];
  let entries: [Json, Json][];
  if (Array.isArray(value)) {
    entries = value.map((pair, i) => {
      if (Array.isArray(pair) && pair.length === 2) return pair as [Json, Json];
      throw new ValueError(
        childPointer(at, i),
        `expected [key, value], got ${shown(pair)}`,
      );
    });
  } else if (isObject(value)) {
    entries = Object.entries(value).map(([key, entry]) => [
      keyFromText(keyType, key, childPointer(at, key)),
      entry,
    ]);
  } else throw wrong(type, value, at);
  for (const [key, entry] of entries) {
    const place = childPointer(at, typeof key === "string" ? key : String(key));
    w.align(8);
    marshal(w, keyType, key, place, depth);
    marshal(w, valueType, entry, place, depth);
  }
}

function keyFromText(type: Type, key: string, at: string): Json {
  if ("sogxt".includes(type.code)) return key;
  if (type.code === "b") {
    if (key === "true" || key === "false") return key === "true";
    throw wrong(type, key, at);
  }
  if (type.code === "d" && Object.hasOwn(SPECIAL_DOUBLES, key)) return key;
  // As a query writes them: no hexadecimal, no spaces, no leading zeros.
  const number = Number(key);
  if (String(number) !== key) throw wrong(type, key, at);
  return number;
}
