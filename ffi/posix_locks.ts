/**
 * fcntl(2) record locks: asking who holds one. SQLite in WAL mode holds a shared lock on
 * one byte of its `-shm` file for as long as a database is open.
 */
import { pointerNumber } from "./files.ts";
import { check, errno, sys } from "./libc.ts";

const F_GETLK = 5;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** `struct flock`, 64-bit: type@0 whence@2 start@8 len@16 pid@24. */
const FLOCK_BYTES = 32;

/**
 * The process that keeps this one from locking a byte for writing.
 *
 * @param fd the file
 * @param offset the byte
 * @returns its pid; null when no other process holds it
 */
export function lockHolder(fd: number, offset: number): number | null {
  const raw = new Uint8Array(FLOCK_BYTES), view = new DataView(raw.buffer);
  view.setInt16(0, F_WRLCK, true);
  view.setBigInt64(8, BigInt(offset), true);
  view.setBigInt64(16, 1n, true);
  check(
    sys.fcntl(fd, F_GETLK, BigInt.asIntN(64, pointerNumber(raw))),
    errno[0],
    "fcntl F_GETLK",
  );
  return view.getInt16(0, true) === F_UNLCK ? null : view.getInt32(24, true);
}
