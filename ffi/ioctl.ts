/**
 * ioctl(2): request numbers and the call.
 *
 * Source: Linux `include/uapi/asm-generic/ioctl.h`, which both supported architectures
 * use: so a request has the same number on x86_64 and aarch64.
 */
import { type BytePath, check, errno, sys } from "./libc.ts";

const NONE = 0, WRITE = 1, READ = 2;

function request(direction: number, type: number, nr: number, sizeBytes: number): number {
  return ((direction << 30) | (sizeBytes << 16) | (type << 8) | nr) >>> 0;
}

/** `_IO(type, nr)`: no argument. */
export function IO(type: number, nr: number): number {
  return request(NONE, type, nr, 0);
}
/** `_IOR(type, nr, size)`: the kernel writes the argument. */
export function IOR(type: number, nr: number, sizeBytes: number): number {
  return request(READ, type, nr, sizeBytes);
}
/** `_IOW(type, nr, size)`: the kernel reads the argument. */
export function IOW(type: number, nr: number, sizeBytes: number): number {
  return request(WRITE, type, nr, sizeBytes);
}
/** `_IOWR(type, nr, size)`: both. */
export function IOWR(type: number, nr: number, sizeBytes: number): number {
  return request(READ | WRITE, type, nr, sizeBytes);
}

/**
 * ioctl(2).
 *
 * @param fd what it is asked of
 * @param request one of the numbers above
 * @param argument the struct, at least as long as the request says; null for none
 * @param call its name, for the message
 * @param path what `fd` is, for the message
 * @returns what ioctl returned, not negative
 * @throws {SysError} ENOTTY where the file system or device has no such request
 */
export function ioctl(
  fd: number,
  request: number,
  argument: Uint8Array | DataView | null,
  call: string,
  path: BytePath = "",
): number {
  return check(
    sys.ioctl(fd, BigInt(request), argument as BufferSource | null),
    errno[0],
    call,
    path,
  );
}
