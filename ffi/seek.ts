/** lseek(2) for holes: where a sparse file has data, and where it has none. */
import { errno, sys } from "./libc.ts";
import { SysError } from "./errno.ts";

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;

/**
 * The next stretch of data at or behind `offset`; null when only holes follow.
 *
 * @returns its first byte and the byte behind its last
 */
export function nextData(
  fd: number,
  offset: number,
): { start: number; end: number } | null {
  const start = Number(sys.lseek(fd, BigInt(offset), SEEK_DATA));
  if (start < 0) {
    const number = errno();
    if (number === ENXIO) return null;
    throw new SysError("lseek", "", number);
  }
  const end = Number(sys.lseek(fd, BigInt(start), SEEK_HOLE));
  if (end < 0) throw new SysError("lseek", "", errno());
  return { start, end };
}
