/**
 * CRC-32C (Castagnoli) as send streams use it: seed 0, no inversion before or after.
 *
 * A WebAssembly routine (scripts/lib/crc32c_wat.ts), because plain JavaScript does about
 * a fifth of it. The caller's buffer is the routine's own memory, so that nothing is
 * copied to be checked.
 */
import { crcTables, placeTables } from "./crc32c_tables.ts";
import { CRC32C_BASE64 } from "./crc32c_wasm.ts";

const PAGE_BYTES = 65536;
/** Where the caller's buffer starts: past the tables, on a page of its own. */
const BUFFER_AT = PAGE_BYTES;

/** crc32c of bytes anywhere, one table look-up per byte: for small pieces. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const table = crcTables();
  for (let at = 0; at < bytes.length; at++) {
    crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 255]!;
  }
  return crc >>> 0;
}

/** A buffer, and the crc32c of any part of it at full speed. */
export interface CrcBuffer extends Disposable {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** crc32c of `length` bytes at `start`, seed 0. */
  crc(start: number, length: number): number;
}

let compiled: WebAssembly.Module | undefined;
/** Buffers that were given back. The collector is slow to see how large they are. */
const spare: CrcBuffer[] = [];
const MAX_SPARE = 2;

/**
 * Makes a buffer of at least `sizeBytes` whose crc32c is quick to compute; what it holds
 * at first is arbitrary. Dispose gives it back, and nothing may use it after that.
 *
 * @param sizeBytes capacity wanted
 */
export function crcBuffer(sizeBytes: number): CrcBuffer {
  const fits = spare.findIndex(({ bytes }) => bytes.length >= sizeBytes);
  if (fits >= 0) return spare.splice(fits, 1)[0]!;
  compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(CRC32C_BASE64));
  const pages = BUFFER_AT / PAGE_BYTES + Math.ceil(sizeBytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const instance = new WebAssembly.Instance(compiled, { m: { m: memory } });
  const run = instance.exports["c"] as (at: number, length: number) => number;
  placeTables(memory.buffer as ArrayBuffer);
  const buffer: CrcBuffer = {
    bytes: new Uint8Array(memory.buffer as ArrayBuffer, BUFFER_AT),
    crc: (start, length) => run(BUFFER_AT + start, length) >>> 0,
    [Symbol.dispose]() {
      if (spare.length < MAX_SPARE && !spare.includes(buffer)) spare.push(buffer);
    },
  };
  return buffer;
}
