/** SHA-256 for who hashes little at a start and much when it runs on. */
import { sha256 as portable } from "@noble/hashes/sha2.js";
import { nodeCrypto } from "./node_crypto.ts";

/**
 * So much is hashed in JavaScript, in less time than node:crypto takes to load; what
 * comes after goes to node:crypto, ten times faster.
 */
const PORTABLE_BYTES = 32 * 1024;
/** A call's own cost in bytes: one block of padding, and what surrounds it. */
const CALL_BYTES = 64;

let hashedBytes = 0;

/** The digest, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  hashedBytes += bytes.length + CALL_BYTES;
  return hashedBytes < PORTABLE_BYTES
    ? portable(bytes)
    : new Uint8Array(nodeCrypto().hash("sha256", bytes, "buffer"));
}

/** The digest of a text's UTF-8, in lowercase hex. */
export function sha256Hex(text: string): string {
  return sha256(new TextEncoder().encode(text)).toHex();
}
