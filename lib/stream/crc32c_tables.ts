/**
 * The tables of CRC-32C, and where its WebAssembly routine wants them.
 *
 * Source: RFC 3720 appendix B.4 for the polynomial.
 */

/** The polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;
/** Bytes that are looked up at once. */
export const CRC_SLICES = 16;
/** Length of each of the sixteen stretches that the routine takes side by side. */
export const CRC_LANE_BYTES = 1024;

/** Where things are in the first page of the routine's memory, bytes. */
export const CRC_AT = {
  slices: 0,
  shift: CRC_SLICES * 1024,
  nibbles: CRC_SLICES * 1024 + 4096,
  scratch: CRC_SLICES * 1024 + 4096 + 128,
} as const;

let tables: Uint32Array | undefined;

/** table[k * 256 + b]: the crc of byte b followed by k zero bytes. */
export function crcTables(): Uint32Array {
  if (tables) return tables;
  tables = new Uint32Array(CRC_SLICES * 256);
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

/** table[k * 256 + b]: what byte k of a crc, being b, is after a lane of zero bytes. */
function shiftTables(): Uint32Array {
  const table = crcTables(), shift = new Uint32Array(4 * 256);
  for (let bit = 0; bit < 32; bit++) {
    let crc = 2 ** bit;
    for (let n = 0; n < CRC_LANE_BYTES; n++) {
      crc = (crc >>> 8) ^ table[crc & 255]!;
    }
    // A crc is linear: of two bits it is that of one and of the other, added.
    const first = (bit >> 3) * 256, value = 1 << (bit & 7);
    for (let low = 0; low < value; low++) {
      shift[first + value + low] = (crc ^ shift[first + low]!) >>> 0;
    }
  }
  return shift;
}

/** Byte `plane` of the crc of each half of a byte: 16 low ones, 16 high ones, by plane. */
function nibbleTables(): Uint8Array {
  const table = crcTables(), nibbles = new Uint8Array(128);
  for (let plane = 0; plane < 4; plane++) {
    for (let half = 0; half < 16; half++) {
      nibbles[plane * 32 + half] = table[half]! >>> (plane * 8);
      nibbles[plane * 32 + 16 + half] = table[half << 4]! >>> (plane * 8);
    }
  }
  return nibbles;
}

/** Puts all tables where the routine wants them. @param memory of a page at least */
export function placeTables(memory: ArrayBuffer): void {
  new Uint32Array(memory, CRC_AT.slices).set(crcTables());
  new Uint32Array(memory, CRC_AT.shift).set(shiftTables());
  new Uint8Array(memory, CRC_AT.nibbles).set(nibbleTables());
}
