/** Signatures beside files: `FILE.minisig`. */
import { readTextFd, readTextFile } from "../../ffi/directory.ts";
import { isSysError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { DifferenceError, InputError } from "../base/errors.ts";
import { writeDurably } from "../base/durable.ts";
import { openRegular } from "../base/regular_file.ts";
import {
  formatSignature,
  MAX_MINISIGN_BYTES,
  parsePublicKey,
  parseSignature,
  type PublicKey,
  type Signature,
} from "./minisign/format.ts";
import type { SecretKey } from "./minisign/secret_key.ts";
import {
  checkSignature,
  digestFile,
  type FileDigests,
  signDigests,
} from "./minisign/sign.ts";
import { type PackageName, parsePackageFileName } from "./names.ts";
import { formatClaim } from "./package_signature.ts";

/** A signature that was checked, and what it is on. */
export interface CheckedFile {
  readonly signature: Signature;
  readonly key: PublicKey;
  readonly digests: FileDigests;
}

/** Where a file's signature lies. */
export function signaturePath(path: string): string {
  return `${path}.minisig`;
}

/** The seconds that go into a signature: SOURCE_DATE_EPOCH where it is set. */
export function signingTime(): number {
  const epoch = Number(Deno.env.get("SOURCE_DATE_EPOCH") || NaN);
  return Number.isSafeInteger(epoch) ? epoch : Math.floor(Date.now() / 1000);
}

/** How to sign. */
export interface SignOptions {
  /** Seconds since 1970. */
  readonly timestamp?: number;
  /** Of the signature's name, before `.minisig`: `.ID` of the key where several sign. */
  readonly suffix?: string;
  /** What it is a package of; default: what its name says, null for no package. */
  readonly name?: PackageName | null;
}

/**
 * Signs a file. The trusted comment of a package binds its name, version and digest.
 *
 * @param path the file
 * @param key the secret key
 * @returns the signature, written to `path.minisig`
 */
export function signFile(
  path: string,
  key: SecretKey,
  options: SignOptions = {},
): { signature: Signature; path: string } {
  const digests = digestFile(path);
  const file = path.slice(path.lastIndexOf("/") + 1);
  const { timestamp = signingTime(), suffix = "" } = options;
  const name = options.name === undefined ? parsePackageFileName(file) : options.name;
  const comment = name
    ? formatClaim({ ...name, sha256: digests.sha256, timestamp }, file)
    : `timestamp:${timestamp}\tfile:${printableName(file)}\thashed`;
  const signature = signDigests(digests, key, comment);
  const to = signaturePath(path + suffix);
  writeDurably(to, new TextEncoder().encode(formatSignature(signature)));
  return { signature, path: to };
}

function printableName(file: string): string {
  return file.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, "?");
}

/**
 * Checks a file's signature.
 *
 * @param path the file; its signature lies beside it, or at `signatureFile`
 * @param find the trusted key of an id, undefined where it is not trusted
 * @param digest of the file, where it was read already
 * @throws {DifferenceError} `unsigned`, `unknown_key`, `bad_signature`
 */
export function verifyFile(
  path: string,
  find: (keyId: string) => PublicKey | undefined,
  signatureFile = signaturePath(path),
  digest: () => FileDigests = () => digestFile(path),
): CheckedFile {
  const text = readSignature(signatureFile);
  if (text === null) {
    throw new DifferenceError("unsigned", `Not signed: there is no ${signatureFile}`, {
      hint: "fetch the .minisig too",
    });
  }
  const signature = parseSignature(text, signatureFile);
  const key = find(signature.keyId);
  if (!key) {
    throw new DifferenceError(
      "unknown_key",
      `${path} is signed by ${signature.keyId}, a key that is not trusted here`,
      { hint: "check who that is, then: op-dbus key trust FILE.pub" },
    );
  }
  const digests = digest();
  checkSignature(digests, signature, key, path);
  return { signature, key, digests };
}

/** Whoever gave the file gave this one too: it may be a pipe, or have no end. */
function readSignature(path: string): string | null {
  const bad = (why: string) =>
    new InputError("bad_signature_file", `Not a minisign signature: ${path}: ${why}`, {
      hint: "it is the file that ends in .minisig, as minisign or op-dbus sign wrote it",
    });
  try {
    const { fd } = openRegular(path, 0, () => bad("it is no regular file"));
    return withFd(fd, () => readTextFd(fd, path, MAX_MINISIGN_BYTES));
  } catch (error) {
    if (isSysError(error, "ENOENT", "ENOTDIR")) return null;
    if (isSysError(error, "EFBIG")) throw bad("it is larger than one can be");
    throw error;
  }
}

/** A public key from a file, or from the key's own line. @throws {InputError} */
export function readPublicKey(fileOrLine: string): PublicKey {
  if (/^RW[A-Za-z0-9+/]{54}$/.test(fileOrLine)) return parsePublicKey(fileOrLine);
  let text: string;
  try {
    text = readTextFile(fileOrLine, MAX_MINISIGN_BYTES);
  } catch (error) {
    if (!isSysError(error)) throw error;
    throw new InputError(
      "bad_key",
      `Cannot read the key ${fileOrLine}: ${error.message}`,
      {
        cause: error,
        hint: "name a .pub file, or give its line that starts with RW",
      },
    );
  }
  return parsePublicKey(text, fileOrLine);
}
