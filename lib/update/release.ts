/** What a release server offers: SHA256SUMS, believed only with its signature. */
import { InputError, OpError } from "../base/errors.ts";
import { fetchBytes, type FetchOptions } from "../plugin/download.ts";
import { requireUrl } from "../plugin/fetch_source.ts";
import { parsePublicKey, parseSignature } from "../plugin/minisign/format.ts";
import { checkSignature, digestBytes } from "../plugin/minisign/sign.ts";
import { compareVersions, isVersion } from "../plugin/versions.ts";

/** SHA256SUMS and its signature are a few kilobytes. */
const MAX_TEXT_BYTES = 1024 * 1024;

/** Where releases lie and whose they are. */
export interface ReleaseSource {
  /** Folder of SHA256SUMS: https, a path, or http where `allowHttp` says so. */
  readonly url: string;
  /** Line of the minisign public key that must have signed it. */
  readonly key: string;
  readonly allowHttp?: boolean;
}

/** A release whose signature has been checked. */
export interface VerifiedRelease {
  readonly version: string;
  /** When it was signed, in seconds since 1970; null where it does not say. */
  readonly timestamp: number | null;
  /** The executable for this machine. */
  readonly file: string;
  readonly url: URL;
  readonly sha256: string;
}

/**
 * Fetches and verifies the list of a release.
 *
 * @param arch as `uname -m` says it
 * @throws {InputError} `bad_url`, `bad_key`
 * @throws {DifferenceError} `bad_signature`
 * @throws {OpError} `no_release` when there is none for this machine; what fetching gave
 */
export async function fetchRelease(
  source: ReleaseSource,
  arch: string,
  options: FetchOptions = {},
): Promise<VerifiedRelease> {
  const allowHttp = source.allowHttp ?? false;
  const base = requireUrl(source.url.replace(/\/*$/, "/"), allowHttp);
  const key = parsePublicKey(source.key, "the release key");
  const get = async (name: string) => {
    const bytes = await fetchBytes(new URL(name, base), MAX_TEXT_BYTES, {
      ...options,
      allowHttp,
    });
    if (bytes === null) throw noRelease(base, `it has no ${name}`);
    return bytes;
  };
  const sums = await get("SHA256SUMS");
  const text = new TextDecoder().decode(await get("SHA256SUMS.minisig"));
  const signature = parseSignature(text, "SHA256SUMS.minisig");
  checkSignature(digestBytes(sums), signature, key, new URL("SHA256SUMS", base).href);
  const fields = new Map(
    signature.trustedComment.split("\t").map((field) => {
      const at = field.indexOf(":");
      return [field.slice(0, at), field.slice(at + 1)] as const;
    }),
  );
  const version = fields.get("version") ?? "";
  if (fields.get("file") !== "SHA256SUMS" || !isVersion(version)) {
    throw noRelease(base, "what is signed is no release of op-dbus");
  }
  const file = `op-dbus-linux-${arch}`;
  const line = new TextDecoder().decode(sums).split("\n")
    .find((line) => line.slice(64) === `  ${file}`);
  const sha256 = line?.slice(0, 64) ?? "";
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw noRelease(base, `it has no ${file}`);
  const timestamp = Number(fields.get("timestamp") ?? NaN);
  return {
    version,
    timestamp: Number.isSafeInteger(timestamp) ? timestamp : null,
    file,
    url: new URL(file, base),
    sha256,
  };
}

function noRelease(base: URL, why: string): OpError {
  return new OpError("no_release", `No release at ${base.href}: ${why}`, {
    hint: "check update.url (op-dbus config show)",
  });
}

/**
 * Whether a release is newer than what runs.
 * @throws {InputError} `older_release` when it is older: a server that shows an old one
 */
export function isNewer(release: VerifiedRelease, current: string): boolean {
  const order = compareVersions(release.version, current);
  if (order < 0) {
    throw new InputError(
      "older_release",
      `${
        release.url.host || "The folder"
      } offers ${release.version}, which is older than ${current}`,
      {
        hint: "nothing was changed; to go back, op-dbus.previous is kept beside op-dbus",
      },
    );
  }
  return order > 0;
}
