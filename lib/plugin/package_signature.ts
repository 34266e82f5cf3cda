/**
 * What a signature on a package says: the trusted comment binds name, version, digest and
 * time, so that a signature moved to another file or another name shows.
 */
import { DifferenceError } from "../base/errors.ts";
import type { NameVersion } from "./names.ts";
import type { Signature } from "./minisign/format.ts";
import type { FileDigests } from "./minisign/sign.ts";

/** What is signed beside the content. */
export interface PackageClaim extends NameVersion {
  /** The version that a delta starts from; null for a full package. */
  readonly from: string | null;
  /** SHA-256 of the file, lower-case hex. */
  readonly sha256: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

/** The trusted comment of a package, fields apart by tabs as minisign's own. */
export function formatClaim(claim: PackageClaim, file: string): string {
  return [
    `timestamp:${claim.timestamp}`,
    `file:${file}`,
    `name:${claim.name}`,
    `version:${claim.version}`,
    ...(claim.from === null ? [] : [`from:${claim.from}`]),
    `digest:sha256:${claim.sha256}`,
  ].join("\t");
}

/** Reads a trusted comment; null where it is not of a package. */
export function parseClaim(trustedComment: string): PackageClaim | null {
  const fields = new Map<string, string>();
  for (const field of trustedComment.split("\t")) {
    const colon = field.indexOf(":");
    const key = field.slice(0, colon);
    if (colon < 0 || fields.has(key)) continue;
    fields.set(key, field.slice(colon + 1));
  }
  const name = fields.get("name"), version = fields.get("version");
  const digest = /^sha256:([0-9a-f]{64})$/.exec(fields.get("digest") ?? "")?.[1];
  const timestamp = Number(fields.get("timestamp"));
  if (!name || !version || !digest || !Number.isSafeInteger(timestamp)) return null;
  return { name, version, from: fields.get("from") ?? null, sha256: digest, timestamp };
}

/**
 * Checks that a signature was made for this package and no other.
 *
 * @param signature already checked against the file
 * @param digests of the file
 * @param wanted what the file is taken for; from as in {@link PackageClaim}
 * @throws {DifferenceError} `wrong_package`
 */
export function requireClaim(
  signature: Signature,
  digests: FileDigests,
  wanted: NameVersion & { readonly from: string | null },
  what: string,
): PackageClaim {
  const wrong = (why: string, hint?: string) =>
    new DifferenceError("wrong_package", `Wrong package in ${what}: ${why}`, {
      hint: hint ?? "the file was renamed or swapped: fetch it again from its author",
    });
  const claim = parseClaim(signature.trustedComment);
  if (!claim) {
    throw wrong(
      "its signature names no plugin, version and digest",
      "its author has to sign it with: op-dbus sign",
    );
  }
  const show = (p: NameVersion & { from: string | null }) =>
    `${p.name}@${p.version}${p.from === null ? "" : ` from ${p.from}`}`;
  const { name, version, from } = wanted;
  if (claim.name !== name || claim.version !== version || claim.from !== from) {
    throw wrong(`it was signed as ${show(claim)}, not as ${show(wanted)}`);
  }
  if (claim.sha256 !== digests.sha256) throw wrong("its digest is not the one signed");
  return claim;
}
