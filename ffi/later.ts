/**
 * Calls that block, made on another thread so that the event loop lives meanwhile. Their
 * errno is that thread's and cannot be read from here.
 */
import { SysError } from "./errno.ts";
import { syncfs } from "./files.ts";
import { openSystemLibrary } from "./library.ts";

const asyncLibc = () =>
  openSystemLibrary("libc.so.6", {
    read: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
    syncfs: { parameters: ["i32"], result: "i32", nonblocking: true },
  });
let lazyLibc: ReturnType<typeof asyncLibc> | undefined;

function later() {
  return (lazyLibc ??= asyncLibc()).symbols;
}

const EIO = 5;

/** read(2) elsewhere. @throws {SysError} EIO on any failure */
export async function readLater(fd: number, into: Uint8Array): Promise<number> {
  const n = await later().read(fd, into as BufferSource, BigInt(into.length));
  if (n < 0n) throw new SysError("read", "", EIO);
  return Number(n);
}

/**
 * syncfs(2) elsewhere. `fd` stays open until it settles.
 * @throws {SysError} what a second, synchronous call gave; EIO when that one went well
 */
export async function syncfsLater(fd: number): Promise<void> {
  if (await later().syncfs(fd) === 0) return;
  syncfs(fd);
  throw new SysError("syncfs", "", EIO); // the first failed: something was not written
}
