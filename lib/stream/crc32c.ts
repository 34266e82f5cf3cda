/**
 * CRC-32C (Castagnoli) as send streams use it: seed 0, no inversion before or after.
 *
 * Slicing-by-16 in a WebAssembly routine, assembled here, because plain JavaScript does
 * about half of it. The caller's buffer is the routine's own memory, so that nothing is
 * copied to be checked.
 *
 * Source: RFC 3720 appendix B.4 for the polynomial; M. Kounavis and F. Berry, "Novel
 * Table Lookup-Based Algorithms for High-Performance CRC Generation", 2008.
 */

/** The polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;
const SLICES = 16;
const PAGE_BYTES = 65536;
/** Where the caller's buffer starts: past the tables, on a page of its own. */
const BUFFER_AT = PAGE_BYTES;

let tables: Uint32Array | undefined;

/** table[k * 256 + b]: the crc of byte b followed by k zero bytes. */
function crcTables(): Uint32Array {
  if (tables) return tables;
  tables = new Uint32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    }
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) {
    const previous = tables[at - 256]!;
    tables[at] = (previous >>> 8) ^ tables[previous & 255]!;
  }
  return tables;
}

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
  compiled ??= new WebAssembly.Module(assemble());
  const pages = BUFFER_AT / PAGE_BYTES + Math.ceil(sizeBytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const instance = new WebAssembly.Instance(compiled, { m: { m: memory } });
  const run = instance.exports["c"] as (at: number, length: number) => number;
  new Uint32Array(memory.buffer, 0, SLICES * 256).set(crcTables());
  const buffer: CrcBuffer = {
    bytes: new Uint8Array(memory.buffer as ArrayBuffer, BUFFER_AT),
    crc: (start, length) => run(BUFFER_AT + start, length) >>> 0,
    [Symbol.dispose]() {
      if (spare.length < MAX_SPARE && !spare.includes(buffer)) spare.push(buffer);
    },
  };
  return buffer;
}

// The few WebAssembly opcodes that the routine needs (WebAssembly Core Specification 5.4).
const I32 = 0x7f, END = 0x0b, BLOCK = 0x02, LOOP = 0x03, VOID = 0x40, BR = 0x0c;
const BR_IF = 0x0d, LOCAL_GET = 0x20, LOCAL_SET = 0x21, LOCAL_TEE = 0x22;
const I32_LOAD = 0x28, I32_LOAD8_U = 0x2d, I32_CONST = 0x41;
const I32_EQZ = 0x45, I32_LT_U = 0x49, I32_ADD = 0x6a, I32_SUB = 0x6b;
const I32_AND = 0x71, I32_XOR = 0x73, I32_SHL = 0x74, I32_SHR_U = 0x76;

function leb(value: number): number[] {
  const out: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    const done = (value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40);
    out.push(done ? byte : byte | 0x80);
    if (done) return out;
  }
}
function uleb(value: number): number[] {
  const out: number[] = [];
  do {
    const byte = value & 0x7f;
    value >>>= 7;
    out.push(value ? byte | 0x80 : byte);
  } while (value);
  return out;
}
const constant = (value: number) => [I32_CONST, ...leb(value)];
const section = (id: number, body: number[]) => [id, ...uleb(body.length), ...body];

/** (module (import "m" "m" memory) (func (export "c") (at, length) -> crc)) */
function assemble(): Uint8Array<ArrayBuffer> {
  const body = routine();
  const code = [1, 5, I32, ...body, END]; // one group of five i32 locals
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
    ...section(2, [1, 1, 0x6d, 1, 0x6d, 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, 1, 0x63, 0, 0]),
    ...section(10, [1, ...uleb(code.length), ...code]),
  ]);
}

/** Locals: 0 at, 1 length, 2 crc, 3..6 the sixteen bytes as four words. */
function routine(): number[] {
  const AT = 0, LENGTH = 1, CRC = 2, WORD = 3;
  const get = (local: number) => [LOCAL_GET, local];
  const advance = (by: number) => [
    ...[...get(AT), ...constant(by), I32_ADD, LOCAL_SET, AT],
    ...[...get(LENGTH), ...constant(by), I32_SUB, LOCAL_SET, LENGTH],
  ];
  const words: number[] = [];
  const lookups: number[] = [];
  for (let word = 0; word < 4; word++) {
    words.push(...get(AT), I32_LOAD, 0, ...uleb(word * 4));
    if (word === 0) words.push(...get(CRC), I32_XOR);
    words.push(LOCAL_SET, WORD + word);
    for (let byte = 0; byte < 4; byte++) {
      lookups.push(...get(WORD + word));
      // Index times four: the byte shifted to bits 2..9.
      lookups.push(...constant(byte === 0 ? 2 : byte * 8 - 2));
      lookups.push(byte === 0 ? I32_SHL : I32_SHR_U, ...constant(0x3fc), I32_AND);
      const slice = SLICES - 1 - (word * 4 + byte);
      lookups.push(I32_LOAD, 2, ...uleb(slice * 1024));
      if (word + byte > 0) lookups.push(I32_XOR);
    }
  }
  const bulk = [
    ...[BLOCK, VOID, LOOP, VOID],
    ...[...get(LENGTH), ...constant(16), I32_LT_U, BR_IF, 1],
    ...[...words, ...lookups, LOCAL_SET, CRC, ...advance(16), BR, 0],
    ...[END, END],
  ];
  const tail = [
    ...[BLOCK, VOID, LOOP, VOID, ...get(LENGTH), I32_EQZ, BR_IF, 1],
    ...[...get(CRC), ...get(AT), I32_LOAD8_U, 0, 0, I32_XOR, ...constant(255), I32_AND],
    ...[...constant(2), I32_SHL, I32_LOAD, 2, 0],
    ...[...get(CRC), ...constant(8), I32_SHR_U, I32_XOR, LOCAL_TEE, CRC, LOCAL_SET, CRC],
    ...[...advance(1), BR, 0, END, END],
  ];
  return [...bulk, ...tail, ...get(CRC)];
}
