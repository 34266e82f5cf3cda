/**
 * The host's Ed25519 key that signs checkpoints: `meta/chain.key` (PKCS #8 PEM, 0600)
 * and `meta/chain.pub`, a verifier key as Go's signed notes write it:
 * `name+hash+base64(0x01 || key)`.
 *
 * Source: C2SP signed-note, https://c2sp.org/signed-note.
 */
import type { KeyObject } from "node:crypto";
import { isSysError } from "../../ffi/errno.ts";
import { fstat } from "../../ffi/stat.ts";
import { O_NOFOLLOW, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { readTextFile } from "../../ffi/directory.ts";
import { writeDurably } from "../base/durable.ts";
import { InputError, OpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { nodeCrypto } from "../base/node_crypto.ts";
import { sha256 } from "./merkle.ts";

const ED25519 = 0x01;
const KEY_BYTES = 32, KEY_ID_BYTES = 4;
const KEY_FILE_LIMIT_BYTES = 4096;
const encoder = new TextEncoder();

/** Somebody's public key, with the name that their notes are signed under. */
export interface VerifierKey {
  readonly name: string;
  /** First four bytes of SHA-256(name || "\n" || 0x01 || key). */
  readonly id: Uint8Array;
  readonly key: KeyObject;
  /** The text form, `name+hash+key`. */
  readonly text: string;
}

/** A private key that signs notes. */
export interface HostKey extends VerifierKey {
  sign(bytes: Uint8Array): Uint8Array;
}

export function keyPath(layout: Layout): string {
  return `${layout.meta}/chain.key`;
}

export function publicKeyPath(layout: Layout): string {
  return `${layout.meta}/chain.pub`;
}

/**
 * The host's key, made on first use. Call it under the chain's lock.
 *
 * @throws {OpError} `unsafe_key` when others may read the key file; `bad_key`
 */
export function hostKey(layout: Layout): HostKey {
  const path = keyPath(layout);
  let pem: string;
  try {
    checkPrivate(path);
    pem = readTextFile(path, KEY_FILE_LIMIT_BYTES);
  } catch (error) {
    if (!isSysError(error, "ENOENT")) throw error;
    pem = nodeCrypto().generateKeyPairSync("ed25519").privateKey
      .export({ type: "pkcs8", format: "pem" }).toString();
    const name = `op-dbus/${crypto.getRandomValues(new Uint8Array(6)).toHex()}`;
    const made = verifierOf(name, rawPublic(nodeCrypto().createPublicKey(pem)));
    // The public half first: a key without its name would sign under another one later.
    writeDurably(publicKeyPath(layout), encoder.encode(made.text + "\n"));
    writeDurably(path, encoder.encode(pem), 0o600);
  }
  const { name } = readVerifierKey(publicKeyPath(layout));
  const { createPrivateKey, createPublicKey, sign } = nodeCrypto();
  const privateKey = createPrivateKey(pem);
  const key = createPublicKey(pem);
  return {
    ...verifierOf(name, rawPublic(key)),
    key,
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

function checkPrivate(path: string): void {
  const { mode } = withFd(open(path, O_RDONLY | O_NOFOLLOW), (fd) => fstat(fd, path));
  if ((mode & 0o077) !== 0) {
    throw new OpError("unsafe_key", `Cannot sign with ${path}: others may read it`, {
      hint: `chmod 600 ${path}, and consider the key known to others`,
    });
  }
}

/**
 * Reads a verifier key file.
 * @throws {InputError} `bad_key`; {SysError} where it cannot be read
 */
export function readVerifierKey(path: string): VerifierKey {
  return parseVerifierKey(readTextFile(path, KEY_FILE_LIMIT_BYTES).trim());
}

/** @throws {InputError} `bad_key` */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/.exec(text);
  if (!match) throw badKey("it does not read name+hash+key");
  const [, name, , encoded] = match as unknown as [string, string, string, string];
  const raw = decodeBase64(encoded);
  if (raw?.length !== KEY_BYTES + 1 || raw[0] !== ED25519) {
    throw badKey("it is not an Ed25519 key");
  }
  const verifier = verifierOf(name, raw);
  // Before the key is made: bytes that are no point of the curve throw there.
  if (verifier.text !== text) throw badKey("its hash does not match");
  return { ...verifier, key: publicKeyOf(raw) };
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  try {
    return nodeCrypto().createPublicKey({
      key: { kty: "OKP", crv: "Ed25519", x: base64Url(raw.subarray(1)) },
      format: "jwk",
    });
  } catch (cause) {
    throw badKey("it is no point of the curve", cause);
  }
}

/** @param raw 0x01 and the key */
function verifierOf(name: string, raw: Uint8Array): Omit<VerifierKey, "key"> {
  const id = sha256(new Uint8Array([...encoder.encode(`${name}\n`), ...raw]))
    .slice(0, KEY_ID_BYTES);
  return { name, id, text: `${name}+${id.toHex()}+${raw.toBase64()}` };
}

/** 0x01 and the public half of a key. */
function rawPublic(key: KeyObject): Uint8Array {
  const x = key.export({ format: "jwk" }).x!;
  return new Uint8Array([
    ED25519,
    ...Uint8Array.fromBase64(x, { alphabet: "base64url" }),
  ]);
}

/** True when `signature` over `bytes` was made by this key. */
export function verifySignature(
  key: VerifierKey,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  return nodeCrypto().verify(null, bytes, key.key, signature);
}

/** Bytes of standard base64; null when it is none. */
export function decodeBase64(text: string): Uint8Array | null {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return null; // the caller says what was expected there
  }
}

function base64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function badKey(why: string, cause?: unknown): InputError {
  return new InputError("bad_key", `Cannot read the verifier key: ${why}`, {
    ...(cause !== undefined && { cause }),
    hint: "give the content of meta/chain.pub of the host that signed",
  });
}
