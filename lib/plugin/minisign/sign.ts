/** Signing and checking, with BLAKE2b-512 of the file taken in pieces. */
import { createHash, createPublicKey, sign, verify } from "node:crypto";
import { isSysError } from "../../../ffi/errno.ts";
import { close, O_NOFOLLOW, read } from "../../../ffi/files.ts";
import { isFolder, type Stat } from "../../../ffi/stat.ts";
import { DifferenceError, InputError } from "../../base/errors.ts";
import { openRegular } from "../../base/regular_file.ts";
import { isPlainLine } from "../plain_text.ts";
import { concat, MAX_COMMENT_LENGTH, type PublicKey, type Signature } from "./format.ts";
import { privateKeyObject, type SecretKey } from "./secret_key.ts";

const PIECE_BYTES = 1024 * 1024;
/** DER before an Ed25519 public key (RFC 8410). */
const SPKI_PREFIX = Uint8Array.fromHex("302a300506032b6570032100");

/** Digests of one reading of a file. */
export interface FileDigests {
  /** What minisign signs. */
  readonly blake2b: Uint8Array;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/**
 * Reads a file once for both digests.
 *
 * @param path the file; a link is not followed
 * @param limitBytes refuses to read more
 * @throws {InputError} `no_such_file`, `not_a_file`, or past the limit; {SysError} what
 *   open gave
 */
export function digestFile(path: string, limitBytes = Infinity): FileDigests {
  const { fd } = openNamed(path);
  try {
    return digestFd(fd, path, limitBytes);
  } finally {
    close(fd);
  }
}

function openNamed(path: string) {
  try {
    return openRegular(path, O_NOFOLLOW, (stat) => notAFile(path, stat));
  } catch (error) {
    if (!isSysError(error, "ENOENT", "ENOTDIR")) throw error;
    const message = `Cannot read ${path}: there is no such file`;
    throw new InputError("no_such_file", message, {
      cause: error,
      hint: "check the path",
    });
  }
}

function notAFile(path: string, stat: Stat): InputError {
  const what = isFolder(stat) ? "a folder" : "a device, pipe or socket";
  return new InputError("not_a_file", `Cannot read ${path}: it is ${what}, not a file`, {
    hint: "name the file itself",
  });
}

/** {@link digestFile} of an open file, from where it stands. */
export function digestFd(fd: number, path: string, limitBytes = Infinity): FileDigests {
  const blake2b = createHash("blake2b512"), sha256 = createHash("sha256");
  const piece = new Uint8Array(PIECE_BYTES);
  let sizeBytes = 0;
  for (;;) {
    const n = read(fd, piece);
    if (n === 0) break;
    sizeBytes += n;
    if (sizeBytes > limitBytes) {
      throw new InputError("too_large", `${path} is larger than ${limitBytes} bytes`, {
        hint: "check that it is the right file, or raise the limit",
      });
    }
    blake2b.update(piece.subarray(0, n));
    sha256.update(piece.subarray(0, n));
  }
  return {
    blake2b: new Uint8Array(blake2b.digest()),
    sha256: sha256.digest("hex"),
    sizeBytes,
  };
}

/** Both digests of bytes in memory. */
export function digestBytes(bytes: Uint8Array): FileDigests {
  return {
    blake2b: new Uint8Array(createHash("blake2b512").update(bytes).digest()),
    sha256: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: bytes.length,
  };
}

/**
 * Signs a digest.
 *
 * @param digests of the file
 * @param key the secret key
 * @param trustedComment one line that is signed too
 */
export function signDigests(
  digests: FileDigests,
  key: SecretKey,
  trustedComment: string,
): Signature {
  if (
    trustedComment.length > MAX_COMMENT_LENGTH ||
    !isPlainLine(trustedComment.replaceAll("\t", " "))
  ) throw new TypeError("A trusted comment is one line without control characters");
  const privateKey = privateKeyObject(key);
  const signature = new Uint8Array(sign(null, digests.blake2b, privateKey));
  const whole = concat(signature, new TextEncoder().encode(trustedComment));
  return {
    keyId: key.id,
    signature,
    trustedComment,
    globalSignature: new Uint8Array(sign(null, whole, privateKey)),
  };
}

/**
 * Checks a signature and its trusted comment.
 *
 * @param what the file's name, for messages
 * @throws {DifferenceError} `bad_signature`
 */
export function checkSignature(
  digests: FileDigests,
  signature: Signature,
  key: PublicKey,
  what: string,
): void {
  const bad = (why: string) =>
    new DifferenceError("bad_signature", `Wrong signature on ${what}: ${why}`, {
      hint: "fetch the file and its .minisig again; if it stays so, do not use it",
    });
  if (signature.keyId !== key.id) {
    throw bad(`made by key ${signature.keyId}, not ${key.id}`);
  }
  const publicKey = createPublicKey({
    key: concat(SPKI_PREFIX, key.key) as unknown as Buffer,
    format: "der",
    type: "spki",
  });
  if (!verify(null, digests.blake2b, publicKey, signature.signature)) {
    throw bad("the content is not what was signed");
  }
  const comment = new TextEncoder().encode(signature.trustedComment);
  const whole = concat(signature.signature, comment);
  if (!verify(null, whole, publicKey, signature.globalSignature)) {
    throw bad("the trusted comment is not what was signed");
  }
}
