/**
 * One vector as a file, `vectors/<key>.bin`:
 *
 *     0  "OPDV"   4  version u8   5  codec u8   6  zero u16
 *     8  dimensions u32   12  payload bytes u32   16  CRC-32 u32   20  payload
 *
 * Little-endian. The checksum covers the first 16 bytes, the key and the payload, so that
 * a file under another's name is as damaged as one with a flipped bit.
 */
import { crc32 } from "node:zlib";
import { type Codec, codecById, MAX_DIMENSIONS } from "./codec.ts";

export const HEADER_BYTES = 20;
const MAGIC = 0x5644504f; // "OPDV"
const VERSION = 1;
const CHECKED_BYTES = 16;

/** What a header says, checked. */
export interface ObjectHeader {
  readonly codec: Codec;
  readonly dimensions: number;
  readonly payloadBytes: number;
}

/** Most bytes a file of so many dimensions may have, whatever its codec. */
export function maxObjectBytes(dimensions: number): number {
  return HEADER_BYTES + dimensions * 4 + 1024;
}

/** The checksum of a record: header, key, payload. */
export function checksum(
  header: Uint8Array,
  key: Uint8Array,
  payload: Uint8Array,
): number {
  return crc32(payload, crc32(key, crc32(header.subarray(0, CHECKED_BYTES))));
}

/** A file's bytes. @param key 32 bytes */
export function packObject(
  key: Uint8Array,
  codec: Codec,
  dimensions: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, VERSION);
  view.setUint8(5, codec.id);
  view.setUint32(8, dimensions, true);
  view.setUint32(12, payload.length, true);
  bytes.set(payload, HEADER_BYTES);
  view.setUint32(16, checksum(bytes, key, payload), true);
  return bytes;
}

/**
 * The header of a whole file, or null where anything about it is wrong: magic, version,
 * sizes, checksum.
 *
 * @param bytes the file's content, all of it
 * @param key the 32 bytes that its name stands for
 */
export function parseObject(bytes: Uint8Array, key: Uint8Array): ObjectHeader | null {
  if (bytes.length < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC || bytes[4] !== VERSION) return null;
  const codec = codecById(bytes[5]!);
  const dimensions = view.getUint32(8, true);
  const payloadBytes = view.getUint32(12, true);
  if (!codec || dimensions < 1 || dimensions > MAX_DIMENSIONS) return null;
  if (payloadBytes !== bytes.length - HEADER_BYTES) return null;
  const payload = bytes.subarray(HEADER_BYTES);
  if (view.getUint32(16, true) !== checksum(bytes, key, payload)) return null;
  return { codec, dimensions, payloadBytes };
}
