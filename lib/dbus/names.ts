/**
 * What the D-Bus specification calls valid: bus names, interfaces, members, object paths,
 * signatures. A bad object path makes the daemon drop the whole connection, so everything
 * is checked here before it is sent.
 * Source: https://dbus.freedesktop.org/doc/dbus-specification.html
 */

/** Longest bus, interface, member or error name. */
export const MAX_NAME_CHARS = 255;
/** Longest signature. */
export const MAX_SIGNATURE_CHARS = 255;
/** Deepest nesting of arrays, and of structs, in a signature. */
export const MAX_NESTING = 32;
/** Longest object path taken; the specification sets no limit, messages do. */
const MAX_PATH_CHARS = 4096;

/** Interface names, also the form of error names. */
export const INTERFACE_PATTERN = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$/;
/** Well-known and unique names of connections. */
export const BUS_NAME_PATTERN =
  /^(:[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+|[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+)$/;
/** Names of methods, properties and signals. */
export const MEMBER_PATTERN = /^[A-Za-z_][A-Za-z0-9_]*$/;
const PATH = /^\/([A-Za-z0-9_]+(\/[A-Za-z0-9_]+)*)?$/;
const BASIC = "ybnqiuxtdsogh";

/** Well-known (`org.freedesktop.hostname1`) or unique (`:1.42`) name of a connection. */
export function isBusName(text: string): boolean {
  return text.length <= MAX_NAME_CHARS && BUS_NAME_PATTERN.test(text);
}

/** Interface name, also the form of error names. */
export function isInterfaceName(text: string): boolean {
  return text.length <= MAX_NAME_CHARS && INTERFACE_PATTERN.test(text);
}

/** Name of a method, property or signal. */
export function isMemberName(text: string): boolean {
  return text.length <= MAX_NAME_CHARS && MEMBER_PATTERN.test(text);
}

/** Object path. */
export function isObjectPath(text: string): boolean {
  return text.length <= MAX_PATH_CHARS && PATH.test(text);
}

/** One complete type of a signature: a basic type, or a container with its content. */
export interface Type {
  /** `(` struct, `{` dict entry, `a` array, `v` variant, else the basic type's letter. */
  readonly code: string;
  readonly children: readonly Type[];
  /** The type as text. */
  readonly text: string;
}

/**
 * Parses a signature.
 *
 * @param signature zero or more complete types, e.g. `sa{sv}`
 * @throws {TypeError} when it is not one
 */
export function parseSignature(signature: string): Type[] {
  if (signature.length > MAX_SIGNATURE_CHARS) {
    throw new TypeError(`Signature longer than ${MAX_SIGNATURE_CHARS} characters`);
  }
  const types: Type[] = [];
  for (let at = 0; at < signature.length;) {
    const [type, next] = parseOne(signature, at, 0, 0);
    types.push(type);
    at = next;
  }
  return types;
}

/** True for zero or more complete types. */
export function isSignature(text: string): boolean {
  try {
    parseSignature(text);
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** True for exactly one complete type. */
export function isSingleType(text: string): boolean {
  return isSignature(text) && parseSignature(text).length === 1;
}

function parseOne(
  text: string,
  at: number,
  arrays: number,
  structs: number,
): [Type, number] {
  const code = text[at];
  const bad = (why: string) => new TypeError(`Bad signature "${text}": ${why}`);
  if (code === undefined) throw bad("it ends too early");
  if (arrays > MAX_NESTING || structs > MAX_NESTING) throw bad("nested too deeply");
  if (BASIC.includes(code) || code === "v") {
    return [{ code, children: [], text: code }, at + 1];
  }
  if (code === "a") {
    const [child, next] = text[at + 1] === "{"
      ? parseDictEntry(text, at + 1, arrays + 1, structs)
      : parseOne(text, at + 1, arrays + 1, structs);
    return [{ code, children: [child], text: text.slice(at, next) }, next];
  }
  if (code !== "(") throw bad(`unknown type "${code}"`);
  const children: Type[] = [];
  let next = at + 1;
  while (text[next] !== ")") {
    const [child, after] = parseOne(text, next, arrays, structs + 1);
    children.push(child);
    next = after;
  }
  if (children.length === 0) throw bad("an empty struct");
  return [{ code, children, text: text.slice(at, next + 1) }, next + 1];
}

function parseDictEntry(
  text: string,
  at: number,
  arrays: number,
  structs: number,
): [Type, number] {
  const bad = (why: string) => new TypeError(`Bad signature "${text}": ${why}`);
  const keyCode = text[at + 1];
  if (keyCode === undefined || !BASIC.includes(keyCode)) {
    throw bad("a dict's key must be a basic type");
  }
  const key: Type = { code: keyCode, children: [], text: keyCode };
  const [value, next] = parseOne(text, at + 2, arrays, structs + 1);
  if (text[next] !== "}") throw bad("a dict entry has exactly two types");
  return [
    { code: "{", children: [key, value], text: text.slice(at, next + 1) },
    next + 1,
  ];
}
