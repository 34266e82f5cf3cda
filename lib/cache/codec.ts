/**
 * How a vector becomes bytes. A codec never changes what its own output decodes to, so a
 * miss can return what the next hit will.
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { Buffer } from "node:buffer";
import {
  decodeInt12,
  decodeInt8,
  encodeInt12,
  encodeInt8,
  int12Bytes,
  int8Bytes,
} from "./codec_int.ts";

/** More dimensions than any model has; a limit on what a file header may claim. */
export const MAX_DIMENSIONS = 65_536;

export type CodecName = "f32" | "f32-zstd" | "f16" | "int12" | "int8";

/** One way of writing vectors down. */
export interface Codec {
  readonly name: CodecName;
  /** Its number in file headers; never reused. */
  readonly id: number;
  /** Order of faithfulness: higher loses less. f32 and f32-zstd lose nothing. */
  readonly precision: number;
  /** Most bytes that a vector of so many dimensions takes. */
  maxBytes(dimensions: number): number;
  /** The bytes, or null where this codec cannot hold the vector's range. */
  encode(vector: Float32Array): Uint8Array | null;
  /**
   * Writes the vector to `into` from `at`.
   * @returns false when the bytes are not a vector of so many dimensions
   */
  decode(
    payload: Uint8Array,
    dimensions: number,
    into: Float32Array,
    at: number,
  ): boolean;
}

const LOSSLESS = 3;
const ZSTD_LEVEL_BYTES_SLACK = 1024;
/** Largest finite half-precision number. */
const F16_MAX = 65_504;
/** A vector whose largest component is below this falls among the denormals. */
const F16_SMALLEST_LARGEST = 1e-3;

function bytesOf(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}

const f32: Codec = {
  name: "f32",
  id: 1,
  precision: LOSSLESS,
  maxBytes: (dimensions) => dimensions * 4,
  encode: (vector) => bytesOf(vector).slice(),
  decode(payload, dimensions, into, at) {
    if (payload.length !== dimensions * 4) return false;
    bytesOf(into).set(payload, at * 4);
    return true;
  },
};

const f32Zstd: Codec = {
  name: "f32-zstd",
  id: 2,
  precision: LOSSLESS,
  maxBytes: (dimensions) => dimensions * 4 + ZSTD_LEVEL_BYTES_SLACK,
  encode: (vector) => zstdCompressSync(Buffer.from(bytesOf(vector).slice())),
  decode(payload, dimensions, into, at) {
    let raw: Uint8Array;
    try {
      raw = zstdDecompressSync(payload, { maxOutputLength: dimensions * 4 });
    } catch {
      return false; // damaged, or a bomb: either way not a vector
    }
    return f32.decode(raw, dimensions, into, at);
  },
};

const f16: Codec = {
  name: "f16",
  id: 3,
  precision: 2,
  maxBytes: (dimensions) => dimensions * 2,
  encode(vector) {
    let largest = 0;
    for (const value of vector) largest = Math.max(largest, Math.abs(value));
    if (largest > F16_MAX || largest < F16_SMALLEST_LARGEST) return null;
    const halves = Float16Array.from(vector);
    return new Uint8Array(halves.buffer);
  },
  decode(payload, dimensions, into, at) {
    if (payload.length !== dimensions * 2) return false;
    into.set(new Float16Array(payload.slice().buffer), at);
    return true;
  },
};

const int12: Codec = {
  name: "int12",
  id: 4,
  precision: 1,
  maxBytes: int12Bytes,
  encode: encodeInt12,
  decode: decodeInt12,
};

const int8: Codec = {
  name: "int8",
  id: 5,
  precision: 0,
  maxBytes: int8Bytes,
  encode: encodeInt8,
  decode: decodeInt8,
};

/** Every codec, by name. */
export const CODECS: Readonly<Record<CodecName, Codec>> = {
  "f32": f32,
  "f32-zstd": f32Zstd,
  "f16": f16,
  "int12": int12,
  "int8": int8,
};

/** What is used when nothing else is asked for. */
export const DEFAULT_CODEC: CodecName = "int12";

const BY_ID: readonly (Codec | undefined)[] = [undefined, f32, f32Zstd, f16, int12, int8];

/** The codec of a header's number; undefined for a number nobody knows. */
export function codecById(id: number): Codec | undefined {
  return BY_ID[id];
}

/** True for the name of a codec. */
export function isCodecName(name: string): name is CodecName {
  return Object.hasOwn(CODECS, name);
}

/**
 * Encodes with the codec asked for, or losslessly where the vector is out of its range
 * (a half-precision overflow, a scale too small for a float).
 */
export function encodeVector(
  vector: Float32Array,
  wanted: Codec,
): { codec: Codec; payload: Uint8Array } {
  const payload = wanted.encode(vector);
  return payload
    ? { codec: wanted, payload }
    : { codec: f32, payload: f32.encode(vector)! };
}
