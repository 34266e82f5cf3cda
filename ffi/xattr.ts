/** Extended attributes: setxattr(2) and kin. Names are bytes or strings, values bytes. */
import { type BytePath, check, checkSize, cString, errno, sys } from "./libc.ts";
import { isSysError } from "./errno.ts";

/** setxattr(2) on an open file. An empty value clears `btrfs.compression`. */
export function fsetxattr(fd: number, name: BytePath, value: Uint8Array): void {
  const key = cString(name);
  const result = sys.fsetxattr(
    fd,
    key,
    value as BufferSource,
    BigInt(value.length),
    0,
  );
  check(result, errno[0], "fsetxattr", name);
}

/** lsetxattr(2): on the link itself where `path` is one. */
export function lsetxattr(path: BytePath, name: BytePath, value: Uint8Array): void {
  const file = cString(path), key = cString(name);
  const size = BigInt(value.length);
  check(
    sys.lsetxattr(file, key, value as BufferSource, size, 0),
    errno[0],
    "lsetxattr",
    path,
  );
}

/** lremovexattr(2). */
export function lremovexattr(path: BytePath, name: BytePath): void {
  const file = cString(path), key = cString(name);
  check(sys.lremovexattr(file, key), errno[0], "lremovexattr", path);
}

/** fgetxattr(2); null when the file has no such attribute (or the file system none). */
export function fgetxattr(fd: number, name: BytePath): Uint8Array<ArrayBuffer> | null {
  const key = cString(name);
  const into = new Uint8Array(65536); // XATTR_SIZE_MAX
  try {
    const n = checkSize(
      sys.fgetxattr(fd, key, into, BigInt(into.length)),
      errno[0],
      "fgetxattr",
      name,
    );
    return into.slice(0, n);
  } catch (error) {
    if (isSysError(error, "ENODATA", "EOPNOTSUPP")) return null;
    throw error;
  }
}

/** lgetxattr(2); null as in {@link fgetxattr}. */
export function lgetxattr(
  path: BytePath,
  name: BytePath,
): Uint8Array<ArrayBuffer> | null {
  const file = cString(path), key = cString(name);
  const into = new Uint8Array(65536);
  try {
    const n = checkSize(
      sys.lgetxattr(file, key, into, BigInt(into.length)),
      errno[0],
      "lgetxattr",
      path,
    );
    return into.slice(0, n);
  } catch (error) {
    if (isSysError(error, "ENODATA", "EOPNOTSUPP")) return null;
    throw error;
  }
}

/** llistxattr(2): the names, as bytes. */
export function llistxattr(path: BytePath): Uint8Array<ArrayBuffer>[] {
  const file = cString(path);
  const into = new Uint8Array(65536); // XATTR_LIST_MAX
  const n = checkSize(
    sys.llistxattr(file, into, BigInt(into.length)),
    errno[0],
    "llistxattr",
    path,
  );
  return splitNames(into, n);
}

/** flistxattr(2): the names, as bytes. */
export function flistxattr(fd: number): Uint8Array<ArrayBuffer>[] {
  const size = checkSize(sys.flistxattr(fd, EMPTY, 0n), errno[0], "flistxattr");
  if (size === 0) return [];
  const into = new Uint8Array(65536); // XATTR_LIST_MAX
  const n = checkSize(
    sys.flistxattr(fd, into, BigInt(into.length)),
    errno[0],
    "flistxattr",
  );
  return splitNames(into, n);
}

const EMPTY = new Uint8Array();

function splitNames(into: Uint8Array<ArrayBuffer>, n: number): Uint8Array<ArrayBuffer>[] {
  const names: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < n;) {
    const end = into.indexOf(0, at);
    names.push(into.slice(at, end));
    at = end + 1;
  }
  return names;
}
