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

let hashedBytes = 0;
/** node:crypto's one-shot hash, once it is loaded. */
let hash: typeof Hash | undefined;

/** The digest, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  hashedBytes += bytes.length + CALL_BYTES;
  if (hashedBytes < PORTABLE_BYTES) return portable(bytes);
  hash ??= nodeCrypto().hash;
  // As hexadecimal and back: node:crypto takes three times as long to make a Buffer.
  const digest = new Uint8Array(DIGEST_BYTES);
  digest.setFromHex(hash("sha256", bytes, "hex"));
  return digest;
}

/** The digest of a text's UTF-8, in lowercase hex. */
export function sha256Hex(text: string): string {
  return sha256(new TextEncoder().encode(text)).toHex();
}
