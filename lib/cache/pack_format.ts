/**
 * Packs: many vectors of one model in one codec, `vectors/pack-<n>.pack`, with a hash
 * table beside it, `pack-<n>.idx`. Both are written once, made durable, renamed into
 * place and never changed. Little-endian.
 *
 *     .pack   header of 4096 bytes, then records of one size
 *         0  "OPDVPACK"   8  version u32   12  codec u32   16  dimensions u32
 *        20  payload bytes u32   24  record bytes u32   28  records u32
 *        32  bytes of the model's identity u32   36  CRC-32 of 0..36 and the identity
 *        40  the identity, JSON
 *     record  key (32 bytes), payload, CRC-32 of both u32, zeros to a multiple of four
 *
 *     .idx    header of 64 bytes, then slots of four bytes: open addressing, linear probing
 *         0  "OPDVIDX1"   8  records u32   12  slots u32   16  record bits u32
 *        20  the pack's header CRC u32   24  CRC-32 of the slots   28  CRC-32 of 0..28
 *     slot    0 when empty; else record number + 1 in the low `record bits`, the rest is
 *             as many bits of the key
 *
 * The full 32-byte key stands in the record, so that a lookup touches one slot and one
 * record, and the table of a million vectors is 6 MB, small enough to be read ahead whole.
 */
import { crc32 } from "node:zlib";
import type { ModelIdentity } from "../embed/embedder.ts";
import { type Codec, codecById, MAX_DIMENSIONS } from "./codec.ts";
import { KEY_BYTES } from "./key.ts";

export const PACK_HEADER_BYTES = 4096;
export const IDX_HEADER_BYTES = 64;
/** Records of one pack; more go to another one. Leaves seven bits of the key per slot. */
export const MAX_PACK_RECORDS = 1 << 24;
const PACK_MAGIC = "OPDVPACK";
const IDX_MAGIC = "OPDVIDX1";
const VERSION = 1;
const CRC_BYTES = 4;
const IDENTITY_AT = 40;
/** Share of the slots that is taken. */
const LOAD = 0.7;

/** What a pack's header says. */
export interface PackHeader {
  readonly codec: Codec;
  readonly dimensions: number;
  readonly payloadBytes: number;
  readonly recordBytes: number;
  readonly count: number;
  readonly identity: ModelIdentity;
  readonly crc: number;
}

/** What an idx's header says. */
export interface IdxHeader {
  readonly count: number;
  readonly slots: number;
  readonly recordBits: number;
  readonly packCrc: number;
  readonly tableCrc: number;
}

/** Bytes of a record. */
export function recordBytesOf(payloadBytes: number): number {
  return (KEY_BYTES + payloadBytes + CRC_BYTES + 3) & ~3;
}

/** Slots of a table for so many records. */
export function slotsOf(count: number): number {
  return Math.max(8, Math.ceil(count / LOAD));
}

/** Low bits of a slot that number the records. */
export function recordBitsOf(count: number): number {
  return Math.max(1, 32 - Math.clz32(count));
}

/** The slot a key's search starts at. @param first the key's first four bytes, unsigned */
export function homeSlot(first: number, slots: number): number {
  return Math.floor(first / 0x1_0000_0000 * slots);
}

/** The checksum of a record: key and payload, which lie side by side. */
export function recordCrc(keyAndPayload: Uint8Array): number {
  return crc32(keyAndPayload);
}

/** A pack's header; null where the identity is too long for it. */
export function packHeader(
  codec: Codec,
  dimensions: number,
  payloadBytes: number,
  count: number,
  identity: ModelIdentity,
): Uint8Array<ArrayBuffer> | null {
  const json = new TextEncoder().encode(JSON.stringify(identity));
  if (json.length > PACK_HEADER_BYTES - IDENTITY_AT) return null;
  const bytes = new Uint8Array(PACK_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  new TextEncoder().encodeInto(PACK_MAGIC, bytes);
  const fields = [
    VERSION,
    codec.id,
    dimensions,
    payloadBytes,
    recordBytesOf(payloadBytes),
    count,
    json.length,
  ];
  fields.forEach((field, i) => view.setUint32(8 + i * 4, field, true));
  bytes.set(json, IDENTITY_AT);
  view.setUint32(36, crc32(json, crc32(bytes.subarray(0, 36))), true);
  return bytes;
}

/**
 * A pack's header, or null where anything about it is wrong.
 *
 * @param bytes the first PACK_HEADER_BYTES of the file
 * @param sizeBytes the file's size: it must hold exactly the records it claims
 */
export function parsePackHeader(bytes: Uint8Array, sizeBytes: number): PackHeader | null {
  if (bytes.length !== PACK_HEADER_BYTES || !hasMagic(bytes, PACK_MAGIC)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const field = (at: number) => view.getUint32(at, true);
  const codec = codecById(field(12));
  const dimensions = field(16), payloadBytes = field(20), recordBytes = field(24);
  const count = field(28), identityBytes = field(32), crc = field(36);
  if (field(8) !== VERSION || !codec || identityBytes > bytes.length - IDENTITY_AT) {
    return null;
  }
  const json = bytes.subarray(IDENTITY_AT, IDENTITY_AT + identityBytes);
  const right = crc === crc32(json, crc32(bytes.subarray(0, 36))) &&
    dimensions >= 1 && dimensions <= MAX_DIMENSIONS &&
    payloadBytes <= codec.maxBytes(dimensions) &&
    recordBytes === recordBytesOf(payloadBytes) && count <= MAX_PACK_RECORDS &&
    sizeBytes === PACK_HEADER_BYTES + count * recordBytes;
  if (!right) return null;
  const identity = JSON.parse(new TextDecoder().decode(json)) as ModelIdentity;
  return { codec, dimensions, payloadBytes, recordBytes, count, identity, crc };
}

/** An idx's header, over its finished slots. */
export function idxHeader(slots: Uint32Array, count: number, packCrc: number) {
  const bytes = new Uint8Array(IDX_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  new TextEncoder().encodeInto(IDX_MAGIC, bytes);
  view.setUint32(8, count, true);
  view.setUint32(12, slots.length, true);
  view.setUint32(16, recordBitsOf(count), true);
  view.setUint32(20, packCrc, true);
  view.setUint32(24, tableCrc(slots), true);
  view.setUint32(28, crc32(bytes.subarray(0, 28)), true);
  return bytes;
}

/** The checksum of a table. */
export function tableCrc(slots: Uint32Array): number {
  return crc32(new Uint8Array(slots.buffer, slots.byteOffset, slots.byteLength));
}

/** An idx's header, or null; the table itself is checked by `cache verify`. */
export function parseIdxHeader(bytes: Uint8Array, sizeBytes: number): IdxHeader | null {
  if (bytes.length !== IDX_HEADER_BYTES || !hasMagic(bytes, IDX_MAGIC)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const field = (at: number) => view.getUint32(at, true);
  if (field(28) !== crc32(bytes.subarray(0, 28))) return null;
  const count = field(8), slots = field(12), recordBits = field(16);
  const right = count <= MAX_PACK_RECORDS && slots === slotsOf(count) &&
    recordBits === recordBitsOf(count) && sizeBytes === IDX_HEADER_BYTES + slots * 4;
  return right
    ? { count, slots, recordBits, packCrc: field(20), tableCrc: field(24) }
    : null;
}

/**
 * Enters a record into a table under construction.
 *
 * @param key the record's key as eight words
 */
export function enter(
  slots: Uint32Array,
  key: Uint32Array,
  record: number,
  bits: number,
) {
  let at = homeSlot(key[0]!, slots.length);
  while (slots[at] !== 0) at = at + 1 === slots.length ? 0 : at + 1;
  slots[at] = ((key[1]! >>> bits) << bits) | (record + 1);
}

function hasMagic(bytes: Uint8Array, magic: string): boolean {
  for (let i = 0; i < magic.length; i++) {
    if (bytes[i] !== magic.charCodeAt(i)) return false;
  }
  return true;
}
