/** Building the idx of a pack anew, from its records and the keys that the index knows. */
import {
  enter,
  IDX_HEADER_BYTES,
  idxHeader,
  PACK_HEADER_BYTES,
  type PackHeader,
  recordBitsOf,
  recordCrc,
  slotsOf,
  tableCrc,
} from "./pack_format.ts";
import { KEY_BYTES, newKey } from "./key.ts";

/** The known keys that begin with some bytes. */
export type KeysOf = (start: Uint8Array) => Iterable<Uint8Array>;

/**
 * True where a record's checksum is right.
 *
 * @param bytes the file, or a part of it
 * @param at where the record begins in `bytes`
 * @param second the second word of the record's key; not looked at in version 1
 */
export function isRecordSound(
  bytes: Uint8Array,
  at: number,
  { version, keyBytes, payloadBytes }: PackHeader,
  second: number,
): boolean {
  const end = at + keyBytes + payloadBytes;
  const stored = (bytes[end]! | bytes[end + 1]! << 8 | bytes[end + 2]! << 16 |
    bytes[end + 3]! << 24) >>> 0;
  return recordCrc(bytes.subarray(at, end), version === 1 ? 0 : second) === stored;
}

/**
 * The idx file of a pack. A record whose key nobody knows gets none: it counts as damaged.
 *
 * @param pack the whole file
 * @param keysOf what may be the keys
 * @param known a record's key by the idx that there is, for where the index has none
 * @returns null where not one key is known
 */
export function rebuildIdx(
  pack: Uint8Array,
  header: PackHeader,
  keysOf: KeysOf,
  known: (record: number) => Uint8Array | null = () => null,
): Uint8Array | null {
  const { version, count } = header;
  const isOld = version === 1;
  const slots = new Uint32Array(slotsOf(count)), bits = recordBitsOf(count);
  const keys = new Uint8Array(isOld ? 0 : count * KEY_BYTES);
  const { bytes, words } = newKey();
  let found = 0;
  for (let record = 0; record < count; record++) {
    const key = keyOfRecord(pack, header, record, keysOf) ?? known(record);
    if (!key) continue;
    bytes.set(key);
    if (!isOld) keys.set(key, record * KEY_BYTES);
    enter(slots, words, record, bits);
    found++;
  }
  if (found === 0 && count > 0) return null;
  const table = new Uint8Array(slots.buffer);
  const idx = new Uint8Array(IDX_HEADER_BYTES + keys.length + table.length);
  idx.set(idxHeader(header, tableCrc(table, tableCrc(keys))));
  idx.set(keys, IDX_HEADER_BYTES);
  idx.set(table, IDX_HEADER_BYTES + keys.length);
  return idx;
}

function keyOfRecord(
  pack: Uint8Array,
  header: PackHeader,
  record: number,
  keysOf: KeysOf,
): Uint8Array | null {
  const at = PACK_HEADER_BYTES + record * header.recordBytes;
  const start = pack.subarray(at, at + header.keyBytes);
  if (header.version === 1) return start;
  for (const key of keysOf(start)) {
    const second = key[4]! | key[5]! << 8 | key[6]! << 16 | key[7]! << 24;
    if (isRecordSound(pack, at, header, second >>> 0)) return key;
  }
  return null;
}
