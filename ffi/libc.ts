/**
 * The C library: opened once, with errno read at once after each call.
 *
 * Every wrapper throws {@link SysError} on failure. Nothing may run between a call and
 * the errno read, so all calls here are synchronous and {@link errno} is read where the
 * call stands; the thread that calls is the thread whose errno is read (true in workers
 * too, which open their own handle).
 */
import { openSystemLibrary } from "./library.ts";
import { LIBC_SYMBOLS } from "./libc_symbols.ts";
import { SysError } from "./errno.ts";

/**
 * libc's functions. Each is looked up at its first use, because a start of the program
 * needs three of the sixty and looking all of them up takes 7 ms.
 */
export const sys = lazySymbols();

function lazySymbols(): Deno.DynamicLibrary<typeof LIBC_SYMBOLS>["symbols"] {
  const table = {};
  for (const [name, definition] of Object.entries(LIBC_SYMBOLS)) {
    const look = () => {
      // First, so that no lookup stands between a failed call and the errno read.
      errnoOfThread();
      const { symbols } = openSystemLibrary("libc.so.6", { [name]: definition });
      Object.defineProperty(table, name, { value: symbols[name], enumerable: true });
      return symbols[name];
    };
    Object.defineProperty(table, name, { get: look, configurable: true });
  }
  return table as Deno.DynamicLibrary<typeof LIBC_SYMBOLS>["symbols"];
}

/** Where a thread has its errno. */
export interface Errno {
  readonly 0: number;
}

const NOT_LOOKED_UP: Errno = [0];

/**
 * This thread's errno. To be read in the expression that makes the call or in the next
 * statement, with no function called between: `check(sys.fsync(fd), errno[0], "fsync")`.
 * Wherever a function is entered V8 may hand over to its compiler threads, and a lock
 * that it has to wait for sets errno: to EAGAIN, or once per process to ENOENT, when
 * abseil's clock looks for `/sys/devices/system/cpu/cpu0/tsc_freq_khz`. Read inside of a
 * function, errno was wrong in 1 of 300 short processes (11 of 3,383); read in place, in
 * none of 4,102. Held by tests/house/errno_test.ts.
 */
export let errno: Errno = NOT_LOOKED_UP;

/** {@link errno}, looked up where no function has been called yet. */
export function errnoOfThread(): Errno {
  if (errno === NOT_LOOKED_UP) errno = openErrno();
  return errno;
}

function openErrno(): Errno {
  const { __errno_location } = LIBC_SYMBOLS;
  const { symbols } = openSystemLibrary("libc.so.6", { __errno_location });
  const pointer = symbols.__errno_location();
  if (pointer === null) throw new Error("__errno_location() returned NULL");
  return new Int32Array(
    Deno.UnsafePointerView.getArrayBuffer(pointer, 4),
  ) as unknown as Errno;
}

/** Paths are bytes to the kernel; a string stands for its UTF-8. */
export type BytePath = string | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * A NUL-terminated copy of a path.
 * @throws {SysError} EINVAL when it holds a NUL byte
 */
export function cString(path: BytePath): Uint8Array<ArrayBuffer> {
  const bytes = typeof path === "string" ? encoder.encode(path) : path;
  if (bytes.includes(0)) throw new SysError("path with a NUL byte", printable(path), 22);
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** Longest path that the kernel takes, its NUL included (PATH_MAX). */
const PATH_MAX_BYTES = 4096;
/** One buffer per path that a call takes; see {@link shortLived}. */
const scratch = [0, 1].map(() => new Uint8Array(PATH_MAX_BYTES));

/**
 * {@link cString} without an allocation, which costs as much as a quick system call: for
 * a synchronous call that is made before the next use of the same slot.
 *
 * @param slot 0, or 1 for the second path of one call
 * @throws {SysError} EINVAL when it holds a NUL byte
 */
export function shortLived(path: BytePath, slot: 0 | 1 = 0): Uint8Array<ArrayBuffer> {
  const bytes = typeof path === "string" ? encoder.encode(path) : path;
  // Too long for the kernel: it is to say so itself.
  if (bytes.length >= PATH_MAX_BYTES) return cString(bytes);
  const out = scratch[slot]!;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === 0) throw new SysError("path with a NUL byte", printable(path), 22);
    out[at] = byte;
  }
  out[bytes.length] = 0;
  return out;
}

/** A path for a message: UTF-8 where it is, U+FFFD elsewhere; controls escaped. */
export function printable(path: BytePath): string {
  const text = typeof path === "string" ? path : decoder.decode(path);
  return text.replace(
    /\p{Cc}/gu,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}

/**
 * Passes on a non-negative result, else throws with errno.
 *
 * @param result what the C function returned; -1 means failure
 * @param number {@link errno}`[0]`, read in place
 * @param call its name, for the message
 * @param path what it was called on, for the message
 */
export function check(
  result: number,
  number: number,
  call: string,
  path: BytePath = "",
): number {
  if (result >= 0) return result;
  throw new SysError(call, printable(path), number);
}

/** {@link check} for calls that return 64 bits. */
export function checkSize(
  result: bigint,
  number: number,
  call: string,
  path: BytePath = "",
): number {
  if (result >= 0n) return Number(result);
  throw new SysError(call, printable(path), number);
}

/** `dirfd` that means the working directory. */
export const AT_FDCWD = -100;
