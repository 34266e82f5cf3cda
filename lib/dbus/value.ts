/**
 * D-Bus values as JSON, without loss where the type is known:
 *
 * | D-Bus           | JSON                                                              |
 * |-----------------|-------------------------------------------------------------------|
 * | y n q i u       | number                                                            |
 * | x t             | number up to ±(2^53 - 1), beyond that a string of digits          |
 * | d               | number, or "NaN", "Infinity", "-Infinity", "-0"                   |
 * | b, s o g        | boolean, string                                                   |
 * | ay              | {"$bytes": "<base64>"}; an array of numbers is taken as well      |
 * | a{..}           | object; keys that are no strings are written as text; an array    |
 * |                 | of [key, value] where a key comes twice or is $type, $bytes or    |
 * |                 | $unknown                                                          |
 * | other a, (..)   | array                                                             |
 * | v               | {"$type": "u", "value": 5}; a plain value is taken as well        |
 * | h               | refused: file descriptors cannot be passed from Deno              |
 */
import { InputError } from "../base/errors.ts";
import type { Type } from "./names.ts";

/** A JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** A value that does not fit its D-Bus type. */
export class ValueError extends InputError {
  /**
   * @param pointer JSON pointer (RFC 6901) to the value, within what was given; empty
   *   where what was given is no document: a name, a path
   * @param why what is wrong with it
   */
  constructor(readonly pointer: string, readonly why: string) {
    const at = pointer === "" ? "" : ` at ${pointer}`;
    super("bad_value", `Wrong value${at}: ${why}`, {
      ...(at && { hint: "correct the value; op-dbus query shows one of the right type" }),
    });
  }
}

/** JSON pointer of a child. */
export function childPointer(pointer: string, key: string | number): string {
  return `${pointer}/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** A variant's own type and value. */
export interface TypedValue {
  readonly $type: string;
  readonly value: Json;
}

/** True for an object with exactly `$type` and `value`. */
export function isTyped(value: unknown): value is TypedValue {
  return isObject(value) && Object.keys(value).length === 2 &&
    typeof value.$type === "string" && Object.hasOwn(value, "value");
}

/** True for an object with exactly `$bytes`. */
export function isBytes(value: unknown): value is { readonly $bytes: string } {
  return isObject(value) && Object.keys(value).length === 1 &&
    typeof value.$bytes === "string";
}

/** True for a JSON object. */
export function isObject(value: unknown): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The type that a plain value gets as a variant; null when it has none. */
export function inferType(value: Json): string | null {
  if (typeof value === "string") return "s";
  if (typeof value === "boolean") return "b";
  if (typeof value === "number") {
    if (!Number.isInteger(value) || Object.is(value, -0)) return "d";
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) return "d";
    return value >= -0x80000000 && value <= 0x7fffffff ? "i" : "x";
  }
  if (Array.isArray(value)) {
    return value.length > 0 && value.every((item) => typeof item === "string")
      ? "as"
      : "av";
  }
  if (isBytes(value)) return "ay";
  return value === null ? null : "a{sv}";
}

/** The value with every variant unwrapped: what people write. Types are lost. */
export function plain(value: Json): Json {
  if (isTyped(value)) return plain(value.value);
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
}

/**
 * Whether two values are the same to their type: `wanted` as people write it, `observed`
 * as it was read. Order matters in arrays, never in dicts; a plain value equals a variant
 * of any type that holds it.
 */
export function sameValue(wanted: Json, observed: Json): boolean {
  if (isTyped(observed)) {
    if (!isTyped(wanted)) return sameValue(wanted, observed.value);
    return wanted.$type === observed.$type && sameValue(wanted.value, observed.value);
  }
  if (isTyped(wanted)) return sameValue(wanted.value, observed);
  if (isBytes(observed) && Array.isArray(wanted)) {
    return observed.$bytes === base64(Uint8Array.from(wanted as number[]));
  }
  if (Array.isArray(wanted)) {
    return Array.isArray(observed) && wanted.length === observed.length &&
      wanted.every((item, i) => sameValue(item, observed[i]!));
  }
  if (isObject(wanted)) {
    if (!isObject(observed)) return false;
    const keys = Object.keys(wanted);
    return keys.length === Object.keys(observed).length &&
      keys.every((key) =>
        Object.hasOwn(observed, key) && sameValue(wanted[key]!, observed[key]!)
      );
  }
  if (typeof wanted !== typeof observed && wanted !== null && observed !== null) {
    return sameNumber(wanted, observed);
  }
  // Of integers -0 is 0, and a double's is observed as "-0".
  return wanted === observed;
}

/** A number and a text: digits of 64-bit integers, or a double's "-0". */
function sameNumber(wanted: Json, observed: Json): boolean {
  if (Object.is(wanted, -0) && observed === "-0") return true;
  const [number, text] = typeof wanted === "number"
    ? [wanted, observed]
    : [observed, wanted];
  return typeof number === "number" && Number.isSafeInteger(number) &&
    typeof text === "string" && /^-?\d{1,20}$/.test(text) && text !== "-0" &&
    BigInt(text) === BigInt(number);
}

/** Standard base64 with padding. */
export function base64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/** The bytes of standard base64. */
export function fromBase64(text: string, pointer: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch (error) {
    if (error instanceof SyntaxError) throw new ValueError(pointer, "is not base64");
    throw error;
  }
}

/** What a type is called in messages. */
export function typeName(type: Type): string {
  const names: Readonly<Record<string, string>> = {
    y: "an integer from 0 to 255",
    n: "an integer from -32768 to 32767",
    q: "an integer from 0 to 65535",
    i: "a 32-bit integer",
    u: "an unsigned 32-bit integer",
    x: "a 64-bit integer",
    t: "an unsigned 64-bit integer",
    d: "a number",
    b: "true or false",
    s: "a string",
    o: "an object path",
    g: "a D-Bus signature",
    a: type.children[0]?.code === "{" ? "an object" : "an array",
    "(": `an array of ${type.children.length} values`,
  };
  return `${names[type.code] ?? "a value"} (D-Bus type ${type.text})`;
}

/** A value in a message: short, on one line. */
export function shown(value: unknown): string {
  const text = typeof value === "number" ? String(value) : JSON.stringify(value) ?? "";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
