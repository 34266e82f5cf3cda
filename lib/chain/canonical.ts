/**
 * Canonical JSON: one byte sequence per value, so that a hash of it means the value.
 *
 * Source: RFC 8785 (JSON Canonicalization Scheme). Stricter where that leaves a choice:
 * a value that JSON cannot hold is refused rather than dropped.
 */
import { InputError } from "../base/errors.ts";

/** Deepest nesting that is accepted; what is deeper is a mistake or an attack. */
const DEPTH_LIMIT = 64;

/**
 * The canonical text of a value.
 *
 * @param value null, boolean, finite number, well-formed string, array or plain object
 * @throws {InputError} `not_json` on anything else, on a cycle and past 64 levels
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > DEPTH_LIMIT) throw notJson(`it nests deeper than ${DEPTH_LIMIT} levels`);
  switch (typeof value) {
    case "string":
      return text(value);
    case "number":
      if (!Number.isFinite(value)) throw notJson(`${value} is not a JSON number`);
      return JSON.stringify(value);
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return "null";
      if (Array.isArray(value)) {
        // Array.from, because map leaves out the holes of a sparse array.
        return `[${Array.from(value, (item) => write(item, depth + 1)).join(",")}]`;
      }
      return object(value, depth);
    default:
      throw notJson(`it holds a ${typeof value}`);
  }
}

function text(value: string): string {
  if (!value.isWellFormed()) throw notJson("a string holds half of a surrogate pair");
  return JSON.stringify(value);
}

function object(value: object, depth: number): string {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw notJson(`it holds a ${value.constructor?.name ?? "foreign object"}`);
  }
  // Array.sort compares UTF-16 code units, which is the order that RFC 8785 asks for.
  const members = Object.keys(value).sort().map((key) =>
    `${text(key)}:${write((value as Record<string, unknown>)[key], depth + 1)}`
  );
  return `{${members.join(",")}}`;
}

function notJson(why: string): InputError {
  return new InputError("not_json", `Cannot write as canonical JSON: ${why}`, {
    hint: "use null, booleans, finite numbers, strings, arrays and plain objects",
  });
}
