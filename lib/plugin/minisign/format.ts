/**
 * The text files of minisign: public keys and signatures.
 * Source: https://jedisct1.github.io/minisign/, "Signature format", "Public key format".
 */
import { InputError } from "../../base/errors.ts";
import { asPlainLine, isPlainLine } from "../plain_text.ts";

/** A file that is larger than this is no key and no signature. */
export const MAX_MINISIGN_BYTES = 16 * 1024;
/** Longest trusted comment that minisign itself reads. */
export const MAX_COMMENT_LENGTH = 8192;

const KEY_ID_BYTES = 8;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** A key, or a signature of the file itself (legacy). */
const ALGORITHM = "Ed";
/** A signature of the file's BLAKE2b-512. */
const ALGORITHM_PREHASHED = "ED";

/** A key that signatures are checked with. */
export interface PublicKey {
  /** 16 upper-case hex digits, as minisign shows it. */
  readonly id: string;
  /** Ed25519, 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
}

/** What a .minisig file holds. */
export interface Signature {
  readonly keyId: string;
  /** Ed25519 over the BLAKE2b-512 of the file. */
  readonly signature: Uint8Array<ArrayBuffer>;
  /** Signed too, so it can be believed once the signature is. */
  readonly trustedComment: string;
  /** Ed25519 over the signature and the trusted comment. */
  readonly globalSignature: Uint8Array<ArrayBuffer>;
}

/** The id as minisign prints it: the eight bytes as one little-endian number. */
export function keyIdText(bytes: Uint8Array): string {
  return bytes.slice(0, KEY_ID_BYTES).reverse().toHex().toUpperCase();
}

/** The inverse of {@link keyIdText}. */
export function keyIdBytes(id: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(id).reverse();
}

/**
 * Reads a public key: a .pub file, or its second line alone as minisign's `-P` takes it.
 *
 * @param text the file, or the line that starts with `RW`
 * @param from how to call it in messages
 * @throws {InputError} when it is none
 */
export function parsePublicKey(text: string, from = "public key"): PublicKey {
  const lines = linesOf(text, from);
  const line = lines.length === 1 ? lines[0]! : lines[1] ?? "";
  const bytes = fromBase64(line, 2 + KEY_ID_BYTES + KEY_BYTES);
  if (!bytes || algorithmOf(bytes) !== ALGORITHM) {
    throw new InputError("bad_key", `Not a minisign public key: ${from}`, {
      hint: "it is the file that ends in .pub, or its line that starts with RW",
    });
  }
  return { id: keyIdText(bytes.slice(2)), key: bytes.slice(2 + KEY_ID_BYTES) };
}

/** A .pub file. */
export function formatPublicKey(key: PublicKey): string {
  return `untrusted comment: minisign public key ${key.id}\n${publicKeyLine(key)}\n`;
}

/** The one line that stands for a key: `RWQ...`. */
export function publicKeyLine(key: PublicKey): string {
  return concat(algorithmBytes(ALGORITHM), keyIdBytes(key.id), key.key).toBase64();
}

/**
 * Reads a .minisig file.
 *
 * @param text its content
 * @param from how to call it in messages
 * @throws {InputError} when it is none, is of the legacy kind, or holds control characters
 */
export function parseSignature(text: string, from = "signature"): Signature {
  const [untrusted, first, trusted, second, ...more] = linesOf(text, from);
  const bad = (why: string) =>
    new InputError("bad_signature_file", `Not a minisign signature: ${from}: ${why}`, {
      hint: "it is the file that ends in .minisig, as minisign or op-dbus sign wrote it",
    });
  if (second === undefined || more.length > 0) throw bad("it has not four lines");
  if (!untrusted!.startsWith("untrusted comment: ")) throw bad("line 1 is no comment");
  if (!trusted!.startsWith("trusted comment: ")) {
    throw bad("line 3 is no trusted comment");
  }
  const trustedComment = trusted!.slice("trusted comment: ".length);
  if (!isPlainLine(trustedComment.replaceAll("\t", " "))) {
    throw bad(`control characters in its comment: ${asPlainLine(trustedComment)}`);
  }
  const bytes = fromBase64(first!, 2 + KEY_ID_BYTES + SIGNATURE_BYTES);
  const globalSignature = fromBase64(second, SIGNATURE_BYTES);
  if (!bytes || !globalSignature) throw bad("wrong length or not base64");
  const algorithm = algorithmOf(bytes);
  if (algorithm === ALGORITHM) {
    throw bad("the legacy kind, which signs the whole file; sign again with minisign -H");
  }
  if (algorithm !== ALGORITHM_PREHASHED) throw bad("unknown algorithm");
  return {
    keyId: keyIdText(bytes.slice(2)),
    signature: bytes.slice(2 + KEY_ID_BYTES),
    trustedComment,
    globalSignature,
  };
}

/** A .minisig file. */
export function formatSignature(signature: Signature): string {
  const first = concat(
    algorithmBytes(ALGORITHM_PREHASHED),
    keyIdBytes(signature.keyId),
    signature.signature,
  );
  return [
    `untrusted comment: signature from op-dbus, key ${signature.keyId}`,
    first.toBase64(),
    `trusted comment: ${signature.trustedComment}`,
    signature.globalSignature.toBase64(),
    "",
  ].join("\n");
}

function linesOf(text: string, from: string): string[] {
  if (text.length > MAX_MINISIGN_BYTES) {
    throw new InputError("bad_key", `Larger than a key or signature can be: ${from}`, {
      hint: "check that it is the right file",
    });
  }
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  while (lines.length > 0 && lines.at(-1) === "") lines.pop();
  return lines;
}

function algorithmOf(bytes: Uint8Array): string {
  return String.fromCharCode(bytes[0]!, bytes[1]!);
}

function algorithmBytes(algorithm: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(algorithm);
}

/** Strict base64 of a known length; null for anything else. */
export function fromBase64(
  text: string,
  length: number,
): Uint8Array<ArrayBuffer> | null {
  if (text.length > 4 * length) return null;
  try {
    const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
    return bytes.length === length && bytes.toBase64() === text ? bytes : null;
  } catch {
    return null;
  }
}

/** The parts as one. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
