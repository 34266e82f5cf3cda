/** SHA-256 for who hashes little at a start and much when it runs on. */
import { sha256 as portable } from "@noble/hashes/sha2.js";
import type { hash as Hash } from "node:crypto";
import { nodeCrypto } from "./node_crypto.ts";

/**
 * So much is hashed in JavaScript, in less time than node:crypto takes to load; what
 * comes after goes to node:crypto, ten times faster.
 */
const PORTABLE_BYTES = 32 * 1024;
/** A call's own cost in bytes: one block of padding, and what surrounds it. */
const CALL_BYTES = 64;

const DIGEST_BYTES = 32;
/** Digests that share one buffer: a new one for each costs as much as SHA-256 does. */
const SHARED_DIGESTS = 64;

let hashedBytes = 0;
/** node:crypto's one-shot hash, once it is loaded. */
let hash: typeof Hash | undefined;
let shared = new Uint8Array(SHARED_DIGESTS * DIGEST_BYTES);
let sharedUsed = 0;

/** The digest, 32 bytes. They may lie in a buffer with others. */
export function sha256(bytes: Uint8Array): Uint8Array {
  // By way of hexadecimal: node:crypto takes three times as long to make a Buffer.
  return isLittle(bytes) ? portable(bytes) : digestOf(native(bytes));
}

/** The 32 bytes of a digest in hexadecimal. They may lie in a buffer with others. */
export function digestOf(hex: string): Uint8Array {
  if (sharedUsed === shared.length) {
    shared = new Uint8Array(SHARED_DIGESTS * DIGEST_BYTES);
    sharedUsed = 0;
  }
  const digest = shared.subarray(sharedUsed, sharedUsed += DIGEST_BYTES);
  digest.setFromHex(hex);
  return digest;
}

/** The digest in lowercase hex. */
export function hexOf(bytes: Uint8Array): string {
  return isLittle(bytes) ? portable(bytes).toHex() : native(bytes);
}

/** The digest of a text's UTF-8, in lowercase hex. */
export function sha256Hex(text: string): string {
  return hexOf(new TextEncoder().encode(text));
}

function isLittle(bytes: Uint8Array): boolean {
  hashedBytes += bytes.length + CALL_BYTES;
  return hashedBytes < PORTABLE_BYTES;
}

function native(bytes: Uint8Array): string {
  hash ??= nodeCrypto().hash;
  return hash("sha256", bytes, "hex");
}
