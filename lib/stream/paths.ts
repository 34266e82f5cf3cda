/**
 * Paths inside a stream: bytes, relative, free of everything that could leave the tree.
 *
 * As keys of maps they are "binary strings", one character (0..255) per byte, so that
 * names that are not UTF-8 stay distinct and exact.
 */

const SLASH = 0x2f, DOT = 0x2e;
/** Longest component that Linux file systems take. */
const NAME_MAX_BYTES = 255;
/** Longest path that the kernel takes, without its NUL. */
const PATH_MAX_BYTES = 4095;

/**
 * What is wrong with a path from a stream, or null when it is sound: relative, no empty
 * component, no `.`, no `..`, no NUL, within the kernel's lengths and `depth` components.
 * The empty path (the tree's root) is not sound here; callers that allow it ask first.
 */
export function pathFault(path: Uint8Array, depth: number): string | null {
  const length = path.length;
  if (length === 0) return "an empty path";
  if (length > PATH_MAX_BYTES) return `a path of ${length} bytes`;
  let start = 0, components = 0;
  for (let at = 0; at <= length; at++) {
    const byte = at === length ? SLASH : path[at]!;
    if (byte === 0) return "a NUL byte in a path";
    if (byte !== SLASH) continue;
    const size = at - start;
    if (size === 0) return start === 0 ? "an absolute path" : "an empty path component";
    if (size > NAME_MAX_BYTES) return `a file name of ${size} bytes`;
    if (path[start] === DOT) {
      if (size === 1) return "'.' in a path";
      if (size === 2 && path[start + 1] === DOT) return "'..' in a path";
    }
    if (++components > depth) return `a path deeper than ${depth} folders`;
    start = at + 1;
  }
  return null;
}

/** True when two paths are the same; compared from their ends, where they differ. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = a.length - 1; at >= 0; at--) if (a[at] !== b[at]) return false;
  return true;
}

/** Bytes as a binary string. */
export function binaryString(bytes: Uint8Array): string {
  let text = "";
  // fromCharCode's arguments go on the stack: a piece at a time.
  for (let at = 0; at < bytes.length; at += 4096) {
    const piece = bytes.subarray(at, at + 4096) as unknown as number[];
    text += String.fromCharCode.apply(null, piece);
  }
  return text;
}

/** A binary string as the bytes it stands for. */
export function binaryBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** A binary string for people: UTF-8 where it is, controls escaped. */
export function displayPath(path: string): string {
  const text = new TextDecoder().decode(binaryBytes(path));
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`,
  );
}

/** Folder part of a path key; "" for a name directly in the root. */
export function parentKey(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

/** Last component of a path key. */
export function nameKey(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Order of names in digests and written streams: by bytes. */
export function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * True when a symlink's target, read from the folder that holds the link, cannot leave
 * the tree: relative, `..` only at its front, and no more of them than that folder is
 * deep. `..` behind a name is refused because that name may be a link to a shallower
 * folder (`m -> ..`, then `n -> m/../../x`); without it, every step is either up from a
 * real folder or down through folders and links that obey the same rule.
 *
 * @param linkPath where the link is, as a key
 * @param target its target, as a binary string
 */
export function targetStaysInside(linkPath: string, target: string): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0")) return false;
  let depth = linkPath.split("/").length - 1;
  let descended = false;
  for (const component of target.split("/")) {
    if (component === "" || component === ".") continue;
    if (component !== "..") descended = true;
    else if (descended || --depth < 0) return false;
  }
  return true;
}
