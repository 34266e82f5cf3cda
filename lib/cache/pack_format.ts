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
 *     record  the key's first four bytes, payload, CRC-32 of both u32 that begins with the
 *             key's next four bytes, zeros to a multiple of four
 *
 *     .idx    header of 64 bytes, the records' keys, 32 bytes each, then slots of four
 *             bytes: open addressing, linear probing
 *         0  "OPDVPIDX"   8  version u32   12  codec u32   16  records u32   20  slots u32
 *        24  record bits u32   28  the pack's header CRC u32
 *        32  CRC-32 of the keys and the slots   36  CRC-32 of 0..36
 *     slot    0 when empty; else record number + 1 in the low `record bits`, the rest is
 *             as many bits of the key
 *
 * A lookup reads one slot, compares one whole key and checks one record. What a record
 * knows of its key is enough to find it again among the rows of the index, should the idx
 * be lost. Version 1, which is still read, had the whole key in the record and "OPDVIDX1"
 * with the fields from 16 on at 8, no keys, and its CRC at 28.
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
const IDX_MAGIC = "OPDVPIDX";
const IDX_MAGIC_1 = "OPDVIDX1";
const VERSION = 2;
/** Bytes of the key in a record, by version. */
const RECORD_KEY_BYTES: readonly (number | undefined)[] = [undefined, KEY_BYTES, 4];
const CRC_BYTES = 4;
const IDENTITY_AT = 40;
/** Share of the slots that is taken. */
const LOAD = 0.7;

/** What a pack's header says. */
export interface PackHeader {
  /** 2, or 1 for a pack of an older op-dbus. */
  readonly version: number;
  /** Bytes of the key at the beginning of a record. */
  readonly keyBytes: number;
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
  /** That of its pack. */
  readonly version: number;
  readonly count: number;
  readonly slots: number;
  readonly recordBits: number;
  readonly packCrc: number;
  /** Of the keys and the slots. */
  readonly tableCrc: number;
  /** Where the slots begin. */
  readonly slotsAt: number;
}

/** Bytes of a record. */
export function recordBytesOf(payloadBytes: number, version = VERSION): number {
  return (RECORD_KEY_BYTES[version]! + payloadBytes + CRC_BYTES + 3) & ~3;
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

/** Bytes of the key in a record that is written now. */
export const KEY_START_BYTES = RECORD_KEY_BYTES[VERSION]!;

/**
 * The checksum of a record.
 *
 * @param content the key's start and the payload, which lie side by side
 * @param second the key's second word; 0 in version 1
 */
export function recordCrc(content: Uint8Array, second: number): number {
  return crc32(content, second);
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

function readIdentity(json: Uint8Array): ModelIdentity | null {
  try {
    const read = JSON.parse(new TextDecoder().decode(json));
    return typeof read?.digest === "string" ? read : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
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
  const version = field(8), keyBytes = RECORD_KEY_BYTES[version];
  if (!keyBytes || !codec || identityBytes > bytes.length - IDENTITY_AT) return null;
  const json = bytes.subarray(IDENTITY_AT, IDENTITY_AT + identityBytes);
  const right = crc === crc32(json, crc32(bytes.subarray(0, 36))) &&
    dimensions >= 1 && dimensions <= MAX_DIMENSIONS &&
    payloadBytes <= codec.maxBytes(dimensions) &&
    recordBytes === recordBytesOf(payloadBytes, version) && count <= MAX_PACK_RECORDS &&
    sizeBytes === PACK_HEADER_BYTES + count * recordBytes;
  if (!right) return null;
  const identity = readIdentity(json);
  if (identity === null) return null;
  const sizes = { dimensions, payloadBytes, recordBytes, count, keyBytes };
  return { version, codec, ...sizes, identity, crc };
}

/**
 * An idx's header.
 *
 * @param pack the header of the pack it belongs to
 * @param contentCrc of the keys and the slots, as {@link tableCrc} gives it
 */
export function idxHeader(
  { version, codec, count, crc }: Pick<PackHeader, "version" | "codec" | "count" | "crc">,
  contentCrc: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(IDX_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const isOld = version === 1;
  new TextEncoder().encodeInto(isOld ? IDX_MAGIC_1 : IDX_MAGIC, bytes);
  const table = [count, slotsOf(count), recordBitsOf(count), crc, contentCrc];
  const fields = isOld ? table : [version, codec.id, ...table];
  fields.forEach((field, i) => view.setUint32(8 + i * 4, field, true));
  const end = 8 + fields.length * 4;
  view.setUint32(end, crc32(bytes.subarray(0, end)), true);
  return bytes;
}

/** The checksum of an idx's content, which may come in parts. */
export function tableCrc(content: Uint8Array, before = 0): number {
  return crc32(content, before);
}

/** An idx's header, or null; the table itself is checked by `cache verify`. */
export function parseIdxHeader(bytes: Uint8Array, sizeBytes: number): IdxHeader | null {
  if (bytes.length !== IDX_HEADER_BYTES) return null;
  const isOld = hasMagic(bytes, IDX_MAGIC_1);
  if (!isOld && !hasMagic(bytes, IDX_MAGIC)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const field = (at: number) => view.getUint32(at, true);
  const at = isOld ? 8 : 16, end = at + 20;
  if (field(end) !== crc32(bytes.subarray(0, end))) return null;
  if (!isOld && (field(8) !== VERSION || !codecById(field(12)))) return null;
  const count = field(at), slots = field(at + 4), recordBits = field(at + 8);
  const slotsAt = IDX_HEADER_BYTES + (isOld ? 0 : count * KEY_BYTES);
  const right = count <= MAX_PACK_RECORDS && slots === slotsOf(count) &&
    recordBits === recordBitsOf(count) && sizeBytes === slotsAt + slots * 4;
  const packCrc = field(at + 12), tableCrc = field(at + 16);
  const version = isOld ? 1 : VERSION;
  return right ? { version, count, slots, recordBits, packCrc, tableCrc, slotsAt } : null;
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
