/**
 * minisign's secret key files, plain or encrypted by a password.
 * Source: https://jedisct1.github.io/minisign/, "Secret key format"; libsodium's
 * crypto_pwhash_scryptsalsa208sha256 for how its two limits become N, r and p.
 */
import { createPrivateKey, createPublicKey, randomBytes, scrypt } from "node:crypto";
import { blake2b } from "@noble/hashes/blake2.js";
import { InputError } from "../../base/errors.ts";
import { concat, fromBase64, keyIdText, type PublicKey } from "./format.ts";

/** A key that signs. */
export interface SecretKey extends PublicKey {
  /** Ed25519 seed, 32 bytes. */
  readonly seed: Uint8Array<ArrayBuffer>;
}

/** What scrypt may cost. */
export interface ScryptLimits {
  readonly operations: number;
  readonly memoryBytes: number;
}

/** minisign's own: libsodium's SENSITIVE, one GiB and some seconds. */
export const SENSITIVE: ScryptLimits = { operations: 2 ** 25, memoryBytes: 2 ** 30 };

const MAX_MEMORY_BYTES = 2 ** 30;
const MAX_OPERATIONS = 2 ** 27;
const PLAIN = "\0\0", SCRYPT = "Sc", ALGORITHM = "Ed", CHECKSUM = "B2";
const SALT_BYTES = 32;
const CHECKSUM_BYTES = 32;
/** Key id, seed, public key, checksum: what the password encrypts. */
const SECRET_BYTES = 8 + 32 + 32 + CHECKSUM_BYTES;
const HEADER_BYTES = 2 + 2 + 2 + SALT_BYTES + 8 + 8;
/** DER before the seed of an Ed25519 private key (RFC 8410). */
const PKCS8_PREFIX = Uint8Array.fromHex("302e020100300506032b657004220420");

/** A new key from the system's random source. */
export function generateSecretKey(): SecretKey {
  const seed = new Uint8Array(randomBytes(32));
  return fromSeed(seed, keyIdText(new Uint8Array(randomBytes(8))));
}

/** The key as node:crypto wants it. */
export function privateKeyObject(key: SecretKey): ReturnType<typeof createPrivateKey> {
  return createPrivateKey({
    key: concat(PKCS8_PREFIX, key.seed) as unknown as Buffer,
    format: "der",
    type: "pkcs8",
  });
}

function fromSeed(seed: Uint8Array<ArrayBuffer>, id: string): SecretKey {
  const object = privateKeyObject({ id, seed, key: seed });
  const spki = createPublicKey(object).export({ format: "der", type: "spki" });
  return { id, seed, key: new Uint8Array(spki).slice(-32) };
}

/**
 * A secret key file.
 *
 * @param key the key
 * @param password null leaves it unencrypted, as `minisign -W` does
 * @param limits what scrypt may cost whoever opens it
 */
export async function formatSecretKey(
  key: SecretKey,
  password: string | null,
  limits: ScryptLimits = SENSITIVE,
): Promise<string> {
  const id = Uint8Array.fromHex(key.id).reverse();
  const keys = concat(id, key.seed, key.key);
  const secret = concat(keys, checksum(keys));
  const header = new Uint8Array(HEADER_BYTES);
  header.set(ascii(ALGORITHM), 0);
  header.set(ascii(CHECKSUM), 4);
  if (password !== null) {
    const salt = new Uint8Array(randomBytes(SALT_BYTES));
    header.set(ascii(SCRYPT), 2);
    header.set(salt, 6);
    const view = new DataView(header.buffer);
    view.setBigUint64(6 + SALT_BYTES, BigInt(limits.operations), true);
    view.setBigUint64(14 + SALT_BYTES, BigInt(limits.memoryBytes), true);
    xor(secret, await stretch(password, salt, limits));
  }
  const kind = password === null ? "" : "encrypted ";
  return `untrusted comment: minisign ${kind}secret key\n${
    concat(header, secret).toBase64()
  }\n`;
}

/** True when a secret key file needs a password. @throws {InputError} */
export function isEncrypted(text: string, from = "secret key"): boolean {
  return kdfOf(decode(text, from)) === SCRYPT;
}

/**
 * Reads a secret key file.
 *
 * @param text its content
 * @param password asked for where the file is encrypted
 * @param from how to call it in messages
 * @throws {InputError} `bad_key` for another file, `wrong_password` for that
 */
export async function parseSecretKey(
  text: string,
  password: () => Promise<string> | string,
  from = "secret key",
): Promise<SecretKey> {
  const bytes = decode(text, from);
  const secret = bytes.slice(HEADER_BYTES);
  const encrypted = kdfOf(bytes) === SCRYPT;
  if (encrypted) {
    const view = new DataView(bytes.buffer);
    const operations = Number(view.getBigUint64(6 + SALT_BYTES, true));
    const memoryBytes = Number(view.getBigUint64(14 + SALT_BYTES, true));
    if (operations > MAX_OPERATIONS || memoryBytes > MAX_MEMORY_BYTES) {
      throw new InputError("bad_key", `${from} asks for more than 1 GiB to open`, {
        hint: "make a new one with: op-dbus key generate",
      });
    }
    const salt = bytes.slice(6, 6 + SALT_BYTES);
    xor(secret, await stretch(await password(), salt, { operations, memoryBytes }));
  }
  const keys = secret.slice(0, -CHECKSUM_BYTES);
  // A file that was never encrypted may carry no checksum (minisign -W before 0.11).
  const expected = checksum(keys), found = secret.slice(-CHECKSUM_BYTES);
  const unchecked = !encrypted && found.every((byte) => byte === 0);
  if (!unchecked && !expected.every((byte, i) => byte === found[i])) {
    throw encrypted
      ? new InputError("wrong_password", `Wrong password for ${from}`, {
        hint: "try again",
      })
      : new InputError("bad_key", `Damaged secret key: ${from}`, {
        hint: "restore it from a copy",
      });
  }
  const key = fromSeed(keys.slice(8, 40), keyIdText(keys));
  if (!key.key.every((byte, i) => byte === keys[40 + i])) {
    throw new InputError("bad_key", `Damaged secret key: ${from}`, {
      hint: "restore it from a copy",
    });
  }
  return key;
}

function decode(text: string, from: string): Uint8Array<ArrayBuffer> {
  const line = text.length > 4096 ? "" : text.split(/\r?\n/)[1] ?? "";
  const bytes = fromBase64(line, HEADER_BYTES + SECRET_BYTES);
  const tag = (at: number) => String.fromCharCode(bytes![at]!, bytes![at + 1]!);
  if (
    !bytes || tag(0) !== ALGORITHM || tag(4) !== CHECKSUM ||
    (kdfOf(bytes) !== SCRYPT && kdfOf(bytes) !== PLAIN)
  ) {
    throw new InputError("bad_key", `Not a minisign secret key: ${from}`, {
      hint: "make one with: op-dbus key generate",
    });
  }
  return bytes;
}

function kdfOf(bytes: Uint8Array): string {
  return String.fromCharCode(bytes[2]!, bytes[3]!);
}

function checksum(keys: Uint8Array): Uint8Array {
  return blake2b(concat(ascii(ALGORITHM), keys), { dkLen: CHECKSUM_BYTES });
}

/** libsodium's `pickparams`. */
export function scryptParameters(limits: ScryptLimits): { N: number; r: 8; p: number } {
  const operations = Math.max(32768, limits.operations), r = 8;
  const byOperations = operations < limits.memoryBytes / 32;
  const maxN = byOperations ? operations / (r * 4) : limits.memoryBytes / (r * 128);
  let log2 = 1;
  while (log2 < 63 && 2 ** log2 <= Math.floor(maxN) / 2) log2++;
  const N = 2 ** log2;
  if (byOperations) return { N, r, p: 1 };
  const maxRp = Math.min(Math.floor(operations / 4 / N), 0x3fffffff);
  return { N, r, p: Math.max(1, Math.floor(maxRp / r)) };
}

function stretch(
  password: string,
  salt: Uint8Array,
  limits: ScryptLimits,
): Promise<Uint8Array> {
  const options = { ...scryptParameters(limits), maxmem: MAX_MEMORY_BYTES * 2 - 1 };
  return new Promise((resolve, reject) => {
    scrypt(
      password,
      salt,
      SECRET_BYTES,
      options,
      (error, bytes) => error ? reject(error) : resolve(new Uint8Array(bytes!)),
    );
  });
}

function xor(into: Uint8Array, mask: Uint8Array): void {
  for (let i = 0; i < into.length; i++) into[i]! ^= mask[i]!;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
