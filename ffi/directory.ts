/** Listing folders by descriptor, with names as bytes (file names need not be UTF-8). */
import { type BytePath, checkSize, errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, read, withFd } from "./files.ts";

/** `d_type` values of getdents64(2). */
export const DT_UNKNOWN = 0;
export const DT_DIR = 4;
export const DT_REG = 8;
export const DT_LNK = 10;

/** One entry of a folder. */
export interface FolderEntry {
  readonly ino: bigint;
  readonly type: number;
  readonly name: Uint8Array<ArrayBuffer>;
}

/**
 * getdents64(2): the entries of an open folder but `.` and `..`, in the kernel's order.
 *
 * @param fd a folder opened for reading
 * @param path for messages
 */
export function listFd(fd: number, path: BytePath = ""): FolderEntry[] {
  const entries: FolderEntry[] = [];
  eachName(fd, (raw, start, length, view, at) => {
    const name = raw.slice(start, start + length);
    entries.push({ ino: view.getBigUint64(at, true), type: raw[at + 18]!, name });
  }, path);
  return entries;
}

/**
 * {@link listFd} without an object for each entry.
 *
 * @param visit gets the buffer, where the name begins in it, its length; then the buffer
 *   as a view, and where the `struct linux_dirent64` begins
 */
export function eachName(
  fd: number,
  visit: (
    raw: Uint8Array<ArrayBuffer>,
    start: number,
    length: number,
    view: DataView,
    at: number,
  ) => void,
  path: BytePath = "",
): void {
  eachPiece(fd, path, (raw, view, bytes) => {
    for (let at = 0; at < bytes; at += view.getUint16(at + 16, true)) {
      const start = at + 19;
      let end = start;
      while (raw[end] !== 0) end++;
      const dots = raw[start] === 0x2e &&
        (end === start + 1 || (end === start + 2 && raw[start + 1] === 0x2e));
      if (!dots) visit(raw, start, end - start, view, at);
    }
  });
}

const SEEK_SET = 0;

/** getdents64(2) from the folder's start to its end: a buffer full of entries at a time. */
function eachPiece(
  fd: number,
  path: BytePath,
  visit: (raw: Uint8Array<ArrayBuffer>, view: DataView, bytes: number) => void,
): void {
  if (sys.getdents64 === null) throw new SysError("getdents64", "", 38);
  const raw = new Uint8Array(64 * 1024);
  const view = new DataView(raw.buffer);
  checkSize(sys.lseek(fd, 0n, SEEK_SET), errno[0], "lseek", path); // it may have been read
  for (;;) {
    const n = checkSize(
      sys.getdents64(fd, raw, BigInt(raw.length)),
      errno[0],
      "getdents64",
      path,
    );
    if (n === 0) return;
    visit(raw, view, n);
  }
}

/**
 * The names in an open folder but `.` and `..`, in the kernel's order, a byte as a
 * character (ISO 8859-1). For folders of a hundred thousand files whose names are ASCII:
 * {@link listFd} takes six times as long.
 *
 * @param fd a folder opened for reading
 * @param path for messages
 */
export function listNames(
  fd: number,
  path: BytePath = "",
): { name: string; ino: bigint }[] {
  const latin1 = new TextDecoder("latin1");
  const entries: { name: string; ino: bigint }[] = [];
  eachPiece(fd, path, (raw, view, bytes) => {
    const text = latin1.decode(raw.subarray(0, bytes));
    for (let at = 0; at < bytes; at += view.getUint16(at + 16, true)) {
      const name = text.slice(at + 19, text.indexOf("\0", at + 19));
      if (name === "." || name === "..") continue;
      entries.push({ name, ino: view.getBigUint64(at, true) });
    }
  });
  return entries;
}

/** {@link listFd} of a path; does not follow a link in its last component. */
export function listFolder(path: BytePath): FolderEntry[] {
  return withFd(
    open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    (fd) => listFd(fd, path),
  );
}

/** What a read fills; copied out before the next. A fresh one costs 64 KiB of zeros. */
const piece = new Uint8Array(64 * 1024);

/**
 * Reads a small text file through libc. Deno's own file API refuses /proc and /sys
 * without full permissions; this needs FFI alone.
 *
 * @param path absolute
 * @param limitBytes refuses to read more
 * @throws {SysError} EFBIG past the limit; otherwise what open or read gave
 */
export function readTextFile(path: BytePath, limitBytes = 1024 * 1024): string {
  return withFd(open(path, O_RDONLY), (fd) => readTextFd(fd, path, limitBytes));
}

/** {@link readTextFile} of an open file, from where it stands; it stays the caller's. */
export function readTextFd(fd: number, path: BytePath, limitBytes: number): string {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for (;;) {
    const n = read(fd, piece);
    if (n === 0) break;
    total += n;
    if (total > limitBytes) throw new SysError("read", String(path), 27);
    chunks.push(piece.slice(0, n));
  }
  const all = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return new TextDecoder().decode(all);
}
