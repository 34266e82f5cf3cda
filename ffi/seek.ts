/** lseek(2) for holes: where a sparse file has data, and where it has none. */
import { checkSize, errno, sys } from "./libc.ts";

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
  const start = sys.lseek(fd, BigInt(offset), SEEK_DATA);
  const number = errno[0];
  if (start < 0n && number === ENXIO) return null;
  checkSize(start, number, "lseek");
  const end = checkSize(sys.lseek(fd, start, SEEK_HOLE), errno[0], "lseek");
  return { start: Number(start), end };
}
