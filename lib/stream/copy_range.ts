/**
 * What a clone is where the file system cannot share extents: a copy of the data, with the
 * holes kept. A crafted stream clones a hole of terabytes; copied as zeros it would fill
 * the disk, or the memory behind a tmpfs.
 */
import { fallocate, ftruncate, pread, pwriteAll } from "../../ffi/files.ts";
import { nextData } from "../../ffi/seek.ts";
import { fstat } from "../../ffi/stat.ts";

const CHUNK_BYTES = 1024 * 1024;
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. */
const PUNCH_HOLE = 3;

/**
 * Copies a range of a file into another, or elsewhere in the same.
 *
 * @param source open for reading; what lies behind its end is not copied
 * @param target open for reading and writing
 * @param length bytes
 * @throws {SysError} what reading, writing or punching gave
 */
export function copyRange(
  source: number,
  from: number,
  target: number,
  to: number,
  length: number,
): void {
  const end = Math.min(from + length, fstat(source).sizeBytes);
  let at = from;
  while (at < end) {
    const data = nextData(source, at);
    const start = Math.min(data?.start ?? end, end),
      stop = Math.min(data?.end ?? end, end);
    if (start > at) clear(target, to + at - from, start - at);
    copyBytes(source, start, target, to + start - from, stop - start);
    at = Math.max(stop, start);
  }
}

/** Makes a range read as zeros without storing any. */
function clear(target: number, at: number, length: number): void {
  const { sizeBytes } = fstat(target);
  if (at < sizeBytes) fallocate(target, PUNCH_HOLE, at, Math.min(length, sizeBytes - at));
  if (at + length > sizeBytes) ftruncate(target, at + length);
}

function copyBytes(
  source: number,
  from: number,
  target: number,
  to: number,
  length: number,
): void {
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, length));
  for (let done = 0; done < length;) {
    const n = pread(source, chunk.subarray(0, length - done), from + done);
    if (n === 0) return;
    pwriteAll(target, chunk.subarray(0, n), to + done);
    done += n;
  }
}
