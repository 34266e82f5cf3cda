/**
 * btrfs ioctls that receiving a stream needs beside those of btrfs.ts: sharing extents
 * and writing them compressed as they are.
 *
 * Source: Linux `include/uapi/linux/btrfs.h`, `include/uapi/linux/fs.h`.
 */
import { IOW } from "./ioctl.ts";
import { check, errno, sys } from "./libc.ts";

const BTRFS = 0x94;
const CLONE_BYTES = 32, ENCODED_BYTES = 128, IOVEC_BYTES = 16;
/** FICLONERANGE, which is BTRFS_IOC_CLONE_RANGE; xfs has it too. */
export const CLONE_RANGE = IOW(BTRFS, 13, CLONE_BYTES);
export const ENCODED_WRITE = IOW(BTRFS, 64, ENCODED_BYTES);

/**
 * Shares a range of one file with another.
 *
 * @throws {SysError} EINVAL when a range is not in whole sectors (but at the end of the
 *   source), EXDEV across file systems, EOPNOTSUPP or ENOTTY where there is no sharing
 */
export function cloneRange(
  fd: number,
  sourceFd: number,
  sourceOffset: number,
  length: number,
  offset: number,
): void {
  const raw = new DataView(new ArrayBuffer(CLONE_BYTES));
  raw.setBigInt64(0, BigInt(sourceFd), true);
  raw.setBigUint64(8, BigInt(sourceOffset), true);
  raw.setBigUint64(16, BigInt(length), true);
  raw.setBigUint64(24, BigInt(offset), true);
  check(sys.ioctl(fd, BigInt(CLONE_RANGE), raw), errno[0], "clone range");
}

/** An extent in its compressed form. Lengths and offsets in bytes. */
export interface EncodedExtent {
  readonly data: Uint8Array;
  readonly offset: number;
  readonly unencodedFileLength: number;
  readonly unencodedLength: number;
  readonly unencodedOffset: number;
  readonly compression: number;
}

/**
 * Writes an extent as it is, without compressing it again. Needs root. The kernel does
 * not look whether it decodes.
 *
 * @throws {SysError} EINVAL on files without copy-on-write, ENOTTY before kernel 5.18,
 *   EPERM when not root
 */
export function encodedWrite(fd: number, extent: EncodedExtent): void {
  const { data } = extent;
  const address = (buffer: BufferSource) =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
  // The vector lies behind the request that points to it: in a buffer of its own, which
  // nothing refers to but a number, it could be collected before the call.
  const raw = new DataView(new ArrayBuffer(ENCODED_BYTES + IOVEC_BYTES));
  raw.setBigUint64(ENCODED_BYTES, address(data as BufferSource), true);
  raw.setBigUint64(ENCODED_BYTES + 8, BigInt(data.length), true);
  raw.setBigUint64(0, address(raw) + BigInt(ENCODED_BYTES), true);
  raw.setBigUint64(8, 1n, true);
  raw.setBigInt64(16, BigInt(extent.offset), true);
  raw.setBigUint64(32, BigInt(extent.unencodedFileLength), true);
  raw.setBigUint64(40, BigInt(extent.unencodedLength), true);
  raw.setBigUint64(48, BigInt(extent.unencodedOffset), true);
  raw.setUint32(56, extent.compression, true);
  check(sys.ioctl(fd, BigInt(ENCODED_WRITE), raw), errno[0], "encoded write");
}
